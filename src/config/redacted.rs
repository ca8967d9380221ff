//! The settings that take effect, as operators may see them. Each field is named here, so that a
//! new one can't be shown without a decision: URLs are shown up to their path and without a user,
//! headers by their names, secrets as their number.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::config::resolved::{AlertPolicy, DestinationPolicy, Resolved, SourcePolicy};
use crate::config::rules::shown;
use crate::config::sections::{
    Acme, Admin, Database, EventTypeAt, RateLimit, Server, SourceVerify, Tls,
};
use crate::model::{DeliveryOrder, OnDead, OrderBy, shown_url};

impl Resolved {
    /// The settings without secrets.
    pub(crate) fn redacted(&self) -> Value {
        let delivery = &self.delivery;
        json!({
            "server": server(&self.server),
            "admin": admin(&self.admin),
            "database": database(&self.database),
            "node": {
                "name": self.node.name,
                "lease": shown(self.node.lease),
                "heartbeat": shown(self.node.heartbeat),
            },
            "api": {
                "keys": set(self.api.keys.len()),
                "idempotency_window": shown(self.api.idempotency_window),
                "rate_limit": {
                    "post": rate_limit(self.api.rate_limit.post),
                    "get": rate_limit(self.api.rate_limit.get),
                },
            },
            "delivery": {
                "level": delivery.level.to_string(),
                "workers": delivery.workers,
                "timeout": shown(delivery.timeout),
                "connect_timeout": shown(delivery.connect_timeout),
                "allow_networks": texts(&delivery.allow_networks),
            },
            "retention": {
                "delivered": self.retention.delivered.map(shown),
                "dead_lettered": self.retention.dead_lettered.map(shown),
            },
            "backup": self.backup.as_ref().map(|backup| json!({
                "directory": path(&backup.directory),
                "every": shown(backup.every),
                "keep": backup.keep,
            })),
            "alerts": self.alerts.as_ref().map(alerts),
            "destinations": named(&self.destinations, |one| destination(one)),
            "sources": named(&self.sources, |one| source(one)),
        })
    }
}

fn server(server: &Server) -> Value {
    json!({
        "listen": server.listen.to_string(),
        "max_connections": server.max_connections,
        "max_body_bytes": server.max_body_bytes,
        "header_timeout": shown(server.header_timeout),
        "keep_alive_timeout": shown(server.keep_alive_timeout),
        "max_headers": server.max_headers,
        "max_header_bytes": server.max_header_bytes,
        "request_timeout": shown(server.request_timeout),
        "shutdown_grace": shown(server.shutdown_grace),
        "public_url": server.public_url.as_deref().map(shown_url),
        "trusted_proxies": texts(&server.trusted_proxies),
        "tls": server.tls.as_ref().map(tls),
        "acme": server.acme.as_ref().map(acme),
    })
}

fn admin(admin: &Admin) -> Value {
    json!({
        "listen": admin.listen.as_ref().map(SocketAddr::to_string),
        "tokens": set(admin.tokens.len()),
        "read_tokens": set(admin.read_tokens.len()),
        "allowed_hosts": admin.allowed_hosts,
        "metrics_public": admin.metrics_public,
        "tls": admin.tls.as_ref().map(tls),
    })
}

/// The URL is a secret as a whole: it may hold the password.
fn database(database: &Database) -> Value {
    json!({
        "path": path(&database.path),
        "url": set(usize::from(database.url.is_some())),
        "ca_file": database.ca_file.as_deref().map(path),
        "statement_timeout": shown(database.statement_timeout),
        "readers": database.readers,
        "min_free_bytes": database.min_free_bytes,
        "max_bytes": database.max_bytes,
    })
}

/// The heartbeat's URL is a secret as a whole: it names its switch.
fn alerts(policy: &AlertPolicy) -> Value {
    let heartbeat = policy.heartbeat.as_ref();
    json!({
        "destination": policy.destination,
        "format": policy.format.name(),
        "heartbeat": heartbeat.map(|beat| json!({ "url": set(1), "every": shown(beat.every) })),
    })
}

