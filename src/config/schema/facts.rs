//! Defaults and bounds of keys, which the types don't tell. Tests compare them with the program: a
//! default makes the configuration that its absence makes, and a value out of bounds is refused.

use serde_json::{Map, Value, json};

/// The facts about a key, as keywords of JSON Schema.
pub(super) struct Fact {
    /// The type of the table.
    pub table: &'static str,
    pub key: &'static str,
    pub keywords: Map<String, Value>,
}

fn fact(table: &'static str, key: &'static str) -> Fact {
    Fact {
        table,
        key,
        keywords: Map::new(),
    }
}

impl Fact {
    fn with(mut self, keyword: &str, value: impl Into<Value>) -> Self {
        self.keywords.insert(keyword.to_owned(), value.into());
        self
    }

    fn default(self, value: impl Into<Value>) -> Self {
        self.with("default", value)
    }

    fn between(self, least: impl Into<Value>, most: impl Into<Value>) -> Self {
        self.with("minimum", least).with("maximum", most)
    }

    fn above(self, least: impl Into<Value>, most: impl Into<Value>) -> Self {
        self.with("exclusiveMinimum", least).with("maximum", most)
    }
}

/// The facts that are known.
pub(super) fn all() -> Vec<Fact> {
    let mut facts = of_the_machine();
    facts.extend(of_delivery());
    facts.extend(of_sources());
    facts
}

fn of_the_machine() -> Vec<Fact> {
    let none = || Value::Array(Vec::new());
    let bucket = |rate: f64, burst: u32| json!({ "per_second": rate, "burst": burst });
    vec![
        fact("Server", "listen").default("127.0.0.1:8080"),
        fact("Server", "max_connections")
            .default(1024)
            .between(1, 65_536),
        fact("Server", "max_body_bytes")
            .default("32KiB")
            .between(1, 64 << 20),
        fact("Server", "header_timeout").default("10s"),
        fact("Server", "keep_alive_timeout").default("75s"),
        fact("Server", "max_headers").default(100).between(8, 1024),
        fact("Server", "max_header_bytes")
            .default("32KiB")
            .between(8 << 10, 1 << 20),
        fact("Server", "request_timeout").default("30s"),
        fact("Server", "shutdown_grace").default("10s"),
        fact("Server", "trusted_proxies").default(none()),
        fact("Acme", "domains")
            .with("minItems", 1)
            .with("maxItems", 100),
        fact("Acme", "directory_url").default("https://acme-v02.api.letsencrypt.org/directory"),
        fact("Acme", "external_port").between(1, 65_535),
        fact("Admin", "listen").default("127.0.0.1:8081"),
        fact("Admin", "allowed_hosts")
            .default(none())
            .with("maxItems", 64),
        fact("Admin", "metrics_public").default(false),
        fact("Database", "path").default("relay.db"),
        fact("Database", "statement_timeout").default("5s"),
        fact("Database", "readers").default(4).between(1, 64),
        fact("Database", "min_free_bytes").default("64MiB"),
        fact("Database", "max_bytes").with("minimum", 1 << 20),
        fact("Node", "lease").default("5s"),
        fact("Node", "heartbeat").default("1s"),
        fact("Api", "idempotency_window").default("1h"),
        fact("ApiRateLimit", "post").default(bucket(10.0, 20)),
        fact("ApiRateLimit", "get").default(bucket(50.0, 100)),
        fact("RateLimit", "per_second").above(0, 1_000_000),
        fact("RateLimit", "burst").between(1, 1_000_000),
        fact("Retention", "delivered").default("7d"),
        fact("Retention", "dead_lettered").default("30d"),
        fact("Backup", "every").default("1d"),
        fact("Backup", "keep").default(7).between(1, 1000),
        fact("Alerts", "format").default("standard"),
        fact("Heartbeat", "every").default("1m"),
        fact("Log", "format").default("auto"),
        fact("Log", "level").default("info"),
    ]
}

fn of_delivery() -> Vec<Fact> {
    let none = || Value::Array(Vec::new());
    let status = || json!({ "type": "integer", "minimum": 300, "maximum": 599 });
    let schedule = json!(["5s", "5m", "30m", "2h", "5h", "10h", "14h", "20h", "24h"]);
    vec![
        fact("Delivery", "workers").default(64).between(1, 1024),
        fact("Delivery", "timeout").default("15s"),
        fact("Delivery", "connect_timeout").default("5s"),
        fact("Delivery", "allow_networks").default(none()),
        fact("Delivery", "proxy_adhoc").default(false),
        fact("Simulated", "latency").default("50ms"),
        fact("Defaults", "concurrency").default(8).between(1, 1024),
        fact("Destination", "concurrency").between(1, 1024),
        fact("Destination", "transient_statuses")
            .default(none())
            .with("items", status()),
        fact("Destination", "permanent_statuses")
            .default(none())
            .with("items", status()),
        fact("RetrySettings", "schedule")
            .default(schedule)
            .with("maxItems", 100),
        fact("RetrySettings", "jitter").default(0.2).between(0, 1),
        // With base; none of these stands alone.
        fact("RetrySettings", "factor").between(1, 100),
        fact("RetrySettings", "attempts").between(1, 101),
        fact("BreakerSettings", "enabled").default(true),
        fact("BreakerSettings", "failures")
            .default(10)
            .between(1, 1_000_000),
        fact("BreakerSettings", "ratio").default(0.7).above(0, 1),
        fact("BreakerSettings", "min_attempts")
            .default(10)
            .between(1, 1_000_000),
        fact("BreakerSettings", "window").default("5m"),
        fact("BreakerSettings", "probe_after").default("30s"),
        fact("BreakerSettings", "probe_cap").default("10m"),
    ]
}

fn of_sources() -> Vec<Fact> {
    let mut facts = vec![
        fact("Source", "on_redelivery").default("ignore"),
        fact("Source", "forward_query").default("header"),
        fact("Source", "max_body_bytes")
            .default("1MiB")
            .between(1, 64 << 20),
        fact("Source", "accept_any_content").default(false),
        fact("Source", "forward_authorization").default(false),
        fact("Source", "routes").with("maxItems", 64),
        fact("Source", "verify_any").with("maxItems", 4),
        fact("Answer", "status").default(200).between(200, 299),
        fact("Answer", "body").default(""),
        fact("HandshakeTable", "signed").default(true),
        fact("HandshakeTable", "status")
            .default(200)
            .between(200, 299),
        fact("StandardWebhooks", "tolerance").default("5m"),
        fact("HmacScheme", "algorithm").default("sha256"),
        fact("HmacScheme", "secret_encoding").default("text"),
    ];
    for scheme in ["HmacScheme", "PublicKeyScheme"] {
        facts.extend([
            fact(scheme, "encoding").default("hex"),
            fact(scheme, "format").default("{signature}"),
            fact(scheme, "signed").default("{body}"),
            fact(scheme, "timestamp_format").default("seconds"),
            fact(scheme, "tolerance").default("5m"),
        ]);
    }
    facts
}

/// Adds the facts to a schema.
pub(super) fn add(schema: &mut Value) {
    for Fact {
        table,
        key,
        keywords,
    } in all()
    {
        let place = format!("/$defs/{table}/properties/{key}");
        // A test finds facts about keys that aren't there.
        if let Some(Value::Object(found)) = schema.pointer_mut(&place) {
            found.extend(keywords);
        }
    }
}
