//! What a parser of single values can't see: ranges, references, contradictions.

use std::net::SocketAddr;

use hyper::header::HeaderValue;

use super::load::Origin;
use super::rules::{
    Checked, EXPECTED_NAME, MAX_TIMEOUT, MAX_WAIT, bad, bad_secret, breaker, certificates, limits,
    not_a_reference, quoted, rate_limit, resolved, retry, same_listener, shown, signing_secrets,
    timeout, within,
};
use super::{Config, ConfigError, Destination, IdempotencyKeyAt, Source, is_header_name};
use crate::model::{Level, is_name};

/// The largest body anybody may allow: it is held in memory, once for each connection.
const MAX_BODY_BYTES: u64 = 64 << 20;

/// Headers that relay sets itself, or that would break the request.
const OWN_HEADERS: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "relay-attempt",
];

impl Config {
    /// Checks what the types don't: ranges, names, references, contradictions, and settings that
    /// this version knows of but doesn't act on yet, which are refused rather than ignored.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_from(&Origin::Program)
    }

    pub(super) fn check_from(&self, origin: &Origin) -> Result<(), ConfigError> {
        self.checked()
            .map_err(|(key, message)| ConfigError::Setting {
                origin: origin.clone(),
                key,
                message,
            })
    }

    fn checked(&self) -> Checked {
        self.check_server()?;
        self.check_api()?;
        self.check_delivery()?;
        self.check_retention()?;
        for (name, destination) in &self.destinations {
            self.check_destination(&format!("destinations.{name}"), name, destination)?;
        }
        for (name, source) in &self.sources {
            self.check_source(&format!("sources.{name}"), name, source)?;
        }
        Ok(())
    }

    fn check_server(&self) -> Checked {
        let server = &self.server;
        within("server.max_connections", server.max_connections, 1, 65_536)?;
        within(
            "server.max_body_bytes",
            server.max_body_bytes,
            1,
            MAX_BODY_BYTES,
        )?;
        timeout("server.header_timeout", server.header_timeout)?;
        timeout("server.request_timeout", server.request_timeout)?;
        timeout("server.shutdown_grace", server.shutdown_grace)?;
        let path = self.database.path.as_os_str();
        if path.is_empty() || path == ":memory:" || path.as_encoded_bytes().starts_with(b"file:") {
            return bad("database.path", quoted(path), "the path of a file");
        }
        within("database.readers", self.database.readers, 1, 64)?;
        if self
            .admin
            .listen
            .is_some_and(|admin| same_listener(admin, server.listen))
        {
            return bad(
                "admin.listen",
                server.listen,
                "an address other than server.listen",
            );
        }
        let filter = self.log.level.as_str();
        let is_word = filter.bytes().all(|b| b.is_ascii_alphabetic());
        // A bare word that is no level would be read as a module's name, and silence the rest.
        let is_typo = is_word && filter.parse::<log::LevelFilter>().is_err();
        if is_typo || env_filter::Builder::new().try_parse(filter).is_err() {
            return bad(
                "log.level",
                quoted(filter),
                "a level (off, error, warn, info, debug, trace) or env_logger's syntax",
            );
        }
        Ok(())
    }

    fn check_api(&self) -> Checked {
        resolved(
            "api.keys",
            self.api.keys_env.is_some(),
            self.api.keys_file.is_some(),
        )?;
        for (at, key) in self.api.keys.iter().enumerate() {
            let text = key.reveal();
            if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
                return bad_secret("api.keys", at, "visible ASCII characters without blanks");
            }
            not_a_reference("api.keys", at, key)?;
        }
        let window = self.api.idempotency_window;
        if window.is_zero() || window > MAX_WAIT {
            return bad("api.idempotency_window", shown(window), "1ms to 30d");
        }
        rate_limit("api.rate_limit.post", &self.api.rate_limit.post)?;
        rate_limit("api.rate_limit.get", &self.api.rate_limit.get)
    }

    /// An intent that is gone takes its idempotency key with it.
    fn check_retention(&self) -> Checked {
        let window = self.api.idempotency_window;
        for (key, kept) in [
            ("retention.delivered", self.retention.delivered),
            ("retention.dead_lettered", self.retention.dead_lettered),
        ] {
            if let Some(kept) = kept
                && kept < window
            {
                let least = format!("at least api.idempotency_window ({})", shown(window));
                return bad(key, shown(kept), &least);
            }
        }
        Ok(())
    }

    fn check_delivery(&self) -> Checked {
        let delivery = &self.delivery;
        if let Some(level) = delivery.level
            && level > crate::COMPILED_LEVEL
            && let Some(feature) = level.feature()
        {
            return bad(
                "delivery.level",
                quoted(&level.to_string()),
                &format!(
                    "a level compiled into this binary (up to \"{}\"); build with --features {feature}",
                    crate::COMPILED_LEVEL
                ),
            );
        }
        within("delivery.workers", delivery.workers, 1, 1024)?;
        timeout("delivery.timeout", delivery.timeout)?;
        timeout("delivery.connect_timeout", delivery.connect_timeout)?;
        if delivery.connect_timeout > delivery.timeout {
            return bad(
                "delivery.connect_timeout",
                shown(delivery.connect_timeout),
                &format!("at most delivery.timeout ({})", shown(delivery.timeout)),
            );
        }
        if delivery.simulated.latency > MAX_TIMEOUT {
            return bad(
                "delivery.simulated.latency",
                shown(delivery.simulated.latency),
                "at most 1h",
            );
        }
        let defaults = &delivery.defaults;
        breaker("delivery.defaults.breaker", &defaults.breaker)?;
        retry("delivery.defaults.retry", &defaults.retry)?;
        limits(
            "delivery.defaults",
            defaults.rate_limit.as_ref(),
            defaults.concurrency,
        )
    }

    fn check_destination(&self, key: &str, name: &str, to: &Destination) -> Checked {
        if !is_name(name) {
            return Err((key.to_owned(), EXPECTED_NAME.to_owned()));
        }
        breaker(&format!("{key}.breaker"), &to.breaker)?;
        if let Some(address) = to.url.literal_address()
            && self.listens_at(SocketAddr::new(address, to.url.port()))
        {
            return bad(
                &format!("{key}.url"),
                quoted(to.url.origin()),
                "an address other than our own listeners",
            );
        }
        let secrets = format!("{key}.secrets");
        resolved(
            &secrets,
            to.secrets_env.is_some(),
            to.secrets_file.is_some(),
        )?;
        signing_secrets(&secrets, &to.secrets)?;
        if !to.secrets.is_empty() && self.level() == Level::Http {
            return Err((secrets, "contradicts delivery.level = \"http\", which doesn't sign: expected level \"durable\"".to_owned()));
        }
        self.check_headers(&format!("{key}.headers"), to)?;
        if let Some(limit) = to.timeout {
            timeout(&format!("{key}.timeout"), limit)?;
        }
        if let Some(path) = &to.ca_file {
            certificates(&format!("{key}.ca_file"), path)?;
        }
        limits(key, to.rate_limit.as_ref(), to.concurrency)?;
        retry(&format!("{key}.retry"), &to.retry)?;
        for (list, statuses) in [
            ("transient_statuses", &to.transient_statuses),
            ("permanent_statuses", &to.permanent_statuses),
        ] {
            let key = format!("{key}.{list}");
            for status in statuses {
                if !(300..=599).contains(status) {
                    return bad(&key, status, "a status from 300 to 599");
                }
                if list == "permanent_statuses" && to.transient_statuses.contains(status) {
                    return bad(
                        &key,
                        status,
                        "a status that isn't among transient_statuses too",
                    );
                }
            }
        }
        Ok(())
    }

    #[expect(
        clippy::unused_self,
        reason = "stands among the other parts of check()"
    )]
    fn check_headers(&self, key: &str, to: &Destination) -> Checked {
        for (name, value) in &to.headers {
            let lower = name.to_ascii_lowercase();
            if !is_header_name(name) {
                return bad(key, quoted(name), "the name of an HTTP header");
            }
            if OWN_HEADERS.contains(&lower.as_str())
                || lower.starts_with("webhook-")
                || lower.starts_with("relay-")
            {
                return bad(key, quoted(name), "a header that relay doesn't set itself");
            }
            if HeaderValue::try_from(value.reveal()).is_err() {
                return Err((
                    format!("{key}.{name}"),
                    "expected a value without control characters".to_owned(),
                ));
            }
        }
        Ok(())
    }

    fn check_source(&self, key: &str, name: &str, source: &Source) -> Checked {
        if name != "*" && !is_name(name) {
            return Err((key.to_owned(), EXPECTED_NAME.to_owned()));
        }
        let list = format!("{key}.destinations");
        if source.destinations.is_empty() {
            return bad(&list, "[]", "at least one destination");
        }
        for (at, destination) in source.destinations.iter().enumerate() {
            if !self.destinations.contains_key(destination) {
                return bad(
                    &list,
                    quoted(destination),
                    "the name of a [destinations.…] section",
                );
            }
            if source.destinations[..at].contains(destination) {
                return bad(&list, quoted(destination), "each destination once");
            }
        }
        match &source.idempotency {
            IdempotencyKeyAt::Header(header) if !is_header_name(header) => {
                return bad(
                    &format!("{key}.idempotency.header"),
                    quoted(header),
                    "the name of an HTTP header",
                );
            }
            IdempotencyKeyAt::JsonPointer(pointer) if !pointer.starts_with('/') => {
                return bad(
                    &format!("{key}.idempotency.json_pointer"),
                    quoted(pointer),
                    "a JSON pointer such as \"/id\"",
                );
            }
            IdempotencyKeyAt::JsonPointer(_) if source.accept_any_content => {
                return Err((
                    format!("{key}.idempotency.json_pointer"),
                    "contradicts accept_any_content: a body that isn't JSON has no key".to_owned(),
                ));
            }
            _ => {}
        }
        within(
            &format!("{key}.max_body_bytes"),
            source.max_body_bytes(),
            1,
            MAX_BODY_BYTES,
        )?;
        if let Some(limit) = &source.rate_limit {
            rate_limit(&format!("{key}.rate_limit"), limit)?;
        }
        match &source.verify {
            Some(verify) => verify.check(&format!("{key}.verify")),
            None => Ok(()),
        }
    }

    fn listens_at(&self, address: SocketAddr) -> bool {
        [Some(self.server.listen), self.admin.listen]
            .into_iter()
            .flatten()
            .any(|own| own.port() != 0 && same_listener(own, address))
    }
}
