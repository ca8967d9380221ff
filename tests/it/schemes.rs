//! Every scheme of verification, configured in a file as an operator does, in every build.

use std::time::SystemTime;

use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use sha1::Sha1;
use sha2::Sha256;

use crate::support::{Process, Reply};

const TOML: &str = r#"
[server]
listen = "127.0.0.1:0"
public_url = "https://hooks.example.com/"
trusted_proxies = ["127.0.0.0/8"]
[admin]
listen = "127.0.0.1:0"
[database]
min_free_bytes = 0
[log]
level = "debug"
[destinations.d]
url = "http://127.0.0.1:9/"
[sources.pagerduty]
destinations = ["d"]
verify.hmac = { header = "X-PagerDuty-Signature", format = "v1={signature}", secrets = ["s"] }
[sources.svix]
destinations = ["d"]
verify.standard_webhooks.secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
[sources.gitlab]
destinations = ["d"]
secrets_env = ["GITLAB_SECRET"]
verify.token.header = "X-Gitlab-Token"
[sources.bearer]
destinations = ["d"]
verify.token = { header = "Authorization", prefix = "Bearer ", secrets = ["s3cret-bearer"] }
[sources.azure]
destinations = ["d"]
verify.basic = { user = "relay", secrets = ["s3cret-basic"] }
[sources.docker]
destinations = ["d"]
verify.token = { value = "{query.token}", secrets = ["s3cret-query"] }
[sources.twilio]
destinations = ["d"]
accept_any_content = true
[sources.twilio.verify.hmac]
header = "X-Twilio-Signature"
algorithm = "sha1"
encoding = "base64"
signed = "{url}{form_sorted}"
secrets = ["12345"]
[sources.mailgun]
destinations = ["d"]
require.body."/kind" = ["order"]
[sources.mailgun.verify.hmac]
signature = "{json./signature/signature}"
timestamp = "{json./signature/timestamp}"
signed = "{timestamp}{json./signature/token}"
secrets = ["s"]
[sources.discord]
destinations = ["d"]
[sources.discord.verify.public_key]
algorithm = "ed25519"
header = "X-Signature-Ed25519"
timestamp_header = "X-Signature-Timestamp"
signed = "{timestamp}{body}"
public_keys = ["$KEY"]
[sources.workos]
destinations = ["d"]
[sources.workos.verify.hmac]
header = "WorkOS-Signature"
format = "t={timestamp},v1={signature}"
timestamp_format = "milliseconds"
signed = "{timestamp}.{body}"
secrets = ["s"]
[sources.airtable]
destinations = ["d"]
verify.hmac = { header = "X-Mac", secret_encoding = "base64", secrets = ["c2VjcmV0"] }
[sources.near]
destinations = ["d"]
allow_ips = ["192.0.2.0/24"]
[sources."*"]
destinations = ["d"]
verify.token = { header = "X-Token", secrets = ["any"] }
"#;

fn start(directory: &std::path::Path) -> Process {
    let key = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).expect("a key");
    let toml = TOML.replace("$KEY", &hex::encode(key.public_key()));
    let mut command = Process::command(directory);
    command.arg("serve").env("GITLAB_SECRET", "correct,horse");
    Process::serve_by(command, directory, &toml)
}

fn sha256(key: &[u8], content: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key");
    mac.update(content);
    hex::encode(mac.finalize().into_bytes())
}

fn seconds() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("a time after 1970").as_secs()
}

fn send(server: &Process, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut all = vec![("Idempotency-Key", "k")];
    all.extend_from_slice(headers);
    server.client.send("POST", path, &all, body)
}

fn status(server: &Process, path: &str, headers: &[(&str, &str)], body: &[u8]) -> u16 {
    send(server, path, headers, body).status
}

