//! One attempt.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::level::Transport;
use super::ops::Shipment;
use super::outcome::{Class, Outcome};
use super::pool::{Done, Freight, Job};
use crate::clock::Clock;
use crate::model::Failure;
use crate::store::{Store, StoreError};

/// Makes it. Whatever happens, a panic included, it comes back.
pub(super) fn attempt(
    mut job: Job,
    store: &Store,
    transport: &dyn Transport,
    clock: &dyn Clock,
) -> Done {
    let started_at = clock.now();
    let start = clock.monotonic();
    let done = |job: Job, outcome: Option<Outcome>| Done {
        job,
        started_at,
        took: clock.monotonic().saturating_sub(start),
        outcome,
        has_begun: true,
        is_followed: false,
    };
    if matches!(job.freight, Freight::Stored) {
        job.freight = match store.read_blocking(|sql| Shipment::load(sql, job.intent)) {
            Ok(shipment) => Freight::Here(Arc::new(shipment)),
            // All readers are taken: nothing is wrong with the delivery, and it spends no attempt.
            Err(StoreError::Busy) => return done(job, None),
            Err(error) => {
                log::error!(destination = job.target.name.as_str(), error:% = error; "a delivery can't be loaded");
                Freight::Lost
            }
        };
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| match &job.freight {
        Freight::Here(shipment) => transport.attempt(shipment, &job, clock.wall()),
        // It may meet the next attempt too, which must not go on for ever.
        Freight::Stored | Freight::Lost => Outcome::failed(
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
    let done = done(job, None);
    log::debug!(
        event_id = done.job.event_id(), destination = done.job.target.name.as_str(), attempt = done.job.attempt,
        status_code = outcome.status_code,
        duration_ms = u64::try_from(done.took.as_millis()).unwrap_or(u64::MAX),
        outcome = outcome.class.name();
        "attempt"
    );
    Done {
        outcome: Some(outcome),
        ..done
    }
}
