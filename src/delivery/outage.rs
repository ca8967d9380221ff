//! An outage is logged when it begins, now and then, and when it ends: not once a failure.

use std::time::Duration;

use super::outcome::{Class, Outcome};
use super::pool::Done;
use crate::clock::Timestamp;
use crate::model::{BreakerChange, Step};

/// How often an outage that goes on is summed up.
const SUMMARY_EVERY: Duration = Duration::from_secs(300);

/// A destination that is failing.
#[derive(Debug)]
pub(super) struct Outage {
    since: Timestamp,
    summed_up_at: Timestamp,
    failures: u64,
    dead_letters: u64,
}

/// Takes note of an attempt, and says what is worth saying.
pub(super) fn note(
    outage: &mut Option<Outage>,
    destination: &str,
    done: &Done,
    outcome: &Outcome,
    step: Step,
    now: Timestamp,
) {
    let Some(under_way) = outage else {
        if outcome.class != Class::Delivered {
            log::warn!(
                event_id = done.job.event_id(), destination, attempt = done.job.attempt,
                status_code = outcome.status_code, outcome = outcome.class.name();
                "the destination began to fail: {}", outcome.error.as_deref().unwrap_or("no reason")
            );
            *outage = Some(Outage {
                since: now,
                summed_up_at: now,
                failures: 1,
                dead_letters: u64::from(step == Step::DeadLetter),
            });
        }
        return;
    };
    if outcome.class == Class::Delivered {
        log::info!(
            destination, failures = under_way.failures, dead_letters = under_way.dead_letters,
            seconds = now.since(under_way.since).as_secs();
            "the destination is well again"
        );
        *outage = None;
        return;
    }
    under_way.failures += 1;
    under_way.dead_letters += u64::from(step == Step::DeadLetter);
    if now.since(under_way.summed_up_at) >= SUMMARY_EVERY {
        under_way.summed_up_at = now;
        log::warn!(
            destination, failures = under_way.failures, dead_letters = under_way.dead_letters,
            seconds = now.since(under_way.since).as_secs();
            "the destination goes on failing: {}", outcome.error.as_deref().unwrap_or("no reason")
        );
    }
}

/// Says when a breaker opens and closes; not each time that a probe fails.
pub(super) fn note_breaker(destination: &str, change: Option<BreakerChange>, is_broken: &mut bool) {
    match change {
        Some(BreakerChange::Open(wait)) if !*is_broken => {
            *is_broken = true;
            log::warn!(destination, probe_in_seconds = wait.as_secs(); "the circuit breaker opened: deliveries wait, and one at a time tries whether it is well again");
        }
        Some(BreakerChange::Open(wait)) => {
            log::debug!(destination, probe_in_seconds = wait.as_secs(); "a probe failed");
        }
        Some(BreakerChange::Closed) => {
            *is_broken = false;
            log::info!(destination; "the circuit breaker closed: deliveries go again, gently at first");
        }
        None => {}
    }
}
