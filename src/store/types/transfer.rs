//! Events as they are exported and imported: a JSON document each, on a line of its own.

use std::collections::HashSet;
use std::ops::Not;

use serde::{Deserialize, Serialize};

use super::bulk::BulkFilter;
use super::byte_text::ByteText;
use super::ids::IntentRow;
use super::payload::{GoneReason, PayloadDigest};
use crate::clock::Timestamp;
use crate::model::request::{stored_headers, without_underscores};
use crate::model::{DeliveryState, IntentId, is_name};

/// The version of the documents. One that can't be read by an older import counts up.
pub(crate) const EXPORT_VERSION: u32 = 1;

/// The first line of an export.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExportHeader {
    pub relay_export: u32,
    pub exported_at: Timestamp,
}

/// The greatest number of attempts, and of history entries, that is imported. Each attempt and each
/// replay adds to them, and engines hold them in 32 bits: the number after them has to fit as well.
const MAX_COUNT: u32 = 1_000_000;

/// Where an export goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExportCursor(pub(in crate::store) i64);

/// A relay or an event, whole.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventRecord {
    /// As its API shows it: that of an event begins with `evt_`.
    pub id: String,
    pub accepted_at: Timestamp,
    /// An event's source, a relay's event type.
    pub label: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyRecord>,
    pub headers: ByteText,
    pub payload: ByteText,
    /// Absent if none was made when it was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_gone: Option<GoneRecord>,
    #[serde(default, skip_serializing_if = "Not::not")]
    pub is_unrouted: bool,
    pub deliveries: Vec<DeliveryRecord>,
}

impl EventRecord {
    /// Whether a filter's states and destination select it, as they do among many.
    pub fn is_selected(&self, filter: &BulkFilter) -> bool {
        let name = filter.destination.as_ref();
        let is_meant = |one: &DeliveryRecord| {
            one.discarded_at.is_none()
                && filter.states.holds(one.status)
                && name.is_none_or(|name| *name == one.destination)
        };
        !filter.is_of_deliveries() || self.deliveries.iter().any(is_meant)
    }
}

/// An idempotency key, with the digest of the API key that it belongs to.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRecord {
    pub key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_digest: Option<ByteText>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GoneRecord {
    pub reason: GoneReason,
    pub at: Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeliveryRecord {
    pub destination: String,
    /// The digest of the API key that an ad hoc origin belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<i64>,
    pub status: DeliveryState,
    pub attempts: u32,
    /// Entries ever written to its history.
    pub entries: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
    pub updated_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_key: Option<i64>,
    /// Whether it stands in the line of its order.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub is_in_line: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discarded_at: Option<Timestamp>,
    pub history: Vec<AttemptEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AttemptEntry {
    pub entry: u32,
    pub attempt: u32,
    pub started_at: Timestamp,
    pub duration_ms: i64,
    pub outcome: AttemptOutcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<ByteText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolve_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The outcome of an entry, by its number in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(i64)]
pub(crate) enum AttemptOutcome {
    Delivered = 0,
    Transient = 1,
    Permanent = 2,
    Interrupted = 3,
    Replayed = 4,
}

impl AttemptOutcome {
    pub const ALL: [Self; 5] = [
        Self::Delivered,
        Self::Transient,
        Self::Permanent,
        Self::Interrupted,
        Self::Replayed,
    ];

    /// The name in the admin API and in commands, which is that of a record.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Transient => "transient",
            Self::Permanent => "permanent",
            Self::Interrupted => "interrupted",
            Self::Replayed => "replayed",
        }
    }
}

/// An event to import, after its line was checked.
#[derive(Debug)]
pub(crate) struct ImportedEvent {
    pub(in crate::store) id: IntentId,
    pub(in crate::store) is_event: bool,
    pub(in crate::store) record: EventRecord,
}

impl ImportedEvent {
    /// Checks a record. The error names the field and what is expected.
    pub fn check(record: EventRecord, now: Timestamp) -> Result<Self, String> {
        let id: IntentId = record.id.parse().map_err(|error| format!("id: {error}"))?;
        let is_event = record.id.starts_with("evt_");
        // The row of a later one could be given to a new event.
        if record.accepted_at > now || IntentId::millis_of(id.row()) > now.as_millis() {
            return Err(format!(
                "accepted_at: {}: expected a time before now, which is {now}",
                record.accepted_at
            ));
        }
        if record.url.is_none() != is_event {
            return Err("url: expected for a relay, and only for one".to_owned());
        }
        for (field, text) in [("url", &record.url), ("metadata", &record.metadata)] {
            refuse_nul(field, text.as_deref())?;
        }
        check_query(record.query.as_deref())?;
        // No payload that was deleted or damaged is sent, and its headers may be damaged, too.
        if let Err(why) = check_headers(&record)
            && record.payload_gone.is_none()
            && !is_damaged(&record, id)
        {
            return Err(why);
        }
        let digest = record
            .key
            .as_ref()
            .and_then(|key| key.request_digest.as_ref());
        if digest.is_some_and(|digest| digest.0.len() != 32) {
            return Err("key.request_digest: expected 32 bytes".to_owned());
        }
        let mut names = HashSet::new();
        for delivery in &record.deliveries {
            let name = &delivery.destination;
            if !names.insert(name) {
                return Err(format!("deliveries: {name:?} is there twice"));
            }
            delivery
                .check()
                .map_err(|why| format!("deliveries: {name:?}: {why}"))?;
        }
        Ok(Self {
            id,
            is_event,
            record,
        })
    }

