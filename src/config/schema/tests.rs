//! The schema says what the program does: of defaults, of bounds, of wrong values, and of every
//! file that the repository shows.

use std::collections::HashSet;
use std::path::Path;

use jsonschema::Validator;
use serde_json::{Value, json};
use toml::Table;

use super::made::schema;
use super::{SCHEMA, facts};
use crate::config::{Config, providers};

/// A configuration that has a table of each type of which the schema knows defaults.
const BASE: &str = r#"
    [api.rate_limit]
    [destinations.d]
    url = "https://d.example/"
    [delivery.simulated]
    [delivery.defaults.retry]
    [delivery.defaults.breaker]
    [alerts]
    destination = "d"
    heartbeat = { url = "https://ping.example/" }
    [sources.plain]
    destinations = ["d"]
    answer = {}
    handshakes = [{ method = "POST", when.body."/type" = [0] }]
    verify.hmac = { header = "X-Signature", secrets = ["s"] }
    [sources.key]
    destinations = ["d"]
    [sources.key.verify.public_key]
    algorithm = "ed25519"
    header = "X-Signature"
    public_keys = ["fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"]
    [sources.standard]
    destinations = ["d"]
    verify.standard_webhooks = { secrets = ["whsec_MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAw"] }
    [retention]
    [backup]
    directory = "backups"
    [server]
    [server.acme]
    domains = ["hooks.example.com"]
    accept_terms = true
    external_port = 443
    [admin]
    [database]
    [node]
    [log]
"#;

/// Where the tables of each type stand in [`BASE`].
const TABLES: [(&str, &str); 22] = [
    ("Server", "/server"),
    ("Acme", "/server/acme"),
    ("Admin", "/admin"),
    ("Database", "/database"),
    ("Node", "/node"),
    ("Api", "/api"),
    ("ApiRateLimit", "/api/rate_limit"),
    ("Retention", "/retention"),
    ("Backup", "/backup"),
    ("Alerts", "/alerts"),
    ("Heartbeat", "/alerts/heartbeat"),
    ("Log", "/log"),
    ("Delivery", "/delivery"),
    ("Simulated", "/delivery/simulated"),
    ("Defaults", "/delivery/defaults"),
    ("Destination", "/destinations/d"),
    ("RetrySettings", "/delivery/defaults/retry"),
    ("BreakerSettings", "/delivery/defaults/breaker"),
    ("Source", "/sources/plain"),
    ("Answer", "/sources/plain/answer"),
    ("HandshakeTable", "/sources/plain/handshakes/0"),
    ("HmacScheme", "/sources/plain/verify/hmac"),
];
const MORE_TABLES: [(&str, &str); 2] = [
    ("PublicKeyScheme", "/sources/key/verify/public_key"),
    (
        "StandardWebhooks",
        "/sources/standard/verify/standard_webhooks",
    ),
];

/// The text's file, from the package's root.
const FILE: &str = "src/config/schema/relay.schema.json";

#[test]
fn the_schema_s_text_is_what_the_types_make() {
    let made = format!("{:#}\n", schema());
    // A change of a setting changes the text.
    if std::env::var_os("RELAY_WRITE_SCHEMA").is_some() {
        std::fs::write(FILE, made).expect("the text is written");
        return;
    }
    assert!(
        SCHEMA == made,
        "{FILE} isn't what the types make: RELAY_WRITE_SCHEMA=1 cargo test --lib schema writes it"
    );
}

fn validator() -> Validator {
    jsonschema::draft202012::new(&schema()).expect("a schema")
}

fn document(text: &str) -> Value {
    toml::from_str(text).unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

/// The configuration that a document makes, as it takes effect. An error says why there is none.
fn effective(document: &Value) -> Result<String, String> {
    let table: Table = serde_json::from_value(document.clone()).expect("TOML");
    let text = toml::to_string(&table).expect("TOML");
    let env = |_: &str| None;
    let checked = Config::check_text(Some(&text), Path::new("relay.toml"), &env);
    let (config, _) = checked.map_err(|error| error.to_string())?;
    Ok(format!("{:?}", config.resolve()))
}

fn place_of(table: &str) -> Option<&'static str> {
    let all = TABLES.into_iter().chain(MORE_TABLES);
    all.into_iter()
        .find(|(name, _)| *name == table)
        .map(|(_, place)| place)
}

/// The base with a key of a type's table set.
fn with(table: &str, key: &str, value: Value) -> Value {
    let place = place_of(table).unwrap_or_else(|| panic!("{table} has a place"));
    let mut document = document(BASE);
    let found = document.pointer_mut(place).expect(place);
    found[key] = value;
    document
}

#[test]
fn every_fact_is_about_a_key_that_is_there() {
    let schema = schema();
    for fact in facts::all() {
        let place = format!("/$defs/{}/properties/{}", fact.table, fact.key);
        assert!(schema.pointer(&place).is_some(), "{place}");
    }
}

