//! Intents as commands and the admin API show them, as JSON.

use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::config::Resolved;
use crate::model::{DestinationCounts, LatencyHistogram, SourceCounts};
use crate::ops::status_text::{UNROUTED, describe, next_retry_at};
use crate::store::{ListedDelivery, Rollup, StoredAttempt, StoredIntent};

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

/// An intent with its deliveries and their histories; without its payload.
pub(crate) fn intent(row: &StoredIntent, config: &Resolved, now: Timestamp) -> Value {
    let deliveries: Vec<_> = row
        .deliveries
        .iter()
        .map(|delivery| {
            json!({
                "destination": delivery.destination,
                "status": delivery.state.name(),
                "attempts": delivery.attempts,
                "max_attempts": config.destination(&delivery.destination).retry.max_attempts(),
                "next_retry_at": next_retry_at(delivery),
                "last_error": delivery.last_error,
                "waits_for": describe(delivery, config, now),
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
        "first_byte_ms": entry.first_byte_ms,
        "next": entry.next,
    })
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
