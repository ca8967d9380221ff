use super::*;

const TOML: &str = r#"
[server]
listen = "127.0.0.1:0"
[api]
keys = ["SECRET-1"]
[destinations.orders]
url = "https://example.com/hook/SECRET-2?token=SECRET-3"
headers = { "X-Token" = "SECRET-4" }
secrets = ["whsec_SECRET-5"]
timeout = "15s"
rate_limit = { per_second = 5, burst = 10 }
[sources.github]
destinations = ["orders"]
verify.hmac = { header = "X-Hub-Signature-256", secrets = ["SECRET-6"] }
hub_tokens = ["SECRET-7"]
params = { account = "SECRET-8" }
require.body."/clientState" = ["SECRET-9"]
"#;

#[test]
fn secrets_are_left_out() {
    let before = Fingerprint::of(TOML);
    for number in 1..=9 {
        let other = TOML.replace(&format!("SECRET-{number}"), "another-text");
        assert_eq!(Fingerprint::of(&other), before, "SECRET-{number}");
        let number = TOML.replace(&format!("\"SECRET-{number}\""), "12345");
        assert_eq!(Fingerprint::of(&number).to_string().len(), 64);
    }
    let user = TOML.replace("https://example", "https://user:word@example");
    let other = TOML.replace("https://example", "https://user:other@example");
    assert_eq!(Fingerprint::of(&user), Fingerprint::of(&other));
}

#[test]
fn every_other_setting_counts() {
    let before = Fingerprint::of(TOML);
    for (old, new) in [
        ("127.0.0.1:0", "127.0.0.1:1"),
        ("https://example.com", "https://example.org"),
        ("15s", "16s"),
        ("burst = 10", "burst = 11"),
        ("[sources.github]", "[sources.gitlab]"),
        ("[\"orders\"]", "[]"),
        ("X-Hub-Signature-256", "X-Signature"),
        ("X-Token", "X-Key"),
    ] {
        assert_ne!(Fingerprint::of(&TOML.replace(old, new)), before, "{old}");
    }
}

#[test]
fn comments_blanks_and_order_do_not_count() {
    let before = Fingerprint::of(TOML);
    let (server, rest) = TOML.split_once("[api]").expect("a section");
    let moved = format!("# a comment\n[api]{rest}\n\n{server}");
    assert_eq!(Fingerprint::of(&moved), before);
    assert_ne!(before, Fingerprint::none());
}
