//! One attempt.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::delivery::levels::Transport;
use crate::delivery::ops::{Shipment, has_failed_with};
use crate::delivery::outcome::{Class, Outcome};
use crate::delivery::pool::{Done, Freight, Job};
use crate::model::FailureKind;
use crate::store::{Reader, StoreError};

/// Loads what the job is to send, if need be, and makes the attempt. A panic costs the attempt, as a
/// failure does, and not the thread.
pub(super) fn attempt(
    job: Job,
    reader: &Reader,
    transport: &dyn Transport,
    clock: &dyn Clock,
) -> Done {
    let kept = job.clone();
    let made = catch_unwind(AssertUnwindSafe(|| {
        load_and_attempt(job, reader, transport, clock)
    }));
    made.unwrap_or_else(|_| {
        // The panic itself is in the log already.
        Done {
            job: kept,
            started_at: clock.now(),
            took: Duration::ZERO,
            outcome: Some(Outcome::failed(
                Class::Transient,
                FailureKind::Internal,
                "relay itself failed during the attempt",
            )),
            has_begun: true,
            is_followed: false,
        }
    })
}

fn load_and_attempt(
    mut job: Job,
    reader: &Reader,
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
        job.freight = match reader.read(|sql| Shipment::load(sql, job.intent)) {
            Ok(shipment) => Freight::Here(Arc::new(shipment)),
            // Somebody holds the database: nothing is wrong with the delivery, and it spends no attempt.
            Err(StoreError::Busy) => return done(job, None),
            Err(error) => Freight::Lost(error.to_string().into()),
        };
    }
    let outcome = match &job.freight {
        Freight::Here(shipment) => transport.attempt(shipment, &job, clock.wall()),
        // It may meet the next attempt too, which must not go on for ever.
        Freight::Lost(why) => lost(why),
        Freight::Stored => lost("it was not loaded"),
    };
    // This machine is short of something: the delivery is not at fault here, either.
    if !outcome.is_made {
        return done(job, None);
    }
    let outcome = not_again(outcome, &job, reader);
    let done = done(job, Some(outcome));
    if let Some(outcome) = &done.outcome {
        log::debug!(
            event_id = done.job.event_id(), destination = done.job.target.name.as_str(), attempt = done.job.attempt,
            status_code = outcome.status_code,
            duration_ms = u64::try_from(done.took.as_millis()).unwrap_or(u64::MAX),
            outcome = outcome.class.name();
            "attempt"
        );
    }
    done
}

/// An attempt at a delivery that can't be loaded. What the database says is for the log alone.
fn lost(why: &str) -> Outcome {
    Outcome {
        cause: Some(format!("a delivery can't be loaded: {why}")),
        ..Outcome::failed(
            Class::Transient,
            FailureKind::Internal,
            "relay can't load it; its log says why",
        )
    }
}

/// Headers that are too large may come of a cookie or a debugging gateway that is gone the next time.
/// They may also come each time, with an answer that says that it arrived: so it is tried twice.
fn not_again(outcome: Outcome, job: &Job, reader: &Reader) -> Outcome {
    let Some(failure @ FailureKind::ResponseHeadersTooLarge) = outcome.failure else {
        return outcome;
    };
    let (intent, destination) = (job.intent, job.target.id);
    let is_again = reader.read(|sql| has_failed_with(sql, intent, destination, failure));
    // If the history can't be read now, the next attempt finds out.
    match is_again {
        Ok(true) => Outcome {
            class: Class::Permanent,
            ..outcome
        },
        _ => outcome,
    }
}
