use std::collections::BTreeSet;
use std::path::Path;

use toml::{Table, Value};

use crate::config::providers::{FILES, ProviderFile, effective_sources, expand};

/// The settings of a source that names a provider, with its own lines.
fn merged(provider: &str, own: &str) -> Table {
    let text = format!("[sources.x]\nprovider = \"{provider}\"\n{own}");
    let mut sources = effective_sources(&text).expect(&text);
    assert_eq!(sources.len(), 1);
    sources.remove(0).settings
}

fn at<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Value> {
    let (last, tables) = path.split_last()?;
    let mut table = table;
    for name in tables {
        table = table.get(*name)?.as_table()?;
    }
    table.get(*last)
}

fn text<'a>(table: &'a Table, path: &[&str]) -> Option<&'a str> {
    at(table, path)?.as_str()
}

#[test]
fn every_file_is_compiled_in_and_readable() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("providers");
    let entries = std::fs::read_dir(folder).expect("the folder");
    let names: BTreeSet<String> = entries
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.to_string_lossy().trim_end_matches(".toml").to_owned())
        .collect();
    let compiled: Vec<_> = FILES.iter().map(|file| file.name).collect();
    assert_eq!(compiled, names.iter().collect::<Vec<_>>());
    for file in FILES {
        assert!(!file.describe().title.is_empty(), "{}", file.name);
        assert_eq!(Value::Table(file.settings()), {
            let mut own = merged(file.name, "");
            own.remove("provider");
            Value::Table(own)
        });
    }
}

#[test]
fn a_provider_is_shown_as_a_section_that_can_be_pasted() {
    for file in FILES {
        let text = file.source_text("mine");
        let mut document: Table = toml::from_str(&text).expect(&text);
        let sources = document.remove("sources").expect("sources");
        let expected = Table::from_iter([("mine".to_owned(), Value::Table(file.settings()))]);
        assert_eq!(sources, Value::Table(expected), "{}", file.name);
        assert!(file.section().contains("destinations = [\"orders\"]\n"));
    }
}

#[test]
fn a_value_replaces_a_value_and_a_list_a_list() {
    let own = "idempotency = { header = \"X-Id\" }\nhandshakes = []\nanswer = { status = 204 }";
    let slack = merged("slack", own);
    let ids = Table::from_iter([("header".to_owned(), Value::from("X-Id"))]);
    assert_eq!(slack["idempotency"], Value::Table(ids));
    assert_eq!(slack["handshakes"], Value::Array(Vec::new()));
    let answer = Table::from_iter([("status".to_owned(), Value::Integer(204))]);
    assert_eq!(slack["answer"], Value::Table(answer));
    // The rest is the provider's.
    assert_eq!(slack["accept_any_content"], Value::Boolean(true));
    assert_eq!(
        text(&slack, &["verify", "hmac", "format"]),
        Some("v0={signature}")
    );
}

#[test]
fn the_providers_own_scheme_is_merged_setting_by_setting() {
    let github = merged("github", "[sources.x.verify.hmac]\nheader = \"X-Other\"");
    assert_eq!(
        text(&github, &["verify", "hmac", "header"]),
        Some("X-Other")
    );
    assert_eq!(
        text(&github, &["verify", "hmac", "format"]),
        Some("sha256={signature}")
    );
}

#[test]
fn another_scheme_replaces_the_providers() {
    let gitlab = merged(
        "gitlab",
        "[sources.x.verify.standard_webhooks]\ntolerance = \"1m\"",
    );
    let verify = gitlab["verify"].as_table().expect("a table");
    assert_eq!(verify.keys().collect::<Vec<_>>(), ["standard_webhooks"]);

    let twilio = merged("twilio", "[sources.x.verify.token]\nheader = \"X-Token\"");
    assert!(!twilio.contains_key("verify_any") && twilio.contains_key("verify"));

    let any = "[[sources.x.verify_any]]\ntoken = { header = \"X-Token\" }";
    let github = merged("github", any);
    assert!(github.contains_key("verify_any") && !github.contains_key("verify"));
}

#[test]
fn an_empty_text_takes_a_setting_of_the_scheme_away() {
    let own = "[sources.x.verify.hmac]\ntimestamp_header = \"\"\nsigned = \"{body}\"";
    let grafana = merged("grafana", own);
    assert_eq!(at(&grafana, &["verify", "hmac", "timestamp_header"]), None);
    assert_eq!(
        text(&grafana, &["verify", "hmac", "signed"]),
        Some("{body}")
    );
}

