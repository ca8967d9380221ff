//! The meaning of files, environments and secrets.

mod alerts;
mod errors;
mod network;
mod resolved;
mod routes;
mod verification;
mod verify;

use std::time::Duration;

use super::*;

fn load(text: &str, env: &[(&str, &str)]) -> Result<Config, String> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("relay.toml");
    std::fs::write(&path, text).expect("writing the file");
    Config::load_with(Some(&path), &|name| {
        env.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).into())
    })
    .map_err(|error| {
        let shown = error.to_string();
        assert!(!shown.contains('\n'), "one line: {shown}");
        shown.replace(path.to_str().expect("a plain path"), "relay.toml")
    })
}

#[test]
fn an_empty_file_means_the_defaults() {
    let config = load("", &[]).expect("the defaults are valid");
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert!(config.api.keys.is_empty());
    assert_eq!(config.level(), crate::COMPILED_LEVEL);
}

#[test]
fn the_repositorys_file_is_valid() {
    let config = load(include_str!("../../relay.toml"), &[]).expect("the example is valid");
    assert_eq!(config.api.keys[0].reveal(), "dev-key");
    assert!(config.resolve().source("github").is_some());
}

#[test]
fn the_environment_overrides_the_file() {
    let config = load(
        "[server]\nlisten = '127.0.0.1:1'\n[api]\nkeys = ['a']",
        &[
            ("RELAY_HTTP_ADDR", ":8429"),
            ("RELAY_ADMIN_ADDR", ""),
            ("RELAY_API_KEYS", "b, c"),
            ("RELAY_DB", "/tmp/x.db"),
            ("RELAY_MAX_BODY_BYTES", "64KiB"),
            ("RELAY_IDEMPOTENCY_TTL_SECONDS", "60"),
            ("RELAY_LIMIT_POST_RPS", "0.5"),
            ("RELAY_LIMIT_POST_BURST", "3"),
            ("RELAY_LIMIT_GET_RPS", "7"),
            ("RELAY_LIMIT_GET_BURST", "9"),
            ("RELAY_LOG", "debug"),
            ("RELAY_TEST_NODE_HEADER", "1"),
        ],
    )
    .expect("valid values");
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:8429");
    assert_eq!(config.admin.listen, None);
    assert_eq!(config.api.keys, [Secret::new("b"), Secret::new("c")]);
    assert_eq!(config.server.max_body_bytes, 65_536);
    assert_eq!(config.api.idempotency_window, Duration::from_secs(60));
    assert!((config.api.rate_limit.post.per_second - 0.5).abs() < f64::EPSILON);
    assert_eq!(config.api.rate_limit.get.burst, 9);
    assert_eq!(config.log.level, "debug");
    assert!(config.node.is_named_in_requests);
}

#[test]
fn the_admin_token_s_variable_counts_unless_the_file_names_others() {
    let token = "0123456789abcdef0123456789abcdef";
    let names = |text: &str| {
        let env = [("RELAY_ADMIN_TOKEN", token), ("OTHER", token)];
        let config = load(text, &env).expect(text);
        let tokens = config.admin.tokens.into_iter();
        tokens.map(|token| token.name).collect::<Vec<_>>()
    };
    assert_eq!(names(""), ["RELAY_ADMIN_TOKEN"]);
    assert_eq!(
        names("[admin]\nlisten = '0.0.0.0:8081'"),
        ["RELAY_ADMIN_TOKEN"]
    );
    assert_eq!(names("[admin]\ntokens_env = 'OTHER'"), ["OTHER"]);
    for (token, expected) in [
        (" ", "expected a variable that holds a secret"),
        (
            "short",
            "expected a variable that holds at least 16 visible ASCII characters",
        ),
    ] {
        let error = load("", &[("RELAY_ADMIN_TOKEN", token)]).expect_err(token);
        assert_eq!(error, format!("environment: RELAY_ADMIN_TOKEN: {expected}"));
    }
}

#[test]
fn a_level_that_is_not_compiled_in_names_its_feature() {
    let compiled = crate::COMPILED_LEVEL;
    for level in ["simulated", "http", "durable"] {
        let result = load(&format!("[delivery]\nlevel = '{level}'"), &[]);
        match result {
            Ok(config) => assert!(config.level() <= compiled),
            Err(error) => assert!(
                error.contains(&format!("--features delivery-{level}")),
                "{error}"
            ),
        }
    }
}

#[test]
fn secrets_are_never_printed() {
    for text in [
        "[api]\nkeys = 'hush'",
        "[api]\nkeys = [12345]",
        "[destinations.a]\nurl='http://x/'\nsecrets='hush'",
        "[destinations.a]\nurl='http://x/'\nheaders='hush'",
        "[destinations.a]\nurl='http://x/'\nheaders={Authorization=12345}",
        "[destinations.a]\nurl='http://bob:hush@x/'",
        "[sources.a]\nsecrets='hush'",
        "[sources.a]\nhub_tokens='hush'",
        "[sources.a]\nhub_tokens=[12345]",
        "[sources.a]\nverify.token='hush'",
        "[sources.a]\nverify.hmac='hush, expected a secret'",
        "[sources.a]\nverify.hmac.secrets='hush'",
        "[[sources.a.verify_any]]\ntoken='hush'",
    ] {
        let error = load(text, &[]).expect_err(text);
        assert!(
            !error.contains("hush") && !error.contains("12345"),
            "{error}"
        );
    }
    let config = load(
        "[delivery]\nlevel = 'off'\n[api]\nkeys = ['hush']\n[destinations.a]\nurl='http://x/'\nheaders={Authorization='hush'}\nsecrets=['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw']",
        &[],
    )
    .expect("valid values");
    let shown = format!("{config:?}");
    assert!(
        !shown.contains("hush") && !shown.contains("MfKQ9r8"),
        "{shown}"
    );
}

#[test]
fn secrets_come_from_variables_and_files() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let keys = directory.path().join("keys");
    std::fs::write(&keys, "one\n\n two \n").expect("writing the file");
    let text = format!(
        "[api]\nkeys_env = 'K'\nkeys_file = '{}'",
        keys.to_str().expect("a plain path")
    );
    let config = load(&text, &[("K", "zero")]).expect("valid values");
    let keys: Vec<_> = config.api.keys.iter().map(Secret::reveal).collect();
    assert_eq!(keys, ["zero", "one", "two"]);
}

#[test]
fn an_unresolved_reference_is_refused() {
    let mut config = Config::default();
    config.api.keys_env = Some(VariableNames::One("K".to_owned()));
    let error = config
        .check()
        .expect_err("only a file's references are resolved");
    assert!(error.to_string().contains("api.keys_env"), "{error}");
    let error = load("[api]\nkeys_env = 'K'", &[("K", " , ")]).expect_err("no key in it");
    assert!(
        error.contains("api.keys_env: \"K\": expected a variable that holds a secret"),
        "{error}"
    );
}
