//! Intents as commands and the admin API show them, as JSON.

use std::time::Duration;

use serde_json::{Value, json};

use crate::config::Resolved;
use crate::model::{
    DestinationCounts, FailureKind, LatencyHistogram, PingReport, SourceCounts, Surface,
};
use crate::ops::status_text::{
    RelayState, UNROUTED, describe_with_payload, max_attempts, next_retry_at,
};
use crate::store::{
    ListedDelivery, NodeState, Rollup, StoredAttempt, StoredIntent, TailEntry, TailEvent,
    UnroutedEvent,
};

/// A delivery in a list.
pub(crate) fn listed_delivery(row: &ListedDelivery, config: &Resolved) -> Value {
    json!({
        "id": row.surface.public_id(row.id),
        "surface": row.surface.name(),
        "label": row.label,
        "destination": row.destination,
        "status": row.state.name(),
        "attempts": row.attempts,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "next_attempt_at": row.next_attempt_at,
        "last_error": row.last_error,
        "discarded_at": row.discarded_at,
        "is_configured": config.is_deliverable(&row.destination),
    })
}

/// A node. Its lease is null for the server of a file.
pub(crate) fn node(one: &NodeState) -> Value {
    let left = one.lease_left;
    json!({
        "slot": one.slot,
        "name": one.name,
        "version": one.version,
        "seen_at": one.seen_at,
        "lease_ms": left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        "buckets": one.buckets,
        "state": one.word(),
    })
}

/// An event that no route wanted, in a list of deliveries. The members that only a delivery has are
/// null.
pub(crate) fn unrouted_event(event: &UnroutedEvent) -> Value {
    json!({
        "id": Surface::Event.public_id(event.id),
        "surface": Surface::Event.name(),
        "label": event.source,
        "event_type": event.event_type,
        "destination": null,
        "status": "unrouted",
        "attempts": 0,
        "created_at": event.created_at,
        "updated_at": event.created_at,
        "next_attempt_at": null,
        "last_error": null,
        "discarded_at": null,
        "is_configured": false,
    })
}

/// An intent with its deliveries and their histories; without its payload.
pub(crate) fn intent(row: &StoredIntent, relay: RelayState<'_>) -> Value {
    let config = relay.config;
    let deliveries: Vec<_> = row
        .deliveries
        .iter()
        .map(|delivery| {
            json!({
                "destination": delivery.destination,
                "status": delivery.state.name(),
                "attempts": delivery.attempts,
                "max_attempts": max_attempts(delivery, config),
                "next_retry_at": next_retry_at(delivery),
                "last_error": delivery.last_error,
                "waits_for": describe_with_payload(delivery, row.gone, relay),
                "history": delivery.history.iter().map(attempt).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "id": row.surface.public_id(row.id),
        "surface": row.surface.name(),
        "label": row.label,
        "url": row.url,
        "created_at": row.created_at,
        "bytes": row.payload.len(),
        "event_type": row.event_type,
        "unrouted": row.is_unrouted,
        "payload_gone": row.gone.map(|gone| gone.reason.name()),
        "payload_gone_at": row.gone.map(|gone| gone.at),
        "status_description": row.is_unrouted.then_some(UNROUTED),
        "deliveries": deliveries,
    })
}

fn attempt(entry: &StoredAttempt) -> Value {
    json!({
        "attempt": entry.attempt,
        "started_at": entry.started_at,
        "duration_ms": entry.duration_ms,
        "outcome": entry.outcome,
        "status_code": entry.status_code,
        "failure": entry.failure,
        "error": entry.error,
        "response": entry.response.as_deref().map(String::from_utf8_lossy),
        "address": entry.address,
        "resolve_ms": entry.resolve_ms,
        "connect_ms": entry.connect_ms,
        "tls_ms": entry.tls_ms,
        "first_byte_ms": entry.first_byte_ms,
        "next": entry.next,
    })
}

/// The result of a test of a destination.
pub(crate) fn ping(destination: &str, report: &PingReport) -> Value {
    let millis = |took: Duration| u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    json!({
        "id": report.id,
        "destination": destination,
        "is_delivered": report.is_delivered,
        "status_code": report.status_code,
        "failure": report.failure.map(FailureKind::name),
        "error": report.error,
        "response": report.response.as_deref().map(String::from_utf8_lossy),
        "address": report.address,
        "resolve_ms": report.resolve.map(millis),
        "connect_ms": report.connect.map(millis),
        "first_byte_ms": report.first_byte.map(millis),
        "duration_ms": millis(report.took),
    })
}

/// An entry of a tail, and its name.
pub(crate) fn tail_entry(entry: &TailEntry) -> (&'static str, Value) {
    let mut view = json!({
        "at": entry.at,
        "id": entry.surface.public_id(entry.id),
        "surface": entry.surface.name(),
        "label": entry.label,
        "event_type": entry.event_type,
    });
    let name = match &entry.what {
        TailEvent::Accepted {
            bytes,
            destinations,
        } => {
            view["bytes"] = (*bytes).into();
            view["destinations"] = json!(destinations);
            "accepted"
        }
        TailEvent::Attempt {
            destination,
            state,
            entry,
        } => {
            view["destination"] = destination.as_str().into();
            view["status"] = state.name().into();
            view["attempt"] = entry.attempt.into();
            view["outcome"] = entry.outcome.into();
            view["status_code"] = entry.status_code.into();
            view["duration_ms"] = entry.duration_ms.into();
            view["failure"] = entry.failure.as_deref().into();
            view["error"] = entry.error.as_deref().into();
            view["next"] = entry.next.as_deref().into();
            "attempt"
        }
    };
    view["event"] = name.into();
    (name, view)
}

/// A notice that at least so many entries of a tail are missing, and its name.
pub(crate) fn tail_gap(missed: u64) -> (&'static str, Value) {
    ("gap", json!({ "event": "gap", "missed": missed }))
}

/// The shares of deliveries whose latency is shown, and their names.
pub(crate) const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)];

/// The counts of a source in a time.
pub(crate) fn source_counts(row: &Rollup<SourceCounts>) -> Value {
    json!({
        "source": row.name,
        "accepted": row.counts.accepted,
        "duplicates": row.counts.duplicates,
        "refused": row.counts.refused,
    })
}

/// The counts of a destination in a time.
pub(crate) fn destination_counts(row: &Rollup<DestinationCounts>) -> Value {
    json!({
        "destination": row.name,
        "delivered": row.counts.delivered,
        "failed": row.counts.failed,
        "dead": row.counts.dead,
        "latency_seconds": quantiles(&row.counts.latency),
    })
}

/// The quantiles of latencies by name, in seconds; null without a delivery.
fn quantiles(latency: &LatencyHistogram) -> Value {
    let quantiles = QUANTILES.map(|(name, share)| {
        let seconds = latency.quantile(share).map(|found| found.as_secs_f64());
        (name.to_owned(), json!(seconds))
    });
    Value::Object(quantiles.into_iter().collect())
}
