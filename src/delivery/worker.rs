//! One attempt.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::level::Transport;
use super::outcome::{Class, Outcome};
use super::pool::{Done, Job};
use crate::clock::Clock;
use crate::model::Failure;

/// Makes it. Whatever happens, a panic included, it comes back.
pub(super) fn attempt(job: Job, transport: &dyn Transport, clock: &dyn Clock) -> Done {
    let started_at = clock.now();
    let start = clock.monotonic();
    let outcome = catch_unwind(AssertUnwindSafe(|| match &job.shipment {
        Some(shipment) => transport.attempt(shipment, &job, clock.wall()),
        // It may meet the next attempt too, which must not go on for ever.
        None => Outcome::failed(
            Class::Transient,
            Failure::Internal,
            "relay can't load it; its log says why",
        ),
    }))
    .unwrap_or_else(|_| {
        log::error!(event_id = job.event_id(), destination = job.target.name.as_str(); "an attempt panicked");
        Outcome::failed(
            Class::Transient,
            Failure::Internal,
            "relay itself failed during the attempt",
        )
    });
    let took = clock.monotonic().saturating_sub(start);
    log::debug!(
        event_id = job.event_id(), destination = job.target.name.as_str(), attempt = job.attempt,
        status_code = outcome.status_code,
        duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        outcome = outcome.class.name();
        "attempt"
    );
    Done {
        job,
        started_at,
        took,
        outcome: Some(outcome),
        is_followed: false,
    }
}
