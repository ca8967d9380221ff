//! One attempt.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::level::Transport;
use super::ops::Shipment;
use super::outcome::{Class, Outcome};
use super::pool::{Done, Job};
use crate::clock::Clock;
use crate::model::Failure;
use crate::store::{Store, StoreError};

/// Loads what is to be sent, and sends it. Whatever happens, a panic included, it comes back.
pub(super) fn attempt(
    job: Job,
    store: &Store,
    transport: &dyn Transport,
    clock: &dyn Clock,
) -> Done {
    let started_at = clock.now();
    let start = clock.monotonic();
    let done = |outcome: Option<Outcome>, event_id: String, accepted_at, job: Job| Done {
        event_id,
        accepted_at,
        started_at,
        took: clock.monotonic().saturating_sub(start),
        outcome,
        job,
    };
    let shipment = match store.read_blocking(|sql| Shipment::load(sql, job.intent)) {
        Ok(shipment) => shipment,
        // All readers are taken: nothing is wrong with the delivery, and it spends no attempt.
        Err(StoreError::Busy) => return done(None, String::new(), started_at, job),
        // Anything else would meet the next attempt too, which must not go on for ever.
        Err(error) => {
            log::error!(destination = job.target.name.as_str(), error:% = error; "a delivery can't be loaded");
            let outcome = Outcome::failed(
                Class::Transient,
                Failure::Internal,
                "relay can't load it; its log says why",
            );
            return done(Some(outcome), String::new(), started_at, job);
        }
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        transport.attempt(&shipment, &job, clock.wall())
    }))
    .unwrap_or_else(|_| {
        log::error!(event_id = shipment.public_id().as_str(), destination = job.target.name.as_str(); "an attempt panicked");
        Outcome::failed(
            Class::Transient,
            Failure::Internal,
            "relay itself failed during the attempt",
        )
    });
    let took = clock.monotonic().saturating_sub(start);
    let event_id = shipment.public_id();
    log::debug!(
        event_id = event_id.as_str(), destination = job.target.name.as_str(), attempt = job.attempt,
        status_code = outcome.status_code,
        duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        outcome = outcome.class.name();
        "attempt"
    );
    done(Some(outcome), event_id, shipment.created_at, job)
}