#[test]
fn a_default_makes_the_configuration_that_its_absence_makes() {
    let base = effective(&document(BASE)).expect("a good configuration");
    let validator = validator();
    let (mut seen, mut wrong) = (0, Vec::new());
    for fact in facts::all() {
        let Some(default) = fact.keywords.get("default") else {
            continue;
        };
        let document = with(fact.table, fact.key, default.clone());
        let is_fine = validator.is_valid(&document) && effective(&document).as_ref() == Ok(&base);
        if !is_fine {
            wrong.push(format!("{}.{} = {default}", fact.table, fact.key));
        }
        seen += 1;
    }
    assert_eq!(wrong, [""; 0]);
    assert!(seen > 50, "{seen}");
}

/// A default that the comments of a key tell is in the schema, too.
#[test]
fn descriptions_that_tell_a_default_have_one_in_the_schema() {
    let schema = schema();
    let mut missing = Vec::new();
    for (table, _) in TABLES.into_iter().chain(MORE_TABLES) {
        let properties = &schema["$defs"][table]["properties"];
        for (key, property) in properties.as_object().expect(table) {
            let description = property["description"].as_str().unwrap_or_default();
            let told = description.split("Default: ").nth(1);
            // A default that is nothing, or the value of another key, is no value to show.
            let is_value = told.is_some_and(|told| {
                let words = [
                    "none",
                    "any",
                    "all",
                    "they",
                    "events",
                    "unlimited",
                    "that of",
                    "the usual",
                ];
                let is_word = words.iter().any(|word| told.starts_with(word));
                let is_key = told.contains("delivery.") || told.contains("api.");
                !is_word && !is_key
            });
            if is_value && property.get("default").is_none() {
                missing.push(format!("{table}.{key}: {description}"));
            }
        }
    }
    let known = [
        // The highest level of the build, and the place of the first row of a list.
        "Delivery.level",
        "Source.idempotency",
        "Source.answer",
        "RetrySettings.factor",
        "RetrySettings.cap",
        "RetrySettings.attempts",
    ];
    missing.retain(|line| !known.iter().any(|known| line.starts_with(known)));
    assert_eq!(missing, [""; 0]);
}

#[test]
fn bounds_are_those_of_the_program() {
    let validator = validator();
    let mut seen = 0;
    for fact in facts::all() {
        if place_of(fact.table).is_none() || fact.table == "HandshakeTable" {
            continue;
        }
        for (keyword, step) in [
            ("minimum", -1.0),
            ("exclusiveMinimum", 0.0),
            ("maximum", 1.0),
        ] {
            let Some(bound) = fact.keywords.get(keyword) else {
                continue;
            };
            let beyond = match bound.as_i64() {
                Some(bound) if fact.key != "ratio" && fact.key != "jitter" => {
                    json!(bound + if step < 0.0 { -1 } else { 1 })
                }
                _ => json!(bound.as_f64().expect("a number") + step / 100.0),
            };
            let document = with(fact.table, fact.key, beyond.clone());
            let problem = format!("{}.{} = {beyond}", fact.table, fact.key);
            assert!(!validator.is_valid(&document), "the schema: {problem}");
            assert!(effective(&document).is_err(), "relay check: {problem}");
            let document = with(fact.table, fact.key, bound.clone());
            assert_eq!(
                validator.is_valid(&document),
                keyword != "exclusiveMinimum",
                "the schema at the bound: {problem}"
            );
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn wrong_values_are_refused_by_the_schema_and_by_the_check() {
    let validator = validator();
    let mut taken = Vec::new();
    for (place, wrong) in [
        ("", json!({ "nothing": 1 })),
        ("/server", json!({ "lisen": ":8080" })),
        ("/server", json!({ "listen": "8080" })),
        ("/server", json!({ "header_timeout": 10 })),
        ("/server", json!({ "header_timeout": "10" })),
        ("/server", json!({ "max_body_bytes": "32 KiB" })),
        ("/server", json!({ "max_body_bytes": "32KB" })),
        ("/server", json!({ "max_connections": "many" })),
        ("/server", json!({ "trusted_proxies": ["10.0.0.0"] })),
        ("/admin", json!({ "listen": false })),
        ("/admin", json!({ "metrics_public": "no" })),
        ("/database", json!({ "readers": 0 })),
        ("/api", json!({ "keys": "one" })),
        ("/api/rate_limit", json!({ "post": { "per_second": 1 } })),
        ("/destinations/d", json!({ "url": "ftp://d.example/" })),
        ("/destinations/d", json!({ "url": 1 })),
        ("/destinations/d", json!({ "transient_statuses": [200] })),
        ("/destinations/d", json!({ "ordering": "type" })),
        (
            "/destinations/d",
            json!({ "ordering": { "on_dead": "block" } }),
        ),
        ("/destinations/d", json!({ "ordering": { "by": "id" } })),
        ("/destinations/d", json!({ "proxy": "socks5://proxy:1" })),
        ("/delivery", json!({ "level": "fast" })),
        ("/delivery", json!({ "workers": 2000 })),
        ("/delivery/defaults/breaker", json!({ "ratio": 70 })),
        ("/retention", json!({ "delivered": "always" })),
        ("/log", json!({ "format": "xml" })),
        ("/alerts", json!({ "format": "teams" })),
        ("/sources/plain", json!({ "provider": "nobody" })),
        ("/sources/plain", json!({ "idempotency": "header" })),
        (
            "/sources/plain",
            json!({ "idempotency": { "header": "A", "query": "b" } }),
        ),
        (
            "/sources/plain",
            json!({ "idempotency": { "json_pointer": "id" } }),
        ),
        ("/sources/plain", json!({ "event_type": { "body": "/x" } })),
        ("/sources/plain", json!({ "forward_query": "keep" })),
        ("/sources/plain", json!({ "handshakes": ["shake"] })),
        ("/sources/plain", json!({ "routes": [{ "when": {} }] })),
        ("/sources/plain/verify/hmac", json!({ "algorithm": "md5" })),
        ("/sources/plain/verify/hmac", json!({ "format": "sha256=" })),
        ("/sources/plain/verify/hmac", json!({ "tolerance": "soon" })),
        (
            "/sources/key/verify/public_key",
            json!({ "algorithm": "dsa" }),
        ),
        ("/sources/plain", json!({ "verify": { "magic": {} } })),
    ] {
        let mut document = document(BASE);
        let table = document.pointer_mut(place).expect(place);
        for (key, value) in wrong.as_object().expect("a table") {
            table[key] = value.clone();
        }
        if validator.is_valid(&document) {
            taken.push(format!("the schema takes {place} {wrong}"));
        }
        if effective(&document).is_ok() {
            taken.push(format!("relay check takes {place} {wrong}"));
        }
    }
    assert_eq!(taken, [""; 0]);
}

/// The blocks of TOML in a text of Markdown.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "```toml" {
            let block = lines.by_ref().take_while(|line| line.trim() != "```");
            blocks.push(block.collect::<Vec<_>>().join("\n"));
        }
    }
    blocks
}