#[test]
fn signatures_of_every_kind_are_verified() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = start(directory.path());
    let (ours, other) = (sha256(b"s", b"{}"), sha256(b"t", b"{}"));
    for (value, expected) in [
        (format!("v1={other},v1={ours}"), 202),
        (format!("v1={ours},v1={other}"), 202),
        (format!("v1={other}"), 401),
    ] {
        let headers = [("X-PagerDuty-Signature", &*value)];
        let path = "/webhooks/pagerduty";
        assert_eq!(status(&server, path, &headers, b"{}"), expected, "{value}");
    }

    let now = seconds().to_string();
    let engine = &base64::engine::general_purpose::STANDARD;
    let key = engine
        .decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        .expect("base64");
    let signature = hex::decode(sha256(&key, format!("m.{now}.{{}}").as_bytes()));
    let signature = format!("v1,{}", engine.encode(signature.expect("hexadecimal")));
    let svix = [
        ("svix-id", "m"),
        ("svix-timestamp", &*now),
        ("svix-signature", &*signature),
    ];
    assert_eq!(status(&server, "/webhooks/svix", &svix, b"{}"), 202);
    assert_eq!(status(&server, "/webhooks/svix", &svix, b"{ }"), 401);
    assert_eq!(status(&server, "/webhooks/svix", &svix[1..], b"{}"), 401);

    let url = "https://hooks.example.com/webhooks/twilio?foo=1";
    let mut mac = Hmac::<Sha1>::new_from_slice(b"12345").expect("any key");
    mac.update(format!("{url}Digits1234From+1415").as_bytes());
    let signature = engine.encode(mac.finalize().into_bytes());
    let twilio = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("X-Twilio-Signature", &*signature),
    ];
    let form = b"From=%2B1415&Digits=1234";
    assert_eq!(
        status(&server, "/webhooks/twilio?foo=1", &twilio, form),
        202
    );
    assert_eq!(
        status(&server, "/webhooks/twilio?foo=2", &twilio, form),
        401
    );
    assert_eq!(
        status(&server, "/webhooks/twilio?foo=1", &twilio, b"From=1"),
        401
    );

    let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).expect("a key");
    let signature = hex::encode(pair.sign(format!("{now}{{}}").as_bytes()));
    let discord = [
        ("X-Signature-Ed25519", &*signature),
        ("X-Signature-Timestamp", &*now),
    ];
    assert_eq!(status(&server, "/webhooks/discord", &discord, b"{}"), 202);
    assert_eq!(status(&server, "/webhooks/discord", &discord, b"[]"), 401);

    let workos = |millis: u64| {
        let signature = sha256(b"s", format!("{millis}.{{}}").as_bytes());
        let value = format!("t={millis},v1={signature}");
        let headers = [("WorkOS-Signature", &*value)];
        status(&server, "/webhooks/workos", &headers, b"{}")
    };
    assert_eq!(workos(seconds() * 1000), 202);
    assert_eq!(workos((seconds() - 420) * 1000), 401);

    let airtable = sha256(b"secret", b"{}");
    assert_eq!(
        status(
            &server,
            "/webhooks/airtable",
            &[("X-Mac", &airtable)],
            b"{}"
        ),
        202
    );
    let as_text = sha256(b"c2VjcmV0", b"{}");
    assert_eq!(
        status(&server, "/webhooks/airtable", &[("X-Mac", &as_text)], b"{}"),
        401
    );
}

#[test]
fn a_signature_that_covers_a_part_of_the_body_is_closed_by_conditions() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = start(directory.path());
    let mailgun = |secret: &[u8], kind: &str| {
        let now = seconds();
        let signature = sha256(secret, format!("{now}t").as_bytes());
        let body = format!(
            r#"{{"kind":{kind},"signature":{{"timestamp":"{now}","token":"t","signature":"{signature}"}}}}"#
        );
        status(&server, "/webhooks/mailgun", &[], body.as_bytes())
    };
    assert_eq!(mailgun(b"s", "\"order\""), 202);
    assert_eq!(mailgun(b"s", "\"refund\""), 403);
    assert_eq!(mailgun(b"s", "[\"order\"]"), 403);
    assert_eq!(mailgun(b"other", "\"order\""), 401);
    let admin = server.admin.as_ref().expect("an admin listener");
    let metrics = admin.send("GET", "/metrics", &[], b"").text();
    for line in [
        r#"relay_refused_total{source="mailgun",reason="require"} 2"#,
        r#"relay_verifications_total{source="mailgun",result="ok"} 3"#,
        r#"relay_verifications_total{source="mailgun",result="mismatch"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
}