fn named<T>(all: &BTreeMap<String, T>, view: impl Fn(&T) -> Value) -> Value {
    let views = all.iter().map(|(name, one)| (name.clone(), view(one)));
    Value::Object(views.collect::<Map<_, _>>())
}

fn acme(settings: &Acme) -> Value {
    json!({
        "domains": settings.domains,
        "email": settings.email,
        "directory_url": shown_url(&settings.directory_url),
        "accept_terms": settings.accept_terms,
        "external_port": settings.external_port,
        "ca_file": settings.ca_file.as_deref().map(path),
    })
}

fn tls(files: &Tls) -> Value {
    json!({
        "cert_file": path(&files.cert_file),
        "key_file": path(&files.key_file),
    })
}

fn destination(policy: &DestinationPolicy) -> Value {
    let breaker = policy.breaker.map(|rules| {
        json!({
            "failures": rules.failures,
            "ratio": rules.ratio,
            "min_attempts": rules.min_attempts,
            "window": shown(rules.window),
            "probe_after": shown(rules.probe_after),
            "probe_cap": shown(rules.probe_cap),
        })
    });
    json!({
        "url": policy.url.as_ref().map(|url| format!("{}/…", url.origin())),
        "secrets": set(policy.secrets.len()),
        "headers": policy.headers.keys().collect::<Vec<_>>(),
        "timeout": shown(policy.timeout),
        "rate_limit": policy.rate_limit.map(rate_limit),
        "concurrency": policy.concurrency,
        "transient_statuses": policy.transient_statuses,
        "permanent_statuses": policy.permanent_statuses,
        "retry": {
            "schedule": policy.retry.schedule.iter().copied().map(shown).collect::<Vec<_>>(),
            "jitter": policy.retry.jitter,
        },
        "breaker": breaker,
        "ordering": policy.order.as_ref().map(ordering),
        "proxy": policy.network.proxy.as_ref().map(|proxy| proxy.url.to_string()),
        "ca_file": policy.network.ca_file.as_deref().map(path),
        "client_certificate": policy.network.client_certificate.is_some(),
    })
}

/// As a table of relay.toml has it.
fn ordering(order: &DeliveryOrder) -> Value {
    let on_dead = match order.on_dead {
        OnDead::Skip => "skip",
        OnDead::Block => "block",
    };
    match &order.by {
        OrderBy::Pointer(pointer) => json!({ "by": pointer.as_str(), "on_dead": on_dead }),
        OrderBy::Header(name) => json!({ "header": name, "on_dead": on_dead }),
        OrderBy::Source => json!({ "by": "source", "on_dead": on_dead }),
        OrderBy::All => json!({ "by": "all", "on_dead": on_dead }),
    }
}

fn source(policy: &SourcePolicy) -> Value {
    json!({
        "destinations": policy.destinations.to_vec(),
        // Those of some events; the lines that choose them may quote anything of an event.
        "routes": policy.routes.as_ref().map(|routes| {
            let others = routes.destinations().iter().skip(policy.destinations.len());
            json!({ "to": others.collect::<Vec<_>>() })
        }),
        "event_type": policy.event_type.as_ref().map(|at| match at {
            EventTypeAt::Header(name) => json!({ "header": name }),
            EventTypeAt::JsonPointer(pointer) => json!({ "json_pointer": pointer }),
        }),
        "verify": policy.verify.as_ref().map(verify),
        "has_conditions": !policy.require.is_empty(),
        "idempotency_window": shown(policy.idempotency_window),
        "max_body_bytes": policy.max_body_bytes,
        "accept_any_content": policy.accept_any_content,
        "forward_authorization": policy.forward_authorization,
        "rate_limit": policy.rate_limit.map(rate_limit),
        "allow_ips": texts(&policy.allow_ips),
        "public_url": policy.public_url.as_deref().map(shown_url),
        "handshakes": policy.handshakes.len(),
        "answer": policy.answer.is_some(),
    })
}