fn assert_fits(validator: &Validator, name: &str, text: &str) {
    let document = document(text);
    let errors: Vec<_> = validator
        .iter_errors(&document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{name}: {errors:#?}\n{text}");
}

#[test]
fn files_and_documents_of_the_repository_fit_the_schema() {
    let validator = validator();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &Path| std::fs::read_to_string(path).expect("text");
    for name in [
        "relay.toml",
        "src/cli/init/relay.toml",
        "tests/conformance/relay.toml",
    ] {
        // A place of the first configuration that is empty but for one build.
        let text = read(&root.join(name)).replace("{signs}", "");
        assert_fits(&validator, name, &text);
    }
    let mut seen = 0;
    for entry in std::fs::read_dir(root.join("docs")).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|ending| ending != "md") {
            continue;
        }
        for block in blocks(&read(&path)) {
            // A line of its own shows a key without its table.
            if block.contains("\n[") || block.starts_with('[') {
                assert_fits(&validator, &path.display().to_string(), &block);
                seen += 1;
            }
        }
    }
    assert!(seen > 30, "{seen}");
}

/// The lines of relay.toml that are commented out show keys and values, too.
#[test]
fn every_setting_of_a_provider_fits_the_schema() {
    let validator = validator();
    for file in providers::FILES {
        let text = format!("[sources.{}]\nprovider = \"{}\"\n", file.name, file.name);
        assert_fits(&validator, file.name, &text);
        let source = file.source_text(file.name);
        assert_fits(&validator, file.name, &source);
    }
}

#[test]
fn the_repository_s_file_names_every_key() {
    let text = include_str!("../../../relay.toml");
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words: HashSet<&str> = text.split(|c| !is_part(c)).collect();
    let schema = schema();
    let mut missing = Vec::new();
    // Few need a handshake of their own: docs/configuration.md has its keys.
    let tables = TABLES
        .into_iter()
        .filter(|(table, _)| *table != "HandshakeTable");
    for (table, _) in tables.chain(MORE_TABLES) {
        let properties = schema["$defs"][table]["properties"].as_object();
        let keys = properties.expect(table).keys();
        let unnamed = keys.filter(|key| !words.contains(key.as_str()));
        missing.extend(unnamed.map(|key| format!("{table}.{key}")));
    }
    let sections = schema["properties"].as_object().expect("sections").keys();
    missing.extend(
        sections
            .filter(|key| !words.contains(key.as_str()))
            .cloned(),
    );
    assert_eq!(missing, [""; 0]);
}

#[test]
fn every_key_has_a_description() {
    let schema = schema();
    let mut missing = Vec::new();
    for (table, definition) in schema["$defs"].as_object().expect("definitions") {
        let Some(properties) = definition["properties"].as_object() else {
            continue;
        };
        for (key, property) in properties {
            if property["description"].as_str().is_none_or(str::is_empty) {
                missing.push(format!("{table}.{key}"));
            }
        }
        assert_eq!(definition["additionalProperties"], false, "{table}");
    }
    assert_eq!(missing, [""; 0]);
}

#[test]
fn a_schema_has_nothing_that_toml_cannot_hold() {
    let text = schema().to_string();
    for odd in ["\"null\"", ":null", "uint", "int64", "[`", "\\n"] {
        assert!(!text.contains(odd), "{odd}");
    }
}
