//! A worker's part of an attempt: loads the body, sends it, and reports the completion.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::delivery::attempt::{Attempt, Body, Completion};
use crate::delivery::outcome::{Class, Outcome};
use crate::delivery::transport::Transport;
use crate::model::FailureKind;
use crate::store::{PayloadProblem, Reader};

/// Makes an attempt. A panic costs the attempt, as a failure does, and not the thread.
pub(super) fn run(
    attempt: Attempt,
    reader: &Reader,
    transport: &dyn Transport,
    clock: &dyn Clock,
) -> Completion {
    let kept = attempt.clone();
    let made = catch_unwind(AssertUnwindSafe(|| {
        load_and_send(attempt, reader, transport, clock)
    }));
    made.unwrap_or_else(|_| {
        // The panic itself is in the log already.
        Completion {
            attempt: kept,
            started_at: clock.now(),
            took: Duration::ZERO,
            outcome: Some(Outcome::failed(
                Class::Transient,
                FailureKind::Internal,
                "relay itself failed during the attempt",
            )),
            followed_by: None,
        }
    })
}

fn load_and_send(
    mut attempt: Attempt,
    reader: &Reader,
    transport: &dyn Transport,
    clock: &dyn Clock,
) -> Completion {
    if matches!(attempt.body, Body::Stored) {
        attempt.body = match reader.message(attempt.intent) {
            Ok(message) => Body::Loaded(Arc::new(message)),
            // Another process holds the database, or it is away: the delivery is not at fault, and
            // spends no attempt.
            Err(error) if error.is_passing() => return Completion::not_begun(attempt),
            Err(error) => Body::Unreadable(error.to_string().into()),
        };
    }
    // Another node may begin it: this one gives it back.
    if !reader.may_begin_attempt(attempt.claim()) {
        return Completion::not_begun(attempt);
    }
    // After all waits for the database: a destination is judged by this time.
    let (started_at, start) = (clock.now(), clock.monotonic());
    let outcome = match &attempt.body {
        Body::Loaded(message) => match message.problem() {
            None => transport.send(message, &attempt, clock.wall()),
            Some(problem) => not_sent(problem),
        },
        // The next attempt may fail alike, and there must be an end to them.
        Body::Unreadable(why) => unreadable(why),
        Body::Stored => unreadable("it was not loaded"),
    };
    // This machine is short of a resource: the delivery is not at fault here, either.
    if !outcome.is_made {
        return Completion::not_begun(attempt);
    }
    let took = clock.monotonic().saturating_sub(start);
    let outcome = give_up_if_repeated(outcome, &attempt, reader);
    let completion = Completion {
        attempt,
        started_at,
        took,
        outcome: Some(outcome),
        followed_by: None,
    };
    log_attempt(&completion);
    completion
}

fn log_attempt(completion: &Completion) {
    if let Some(outcome) = &completion.outcome {
        let attempt = &completion.attempt;
        log::debug!(
            event_id = attempt.event_id(), destination = attempt.target.name.as_str(),
            attempt = attempt.number, status_code = outcome.status_code,
            duration_ms = u64::try_from(completion.took.as_millis()).unwrap_or(u64::MAX),
            outcome = outcome.class.name();
            "attempt"
        );
    }
}

/// The outcome of a delivery that can't be loaded. The database's own words are for the log alone.
fn unreadable(why: &str) -> Outcome {
    Outcome {
        cause: Some(format!("a delivery can't be loaded: {why}")),
        ..Outcome::failed(
            Class::Transient,
            FailureKind::Internal,
            "relay can't load it; its log says why",
        )
    }
}

/// The outcome of a delivery whose payload must not be sent. No later attempt can send it, either.
fn not_sent(problem: PayloadProblem) -> Outcome {
    let (failure, error) = match problem {
        PayloadProblem::Damaged => (
            FailureKind::PayloadDamaged,
            "payload_damaged: its bytes in the database are not those that were accepted",
        ),
        PayloadProblem::Gone(_) => (
            FailureKind::PayloadErased,
            "payload_erased: its payload was deleted",
        ),
    };
    Outcome::failed(Class::Permanent, failure, error)
}

/// Makes the second answer with too large headers permanent. A cookie or a debugging gateway may
/// have caused the first, and be gone the next time. But they may also come each time, with an
/// answer that acknowledges the delivery: so it is tried twice.
fn give_up_if_repeated(outcome: Outcome, attempt: &Attempt, reader: &Reader) -> Outcome {
    let Some(failure @ FailureKind::ResponseHeadersTooLarge) = outcome.failure else {
        return outcome;
    };
    let is_repeated = reader.has_failed_with(attempt.intent, attempt.target.id, failure);
    // If the history can't be read now, the next attempt finds out.
    match is_repeated {
        Ok(true) => Outcome {
            class: Class::Permanent,
            ..outcome
        },
        _ => outcome,
    }
}
