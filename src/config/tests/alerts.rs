use std::time::Duration;

use super::load;
use crate::config::AlertFormat;

const OPS: &str = "[destinations.ops]\nurl = 'http://x/'\n";

/// Settings of `[alerts]`, and what their errors contain.
const ERRORS: &[(&str, &str)] = &[
    (
        "",
        "alerts: expected destination, the name of a [destinations.…] section, or heartbeat",
    ),
    (
        "destination = 'no'",
        "alerts.destination: \"no\": expected the name of a [destinations.…] section",
    ),
    (
        "destination = 'ops'\nformat = 'xml'",
        "alerts.format: unknown variant `xml`, expected one of `standard`, `slack`, `ntfy`, `text`",
    ),
    (
        "destination = 'ops'\n[sources.relay]\ndestinations = ['ops']",
        "sources.relay: \"relay\": expected another name: with [alerts], \"relay\" is the source",
    ),
    (
        "heartbeat = { every = '1m' }",
        "alerts.heartbeat: expected url_env, the name of the variable that holds the URL, or url",
    ),
    (
        "heartbeat = { url_env = 'NO_SUCH' }",
        "alerts.heartbeat.url_env: \"NO_SUCH\": expected a variable that holds a secret",
    ),
    (
        "heartbeat = { url_env = 'BAD' }",
        "alerts.heartbeat.url: *** must be an absolute http or https URL",
    ),
    (
        "heartbeat = { url = 'http://127.0.0.1:8080/' }",
        "alerts.heartbeat.url: ***: expected an address other than server.listen \
         (127.0.0.1:8080)",
    ),
    (
        "heartbeat = { url = 'http://a/', url_env = 'URL' }",
        "alerts.heartbeat.url_env: \"URL\": expected either url or url_env",
    ),
    (
        "heartbeat = { url_env = 'URL', every = '9s' }",
        "alerts.heartbeat.every: 9s: expected 10s to 1d",
    ),
    (
        "heartbeat = { url = 7 }",
        "alerts.heartbeat.url: ***: expected a text",
    ),
];

const VARIABLES: [(&str, &str); 2] = [("URL", "http://x/very-secret"), ("BAD", "very-secret")];

#[test]
fn errors_of_alerts_name_the_key_and_never_the_url() {
    for (settings, expected) in ERRORS {
        let text = format!("{OPS}[alerts]\n{settings}");
        let error = load(&text, &VARIABLES).expect_err(settings);
        assert!(error.contains(expected), "{settings}: {error}");
        assert!(!error.contains("very-secret"), "{error}");
    }
}

#[test]
fn alerts_and_a_heartbeat_are_read_and_the_url_is_never_printed() {
    let text = format!(
        "{OPS}[alerts]\ndestination = 'ops'\nformat = 'ntfy'\n\
         heartbeat = {{ url_env = 'URL', every = '30s' }}"
    );
    let config = load(&text, &VARIABLES).expect("a configuration");
    assert!(!format!("{config:?}").contains("very-secret"));
    let resolved = config.resolve();
    assert!(!format!("{resolved:?}").contains("very-secret"));
    let alerts = resolved.alerts.expect("alerts");
    assert_eq!(alerts.format, AlertFormat::Ntfy);
    let heartbeat = alerts.heartbeat.expect("a heartbeat");
    assert_eq!(heartbeat.url.reveal(), "http://x/very-secret");
    assert_eq!(heartbeat.every, Duration::from_secs(30));
    let short = format!("{OPS}[alerts]\nheartbeat = {{ url_env = 'URL' }}");
    let alerts = load(&short, &VARIABLES).expect("a configuration").alerts;
    let heartbeat = alerts.and_then(|alerts| alerts.heartbeat);
    assert_eq!(
        heartbeat.map(|beat| beat.every),
        Some(Duration::from_secs(60))
    );
}

#[test]
fn the_source_of_alerts_is_nobodys_once_alerts_stand() {
    let sources = "[sources.'*']\ndestinations = ['ops']\n";
    let without = load(&format!("{OPS}{sources}"), &[]).expect("a configuration");
    assert!(without.resolve().source("relay").is_some());
    let with = format!("{OPS}{sources}[alerts]\ndestination = 'ops'");
    let with = load(&with, &[]).expect("a configuration").resolve();
    assert!(with.source("relay").is_none() && with.source("shop").is_some());
}