fn verify(verify: &SourceVerify) -> Value {
    let schemes = verify.schemes();
    let views = schemes
        .iter()
        .map(|scheme| json!({ "scheme": scheme.name(), "secrets": set(scheme.secrets().len()) }));
    Value::Array(views.collect())
}

/// The number of secrets, in words that tell none from some.
fn set(count: usize) -> Value {
    match count {
        0 => Value::Null,
        count => format!("set ({count})").into(),
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn rate_limit(limit: RateLimit) -> Value {
    json!({ "per_second": limit.per_second, "burst": limit.burst })
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(T::to_string).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::config::Config;

    /// Each secret, and each place where one may stand, holds the word.
    const SECRETS: &str = r#"
        # Level http would refuse secrets that sign.
        [delivery]
        level = "off"
        [api]
        keys = ["SECRET-key"]
        [server]
        public_url = "https://user:SECRET@hooks.example"
        [destinations.d]
        url = "https://user.example/SECRET/path?token=SECRET"
        secrets = ["whsec_U0VDUkVUU0VDUkVUU0VDUkVUU0VDUkVU"]
        headers = { Authorization = "Bearer SECRET" }
        [alerts]
        destination = "d"
        format = "slack"
        heartbeat = { url = "https://SECRET.example/SECRET", every = "1m" }
        [sources.s]
        destinations = ["d"]
        public_url = "https://user:SECRET@hooks.example/SECRET/in"
        params = { key = "SECRET" }
        verify = { token = { header = "X-Token", secrets = ["SECRET-token"] } }
    "#;

    #[test]
    fn no_secret_is_shown() {
        let config: Config = toml::from_str(SECRETS).expect("a configuration");
        config.check().expect("a good one");
        let shown = config.resolve().redacted().to_string();
        assert!(
            !shown.contains("SECRET") && !shown.contains("U0VDUkVU"),
            "{shown}"
        );
        assert!(
            shown.contains("set (1)")
                && shown.contains("https://user.example/…")
                && shown.contains("\"https://hooks.example\"")
                && shown.contains("\"https://hooks.example/…\"")
                && shown.contains(r#""format":"slack""#),
            "{shown}"
        );
    }

    #[test]
    fn routes_and_orders_are_shown() {
        let text = r#"
            [delivery]
            level = "off"
            [destinations.a]
            url = "https://a.example/"
            ordering = { by = "/customer", on_dead = "block" }
            [destinations.b]
            url = "https://b.example/"
            ordering = "all"
            [destinations.c]
            url = "https://c.example/"
            ordering = { header = "X-Account" }
            [sources.s]
            destinations = ["a"]
            event_type = { header = "X-Event" }
            [[sources.s.routes]]
            when = { type = ["paid"] }
            to = ["a", "b"]
            [[sources.s.routes]]
            when = { headers = { x-token = ["SECRET"] } }
            to = ["b", "c"]
        "#;
        let config: Config = toml::from_str(text).expect("a configuration");
        config.check().expect("a good one");
        let view = config.resolve().redacted();
        let ordering = |name: &str| view["destinations"][name]["ordering"].clone();
        let expected = [
            json!({ "by": "/customer", "on_dead": "block" }),
            json!({ "by": "all", "on_dead": "skip" }),
            json!({ "header": "x-account", "on_dead": "skip" }),
        ];
        assert_eq!(["a", "b", "c"].map(ordering), expected);
        let source = &view["sources"]["s"];
        assert_eq!(source["routes"], json!({ "to": ["b", "c"] }));
        assert_eq!(source["event_type"]["header"], "X-Event");
        assert!(!view.to_string().contains("SECRET"), "{view}");
    }
}
