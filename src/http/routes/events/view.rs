//! An event as the route shows it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::config::Resolved;
use crate::model::request::document;
use crate::model::{DeliveryState, IntentId};
use crate::ops::status_text::{
    RelayState, UNROUTED, describe_with_payload, max_attempts, next_retry_at, payload_gone,
};
use crate::store::{StoredAttempt, StoredDelivery, StoredIntent};

/// An event's id as clients see it.
pub(in crate::http::routes) fn event_id(id: IntentId) -> String {
    format!("evt_{id}")
}

#[derive(Serialize)]
pub(super) struct EventView<'a> {
    id: String,
    source: &'a str,
    status: &'static str,
    attempts: u32,
    max_attempts: u32,
    last_error: Option<&'a str>,
    next_retry_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
    payload: PayloadView<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_encoding: Option<&'static str>,
    status_description: String,
    deliveries: Vec<DeliveryView<'a>>,
}

/// A body: as JSON if it is JSON, as a string if it is text, and in base64 otherwise.
#[derive(Serialize)]
#[serde(untagged)]
enum PayloadView<'a> {
    /// The body was deleted.
    Gone(()),
    Json(&'a RawValue),
    Text(&'a str),
    Base64(String),
}

impl<'a> PayloadView<'a> {
    /// The second value is the encoding, if there is one.
    fn new(bytes: &'a [u8]) -> (Self, Option<&'static str>) {
        if let Ok(document) = document(bytes) {
            return (Self::Json(document), None);
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => (Self::Text(text), None),
            Err(_) => (Self::Base64(STANDARD.encode(bytes)), Some("base64")),
        }
    }
}

#[derive(Serialize)]
struct DeliveryView<'a> {
    destination: &'a str,
    status: &'static str,
    attempts: u32,
    max_attempts: u32,
    last_error: Option<&'a str>,
    next_retry_at: Option<Timestamp>,
    delivered_at: Option<Timestamp>,
    history: Vec<AttemptView<'a>>,
}

#[derive(Serialize)]
struct AttemptView<'a> {
    #[serde(rename = "attempt")]
    number: u32,
    started_at: Timestamp,
    duration_ms: i64,
    outcome: &'static str,
    status_code: Option<u16>,
    error: Option<&'a str>,
    response: Option<String>,
}

impl<'a> EventView<'a> {
    pub fn new(row: &'a StoredIntent, relay: RelayState<'_>) -> Self {
        let config = relay.config;
        let deliveries: Vec<_> = row
            .deliveries
            .iter()
            .map(|delivery| DeliveryView::new(delivery, config))
            .collect();
        // The least finished delivery gives the status of the event.
        let summary = row
            .deliveries
            .iter()
            .min_by_key(|delivery| delivery.state.summary_rank());
        // An event that no route wants is finished.
        let none = if row.is_unrouted {
            (DeliveryState::Delivered, UNROUTED)
        } else {
            (DeliveryState::Queued, "It has no destination.")
        };
        let (payload, payload_encoding) = if row.is_payload_gone() {
            (PayloadView::Gone(()), None)
        } else {
            PayloadView::new(&row.payload)
        };
        Self {
            id: event_id(row.id),
            source: &row.label,
            status: summary.map_or(none.0, |delivery| delivery.state).name(),
            attempts: deliveries.iter().map(|d| d.attempts).max().unwrap_or(0),
            max_attempts: deliveries.iter().map(|d| d.max_attempts).max().unwrap_or(1),
            last_error: row
                .deliveries
                .iter()
                .filter(|delivery| delivery.last_error.is_some())
                .min_by_key(|delivery| delivery.state.summary_rank())
                .and_then(|delivery| delivery.last_error.as_deref()),
            next_retry_at: deliveries.iter().filter_map(|d| d.next_retry_at).min(),
            created_at: row.created_at,
            updated_at: row
                .deliveries
                .iter()
                .map(|delivery| delivery.updated_at)
                .max()
                .unwrap_or(row.created_at),
            payload,
            payload_encoding,
            status_description: summary.map_or_else(
                || match row.gone {
                    Some(gone) => format!("{} {}", none.1, payload_gone(gone)),
                    None => none.1.to_owned(),
                },
                |delivery| describe_with_payload(delivery, row.gone, relay),
            ),
            deliveries,
        }
    }
}

impl<'a> DeliveryView<'a> {
    fn new(row: &'a StoredDelivery, config: &Resolved) -> Self {
        Self {
            destination: &row.destination,
            status: row.state.name(),
            attempts: row.attempts,
            max_attempts: max_attempts(row, config),
            last_error: row.last_error.as_deref(),
            next_retry_at: next_retry_at(row),
            delivered_at: (row.state == DeliveryState::Delivered).then_some(row.updated_at),
            history: row.history.iter().map(AttemptView::new).collect(),
        }
    }
}

impl<'a> AttemptView<'a> {
    fn new(row: &'a StoredAttempt) -> Self {
        Self {
            number: row.attempt,
            started_at: row.started_at,
            duration_ms: row.duration_ms,
            outcome: row.outcome,
            status_code: row.status_code,
            error: row.error.as_deref(),
            response: row
                .response
                .as_deref()
                .map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
        }
    }
}