    /// Its id, as its API shows it.
    pub fn public_id(&self) -> String {
        self.record.id.clone()
    }

    /// Rows that importing it writes, and bytes that it holds.
    pub fn size(&self) -> (usize, usize) {
        let deliveries = &self.record.deliveries;
        let entries: usize = deliveries.iter().map(|one| 2 + one.history.len()).sum();
        (
            3 + entries,
            self.record.payload.0.len() + self.record.headers.0.len(),
        )
    }
}

impl DeliveryRecord {
    fn check(&self) -> Result<(), String> {
        let is_origin = self.destination.contains("://") && !self.destination.contains('\0');
        if !is_origin && !is_name(&self.destination) {
            return Err("expected the name of a destination, or an origin".to_owned());
        }
        if self.status == DeliveryState::DeadLettered && self.last_error.is_none() {
            return Err("last_error: expected for a dead letter".to_owned());
        }
        let of_entries = self.history.iter();
        let of_entries = of_entries.map(|entry| ("history: attempt", entry.attempt));
        let counts = [("attempts", self.attempts), ("entries", self.entries)];
        for (field, count) in counts.into_iter().chain(of_entries) {
            if count > MAX_COUNT {
                return Err(format!("{field}: {count}: expected at most {MAX_COUNT}"));
            }
        }
        for entry in &self.history {
            refuse_nul("history: failure", entry.failure.as_deref())?;
            refuse_nul("history: address", entry.address.as_deref())?;
        }
        let entries = self.history.windows(2);
        let is_sorted = entries.into_iter().all(|two| two[0].entry < two[1].entry);
        let last = self.history.last().map_or(0, |last| last.entry);
        if !is_sorted || last > self.entries {
            return Err("history: expected entries in order, up to `entries`".to_owned());
        }
        Ok(())
    }
}

/// Whether the checksum that came along is that of other bytes.
fn is_damaged(record: &EventRecord, id: IntentId) -> bool {
    let digest = || PayloadDigest::of(&record.headers.0, &record.payload.0);
    let is_other = |checksum| checksum != digest().in_row(IntentRow::of(id)).0;
    record.checksum.is_some_and(is_other)
}

/// Refuses headers that no event is stored with: a destination trusts those of relay's own.
fn check_headers(record: &EventRecord) -> Result<(), String> {
    let headers = stored_headers(&record.headers.0)
        .ok_or("headers: expected `name: value` and CRLF for each header")?;
    let is_event = record.url.is_none();
    // A label that is no name was damaged.
    let is_of_source = |value: &[u8]| value == record.label.as_bytes() || !is_name(&record.label);
    for (name, value) in headers {
        let is_allowed = match name.as_str() {
            "relay-query" => is_event,
            "relay-verified" => is_event && is_of_source(value.as_bytes()),
            _ => !without_underscores(&name).starts_with("relay-"),
        };
        if !is_allowed {
            return Err(format!(
                "headers: {name}: expected none of relay's own but an event's relay-query, and \
                 relay-verified with its label"
            ));
        }
    }
    Ok(())
}

/// Refuses a query that no request has. One that is damaged may have any other character.
fn check_query(query: Option<&str>) -> Result<(), String> {
    let is_refused = |c: char| c.is_ascii_control() || c == ' ' || c == '#';
    match query {
        Some(query) if query.contains(is_refused) => {
            Err("query: expected neither blanks, control characters nor #".to_owned())
        }
        _ => Ok(()),
    }
}

/// Neither a URL nor a JSON document holds a NUL, and no engine has to.
fn refuse_nul(field: &str, text: Option<&str>) -> Result<(), String> {
    match text {
        Some(text) if text.contains('\0') => Err(format!("{field}: expected no NUL")),
        _ => Ok(()),
    }
}

/// Events by what an import has made of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ImportTally {
    pub imported: usize,
    /// There already.
    pub skipped: usize,
    /// Left out, since other events have their rows.
    pub taken: usize,
    /// The id of the first of those.
    pub first_taken: Option<String>,
    /// Deliveries that waited, and came in as dead letters.
    pub given_up: usize,
}

impl std::ops::AddAssign for ImportTally {
    fn add_assign(&mut self, other: Self) {
        self.imported += other.imported;
        self.skipped += other.skipped;
        self.taken += other.taken;
        self.first_taken = self.first_taken.take().or(other.first_taken);
        self.given_up += other.given_up;
    }
}

#[cfg(test)]
mod tests;