#[test]
fn a_setting_drops_the_one_that_it_stands_for() {
    let adyen = merged(
        "adyen",
        "[sources.x.verify.hmac]\nheader = \"HmacSignature\"",
    );
    assert_eq!(at(&adyen, &["verify", "hmac", "signature"]), None);
    let docker = merged(
        "docker-hub",
        "[sources.x.verify.token]\nheader = \"X-Token\"",
    );
    assert_eq!(at(&docker, &["verify", "token", "value"]), None);
    let linear = merged(
        "linear",
        "[sources.x.verify.hmac]\ntimestamp_header = \"X-Time\"",
    );
    assert_eq!(at(&linear, &["verify", "hmac", "timestamp"]), None);
}

/// The window would contradict a key that the operator has turned off.
#[test]
fn no_key_drops_the_providers_settings_for_duplicates() {
    for file in FILES {
        let own = merged(file.name, "idempotency = \"none\"");
        for name in ["idempotency_window", "on_redelivery"] {
            assert!(!own.contains_key(name), "{}: {name}", file.name);
        }
    }
    let own = "idempotency = \"none\"\nidempotency_window = \"1h\"";
    assert!(merged("alertmanager", own).contains_key("idempotency_window"));
    let other = merged("alertmanager", "idempotency = { header = \"X-Id\" }");
    assert_eq!(text(&other, &["idempotency_window"]), Some("10m"));
}

/// A condition that is added must not drop those that the provider's signature depends on.
#[test]
fn conditions_are_merged_and_dropped_only_by_an_empty_table() {
    let own = "require.body.\"/kind\" = [\"order\"]\nrequire.body.\"/SignatureVersion\" = [\"1\"]";
    let sns = merged("aws-sns", own);
    let versions = at(&sns, &["require", "body", "/SignatureVersion"]);
    assert_eq!(versions, Some(&Value::Array(vec![Value::from("1")])));
    assert!(at(&sns, &["require", "body", "/TopicArn"]).is_some());
    assert!(at(&sns, &["require", "body", "/kind"]).is_some());

    let adyen = merged("adyen", "require = {}");
    assert_eq!(adyen["require"], Value::Table(Table::new()));
}

#[test]
fn an_unknown_provider_is_refused() {
    let text = "[sources.x]\nprovider = \"githab\"\n";
    let mut document = toml::de::DeTable::parse(text).expect("TOML");
    let error = expand(document.get_mut()).expect_err("there is no such provider");
    assert_eq!(error.problem.0, "sources.x.provider");
    assert!(
        error.problem.1.starts_with("\"githab\": expected"),
        "{:?}",
        error.problem
    );
    assert_eq!(&text[error.place], "\"githab\"");
    assert!(ProviderFile::find("githab").is_none());
}

/// The reader of the configuration refuses them, with the place and the expectation.
#[test]
fn values_of_a_wrong_type_are_left_to_the_reader() {
    for text in [
        "sources = 1",
        "[sources]\nx = 1",
        "[sources.x]\nprovider = 1",
        "[sources.x]\nprovider = \"github\"\nverify = 1",
        "[sources.x]\nprovider = \"github\"\nverify.hmac = 1",
        "[sources.x]\nprovider = \"aws-sns\"\nrequire = []",
    ] {
        let mut document = toml::de::DeTable::parse(text).expect("TOML");
        assert!(expand(document.get_mut()).is_ok(), "{text}");
    }
}

#[test]
fn secrets_of_an_effective_source_are_masked() {
    let own = "secrets = [\"s3cret\"]\nhub_tokens = [\"t0ken\"]\n\
               [sources.x.verify.hmac]\nsecrets = [\"0ther\"]";
    let text = format!("[sources.x]\nprovider = \"github\"\n{own}");
    let shown = effective_sources(&text).expect("a configuration")[0].to_toml();
    for secret in ["s3cret", "t0ken", "0ther"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("[sources.x.verify.hmac]") && shown.contains("X-Hub-Signature-256"));
    let document: Table = toml::from_str(&shown).expect(&shown);
    assert!(document["sources"]["x"]["verify"]["hmac"]["secrets"].is_array());
}
