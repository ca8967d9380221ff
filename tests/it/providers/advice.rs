//! Lines that the notes of providers give the operator: they stand in docs/sources.md to be pasted.

use toml::{Table, Value};

use relay::Config;

use super::requests::{SERVER, add_hub_token, section};
use super::{Provider, all};

/// Lines of a note, by the provider.
const LINES: &[(&str, &[&str])] = &[
    (
        "adyen",
        &[
            "verify.hmac.header = \"HmacSignature\"",
            "verify.hmac.signed = \"{body}\"",
            "require = {}",
            "event_type = { json_pointer = \"/type\" }",
        ],
    ),
    ("alertmanager", &["idempotency = \"none\""]),
    (
        "aws-sns",
        &[
            "verify.public_key.algorithm = \"rsa_sha1\"",
            "require.body.\"/SignatureVersion\" = [\"1\"]",
        ],
    ),
    (
        "azure-event-grid",
        &[
            "verify.token.value = \"{query.access_token}\"",
            "verify.token.prefix = \"\"",
        ],
    ),
    ("azure-event-grid", &["idempotency = \"body\""]),
    (
        "azure-event-grid",
        &["event_type = { json_pointer = \"/type\" }"],
    ),
    ("clerk", &["on_redelivery = \"replay_dead\""]),
    (
        "cloudevents",
        &["verify.token = { header = \"Authorization\", prefix = \"Bearer \" }"],
    ),
    (
        "discord",
        &[
            "handshakes = [\"discord_interactions\"]",
            "idempotency = { json_pointer = \"/id\" }",
        ],
    ),
    (
        "docuseal",
        &["verify.token = { header = \"X-Relay-Token\" }"],
    ),
    (
        "gitea",
        &[
            "accept_any_content = true",
            "verify.hmac.signed = \"{form.payload}\"",
        ],
    ),
    (
        "grafana",
        &[
            "verify.hmac.timestamp_header = \"\"",
            "verify.hmac.signed = \"{body}\"",
        ],
    ),
    (
        "grafana",
        &["verify.token = { header = \"Authorization\", prefix = \"Bearer \" }"],
    ),
    ("grafana", &["accept_any_content = true"]),
    ("linear", &["verify.hmac.tolerance = \"1m\""]),
    ("linear", &["idempotency = \"body\""]),
    (
        "pagerduty",
        &["idempotency = { header = \"X-Webhook-Id\" }"],
    ),
    (
        "paypal",
        &["verify.public_key.certificate_hosts = [\"api.paypal.com\"]"],
    ),
    ("sendgrid", &["accept_any_content = true"]),
    ("shopify", &["accept_any_content = true"]),
    ("standard-webhooks", &["on_redelivery = \"replay_dead\""]),
    (
        "telegram",
        &["allow_ips = [\"149.154.160.0/20\", \"91.108.4.0/22\"]"],
    ),
];

/// Loads a source of the provider with more lines. None if this build can't.
fn load(provider: &Provider, lines: &str) -> Option<Config> {
    let mut request = provider.vectors[provider.event].request.clone();
    // A build that contacts nobody refuses them.
    if !request.certificates.is_empty() && !cfg!(feature = "delivery-http") {
        return None;
    }
    add_hub_token(&provider.name, &mut request);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("relay.toml");
    let text = format!("{SERVER}{}{lines}\n", section(&provider.name, &request));
    std::fs::write(&file, &text).expect("writing relay.toml");
    let config = Config::load(Some(&file));
    Some(config.unwrap_or_else(|error| panic!("{error}\n{text}")))
}

fn named(name: &str) -> Provider {
    let mut providers = all().into_iter();
    let found = providers.find(|provider| provider.name == name);
    found.expect("the provider")
}

#[test]
fn lines_of_a_providers_notes_can_be_pasted() {
    for (name, lines) in LINES {
        let provider = named(name);
        let notes = provider.notes.join("\n");
        for line in *lines {
            assert!(notes.contains(line), "{name}: {line}");
        }
        load(&provider, &lines.join("\n"));
    }
}

#[test]
fn every_provider_can_be_without_a_key() {
    for provider in all() {
        load(&provider, "idempotency = \"none\"");
    }
}

/// Otherwise one captured request could make a duplicate of any event to come.
#[test]
fn no_provider_has_its_key_in_an_unsigned_part_of_the_body() {
    for provider in all() {
        let config = load(&provider, "");
        let notes = config.map(|config| config.notes()).unwrap_or_default();
        let note = notes.iter().find(|note| note.contains("an event to come"));
        assert_eq!(note, None, "{}", provider.name);
    }
}

#[test]
fn a_shorter_tolerance_can_be_copied_for_mercado_pago() {
    let provider = named("mercado-pago");
    assert!(provider.notes.join("\n").contains("copy verify_any"));
    let mut schemes = provider.source["verify_any"].clone();
    for scheme in schemes.as_array_mut().expect("a list") {
        scheme["hmac"]["tolerance"] = Value::from("5m");
    }
    let source = Table::from_iter([("verify_any".to_owned(), schemes)]);
    let sources = Table::from_iter([(provider.name.clone(), Value::Table(source))]);
    let document = Table::from_iter([("sources".to_owned(), Value::Table(sources))]);
    load(&provider, &document.to_string());
}
