//! The identity of a configuration file: a digest of all its settings but the secrets.

use std::borrow::Cow;
use std::fmt;

use sha2::{Digest as _, Sha256};
use toml::{Table, Value};

use crate::model::origin_of;

/// Keys whose texts are names, places or words of relay's own. Any other text is left out of the
/// digest unless it is a number with a unit: a published digest of a short secret is as good as
/// the secret to somebody who tries them all. A key that is missing here costs a change that the
/// fingerprint doesn't show; the generation shows it.
const PLAIN: [&str; 43] = [
    "accept",
    "algorithm",
    "allow_ips",
    "allow_networks",
    "by",
    "certificate_hosts",
    "decode",
    "destination",
    "destinations",
    "directory",
    "domains",
    "email",
    "encoding",
    "event_type",
    "format",
    "form",
    "forward_query",
    "handshakes",
    "header",
    "headers",
    "idempotency",
    "json_pointer",
    "level",
    "listen",
    "method",
    "no_proxy",
    "on_dead",
    "on_redelivery",
    "ordering",
    "path",
    "provider",
    "public_keys",
    "public_url",
    "query",
    "scheme",
    "schedule",
    "secret_encoding",
    "source",
    "timestamp_format",
    "timestamp_header",
    "to",
    "trusted_proxies",
    "type",
];

/// A SHA-256 digest of a file's settings, in which the secrets are left out. Comments, blanks and
/// the order of the settings don't count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(String);

impl Fingerprint {
    /// Of a text that was parsed before; anything else counts as empty.
    pub fn of(text: &str) -> Self {
        let table: Table = toml::from_str(text).unwrap_or_default();
        let mut digest = Sha256::new();
        add_table(&mut digest, &table, &mut Vec::new());
        Self(hex::encode(digest.finalize()))
    }

    /// Of a configuration that no file was read for.
    pub fn none() -> Self {
        Self::of("")
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Adds a text with its length, so that no two lists of texts are the same.
fn add(digest: &mut Sha256, kind: u8, text: &str) {
    digest.update([kind]);
    digest.update((text.len() as u64).to_be_bytes());
    digest.update(text);
}

fn add_table<'a>(digest: &mut Sha256, table: &'a Table, place: &mut Vec<&'a str>) {
    digest.update(b"{");
    // A table of this crate is ordered by its keys.
    for (key, value) in table {
        add(digest, b'k', key);
        place.push(key);
        add_value(digest, value, place);
        place.pop();
    }
    digest.update(b"}");
}

fn add_value<'a>(digest: &mut Sha256, value: &'a Value, place: &mut Vec<&'a str>) {
    if is_private(place) && !value.is_table() {
        return digest.update(b"*");
    }
    match value {
        Value::Table(table) => add_table(digest, table, place),
        Value::Array(values) => {
            digest.update(b"[");
            for value in values {
                add_value(digest, value, place);
            }
            digest.update(b"]");
        }
        Value::String(text) => match without_secrets(text, place) {
            Some(text) => add(digest, b's', &text),
            None => digest.update(b"*"),
        },
        other => add(digest, b'v', &other.to_string()),
    }
}

/// Whether all values at a place may be secrets: those of a destination's headers are tokens, and
/// those of a condition or a parameter may be.
fn is_private(place: &[&str]) -> bool {
    let tables = &place[..place.len().saturating_sub(1)];
    let is_within = |table: &str| tables.contains(&table);
    !is_within("when") && ["headers", "require", "params"].into_iter().any(is_within)
}

/// The part of a text that is no secret; none if all of it may be one.
fn without_secrets<'a>(text: &'a str, place: &[&str]) -> Option<Cow<'a, str>> {
    let (key, tables) = place.split_last()?;
    if let Some(origin) = origin_of(text) {
        return Some(origin.into());
    }
    let is_reference = key.ends_with("_env") || key.ends_with("_file");
    let is_of_plain_table = tables.contains(&"when") || tables.contains(&"idempotency");
    let is_plain = PLAIN.contains(key) || is_reference || is_quantity(text) || is_of_plain_table;
    is_plain.then_some(text.into())
}

/// Whether a text is a duration or a size: `15s`, `64KiB`, `forever`.
fn is_quantity(text: &str) -> bool {
    const UNITS: [&str; 9] = ["ms", "s", "m", "h", "d", "B", "KiB", "MiB", "GiB"];
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    text == "forever" || (unit.len() < text.len() && UNITS.contains(&unit))
}

#[cfg(test)]
mod tests;