#[test]
fn secrets_that_come_with_a_request_verify_it_and_are_not_kept() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = start(directory.path());
    let gitlab = |value: &str| {
        status(
            &server,
            "/webhooks/gitlab",
            &[("X-Gitlab-Token", value)],
            b"{}",
        )
    };
    assert_eq!(gitlab("correct,horse"), 202);
    // One variable holds one secret, whatever its characters.
    assert_eq!(gitlab("horse"), 401);
    assert_eq!(gitlab("correct"), 401);
    assert_eq!(status(&server, "/webhooks/gitlab", &[], b"{}"), 401);
    let token = ("X-Gitlab-Token", "correct,horse");
    assert_eq!(
        status(&server, "/webhooks/gitlab", &[token, token], b"{}"),
        401
    );
    let authorization =
        |path: &str, value: &str| status(&server, path, &[("Authorization", value)], b"{}");
    assert_eq!(
        authorization("/webhooks/bearer", "Bearer s3cret-bearer"),
        202
    );
    assert_eq!(authorization("/webhooks/bearer", "Bearer other"), 401);
    // relay:s3cret-basic
    assert_eq!(
        authorization("/webhooks/azure", "Basic cmVsYXk6czNjcmV0LWJhc2lj"),
        202
    );
    assert_eq!(
        authorization("/webhooks/azure", "Basic cmVsYXk6b3RoZXI="),
        401
    );
    assert_eq!(
        status(&server, "/webhooks/docker?token=s3cret-query", &[], b"{}"),
        202
    );
    assert_eq!(
        status(&server, "/webhooks/docker?token=other", &[], b"{}"),
        401
    );
    server.signal("-TERM");
    let (_, log) = server.wait();
    let mut kept = log.into_bytes();
    for entry in std::fs::read_dir(directory.path()).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            kept.extend(std::fs::read(&path).expect("a file"));
        }
    }
    for secret in [
        "correct,horse",
        "s3cret-bearer",
        "s3cret-query",
        "cmVsYXk6czNjcmV0",
    ] {
        let is_kept = kept
            .windows(secret.len())
            .any(|bytes| bytes == secret.as_bytes());
        assert!(!is_kept, "{secret} is in a file or in the log");
    }
}

#[test]
fn an_address_that_may_not_send_is_refused_before_the_body() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = start(directory.path());
    let near = |forwarded: &[(&str, &str)]| status(&server, "/webhooks/near", forwarded, b"{}");
    assert_eq!(near(&[]), 403);
    assert_eq!(near(&[("X-Forwarded-For", "192.0.2.7")]), 202);
    assert_eq!(near(&[("X-Forwarded-For", "192.0.2.7, 198.51.100.1")]), 403);
    assert_eq!(near(&[("X-Forwarded-For", "198.51.100.1, 192.0.2.7")]), 202);
    assert_eq!(near(&[("X-Forwarded-For", "192.0.2.7, unknown")]), 403);
    let mut connection = server.client.connect();
    connection.send(
        b"POST /webhooks/near HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\
          Expect: 100-continue\r\n\r\n",
    );
    let reply = connection.reply().expect("an answer without the body");
    assert_eq!(
        (reply.status, reply.header("connection")),
        (403, Some("close"))
    );
}

