//! Intents as they are shown, with their deliveries and histories.

use super::payload::GonePayload;
use super::transfer::AttemptOutcome;
use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId, Surface};

/// An intent as it is shown, with its deliveries.
pub(crate) struct StoredIntent {
    pub id: IntentId,
    pub surface: Surface,
    /// An event's source, a relay's event type.
    pub label: String,
    /// A relay's URL.
    pub url: Option<String>,
    pub created_at: Timestamp,
    pub payload: Vec<u8>,
    /// The headers that go downstream, `name: value\r\n` each.
    #[allow(dead_code, reason = "a build without the console shows none")]
    pub headers: Vec<u8>,
    /// An event's query string, to be appended to the destination's URL.
    #[allow(dead_code, reason = "a build without the console shows none")]
    pub query: Option<String>,
    /// An event's type, if it has one.
    pub event_type: Option<String>,
    /// Whether no route wanted it, so that it has no delivery.
    pub is_unrouted: bool,
    /// Why the payload is gone, if it was erased or shed.
    pub gone: Option<GonePayload>,
    /// In a fixed order.
    pub deliveries: Vec<StoredDelivery>,
}

impl StoredIntent {
    /// Whether the payload was deleted: erased, shed, or since all deliveries were discarded.
    pub fn is_payload_gone(&self) -> bool {
        let mut deliveries = self.deliveries.iter();
        self.gone.is_some()
            || (!self.deliveries.is_empty() && deliveries.all(|one| one.discarded_at.is_some()))
    }

    /// Bytes of its payload and of the answers in its deliveries' histories.
    pub fn size(&self) -> usize {
        let entries = self.deliveries.iter().flat_map(|one| &one.history);
        let answers = entries.filter_map(|entry| entry.response.as_ref());
        self.payload.len() + answers.map(Vec::len).sum::<usize>()
    }
}

/// A delivery of an intent.
pub(crate) struct StoredDelivery {
    pub destination: String,
    pub state: DeliveryState,
    pub attempts: u32,
    /// None as well while it waits behind another one.
    pub next_attempt_at: Option<Timestamp>,
    pub in_line: InLine,
    pub updated_at: Timestamp,
    pub last_error: Option<String>,
    /// Why the destination is paused, if it is.
    pub paused: Option<String>,
    /// Until when the destination asked to be left alone.
    pub held_until: Option<Timestamp>,
    /// When the destination's circuit breaker, which is open, lets a probe go.
    pub probe_at: Option<Timestamp>,
    /// When an operator gave it up for good.
    pub discarded_at: Option<Timestamp>,
    /// Oldest first.
    pub history: Vec<StoredAttempt>,
}

/// Where a delivery stands in the line of its ordering key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InLine {
    /// No other one keeps it back: it has no order, or it is the one that may go.
    Free,
    /// It waits behind this one; none if that one isn't to be told.
    Behind(Option<(IntentId, Surface)>),
    /// A dead letter: those behind it wait until it is replayed or discarded.
    Blocks,
}

/// An entry of a delivery's history.
pub(crate) struct StoredAttempt {
    pub attempt: u32,
    pub started_at: Timestamp,
    pub duration_ms: i64,
    pub outcome: &'static str,
    pub status_code: Option<u16>,
    pub error: Option<String>,
    pub response: Option<Vec<u8>>,
    /// The kind of failure.
    pub failure: Option<String>,
    /// The address that the name resolved to.
    pub address: Option<String>,
    pub resolve_ms: Option<i64>,
    /// TLS included.
    pub connect_ms: Option<i64>,
    /// Of the time of connecting.
    pub tls_ms: Option<i64>,
    pub first_byte_ms: Option<i64>,
    /// The next step and its reason, in words.
    pub next: Option<String>,
}

impl StoredAttempt {
    /// The name of an outcome, by its number in the store.
    pub(in crate::store) fn outcome_of(number: u8) -> &'static str {
        let mut all = AttemptOutcome::ALL.into_iter();
        let found = all.find(|one| *one as i64 == i64::from(number));
        found.map_or("unknown", AttemptOutcome::name)
    }
}