#[test]
fn each_rejection_is_explained_by_its_source_and_cause() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = start(directory.path());
    let wrong = sha256(b"other", b"{}");
    let old = (seconds() - 420) * 1000;
    let old = format!(
        "t={old},v1={}",
        sha256(b"s", format!("{old}.{{}}").as_bytes())
    );
    assert_eq!(status(&server, "/webhooks/pagerduty", &[], b"{}"), 401);
    let wrong = format!("v1={wrong}");
    let signature = [("X-PagerDuty-Signature", &*wrong)];
    assert_eq!(
        status(&server, "/webhooks/pagerduty", &signature, b"{}"),
        401
    );
    let signature = [("WorkOS-Signature", &*old)];
    assert_eq!(status(&server, "/webhooks/workos", &signature, b"{}"), 401);
    assert_eq!(status(&server, "/webhooks/made-up", &[], b"{}"), 401);
    let admin = server.admin.as_ref().expect("an admin listener");
    let metrics = admin.send("GET", "/metrics", &[], b"").text();
    assert!(
        metrics.contains(r#"{source="*",result="no_header"} 1"#),
        "{metrics}"
    );
    assert!(!metrics.contains("made-up"), "no label from strangers");
    server.signal("-TERM");
    let (_, log) = server.wait();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let said = |level: &str, source: &str, result: &str| {
        lines.iter().any(|line| {
            line["level"]
                .as_str()
                .is_some_and(|found| found.eq_ignore_ascii_case(level))
                && line["source"] == source
                && line["result"] == result
        })
    };
    for (source, result) in [
        ("pagerduty", "no_header"),
        ("pagerduty", "mismatch"),
        ("workos", "too_old"),
        ("*", "no_header"),
    ] {
        assert!(said("debug", source, result), "{source} {result} in\n{log}");
    }
    // One warning a minute and source.
    assert!(said("warn", "pagerduty", "no_header") && said("warn", "workos", "too_old"));
    assert!(!said("warn", "pagerduty", "mismatch"), "{log}");
}

/// The address policy refuses the host, so that nothing is contacted.
#[test]
fn a_certificate_that_cannot_be_fetched_has_a_line_of_its_own() {
    if !cfg!(feature = "delivery-http") {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let toml = "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n[database]\n\
        min_free_bytes = 0\n[destinations.d]\nurl = 'http://127.0.0.1:9/'\n[sources.sns]\n\
        destinations = ['d']\n[sources.sns.verify.public_key]\nalgorithm = 'ed25519'\n\
        header = 'X-Signature'\ncertificate_url = '{header.X-Url}'\n\
        certificate_hosts = ['127.0.0.1']";
    let server = Process::serve(directory.path(), toml);
    let url = "https://127.0.0.1/a.pem";
    let headers = [("X-Signature", "00"), ("X-Url", url)];
    assert_eq!(status(&server, "/webhooks/sns", &headers, b"{}"), 503);
    server.signal("-TERM");
    let (_, log) = server.wait();
    let line = log
        .lines()
        .find(|line| line.contains("without its certificate"));
    assert!(line.is_some_and(|line| line.contains(url)), "{log}");
    assert!(!log.contains("the wrong secret"), "{log}");
}

#[test]
fn a_variable_with_a_comma_is_refused_under_the_old_form() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let toml = "[destinations.d]\nurl = 'http://x/'\n[sources.a]\ndestinations = ['d']\n\
                verify.token.header = 'X'\nsecrets_env = 'S'\n";
    std::fs::write(directory.path().join("relay.toml"), toml).expect("writing relay.toml");
    let check = |variable: &str| {
        let mut command = Process::command(directory.path());
        let output = command.arg("check").env("S", variable).output();
        let output = output.expect("the binary runs");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), error)
    };
    assert_eq!(check("correct").0, Some(0));
    let (code, error) = check("correct,horse");
    assert_eq!(code, Some(1));
    assert!(error.contains("secrets_env = [\"S\"]"), "{error}");
    assert!(!error.contains("horse"), "{error}");
}
