//! The log of failing destinations: the beginning of an outage, a summary now and then, and its
//! end; a digest of failures that are part of no outage; and a digest of dead letters. Each single
//! failure is at level debug.
//!
//! The circuit breaker decides what an outage is. Where there is no breaker, ten failures in a row
//! begin it, and ten successes in a row, or one after a minute without a failure, end it. The two
//! ends are that far apart so that a destination that fails now and then has no outages.
//!
//! - [`Outages`]: the log of all destinations. `destination`: the log of one.
//! - `counts`: what is counted between two lines. `line`: the lines. `adhoc`: a bound for ad hoc
//!   origins.
//!
//! Pure but for [`Line::log`]: times come from outside.

mod adhoc;
mod counts;
mod destination;
mod line;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::clock::Timestamp;
use crate::delivery::attempt::Attempt;
use crate::delivery::outcome::Outcome;
use crate::delivery::target::Target;
use crate::model::{BreakerChange, Transition};
use crate::store::DestinationId;
use adhoc::AdhocLimit;
pub(super) use destination::OutageLog;
use destination::PAUSE_EVERY;
use line::Line;

/// The log of all destinations.
#[derive(Debug, Default)]
pub(super) struct Outages {
    /// Destinations with a line due at this time, whether or not they are attempted again.
    due: BTreeSet<(Timestamp, DestinationId)>,
    adhoc: AdhocLimit,
}

impl Outages {
    /// Takes note of an attempt, and writes the lines that are due.
    pub fn note(
        &mut self,
        log: &mut OutageLog,
        attempt: &Attempt,
        outcome: &Outcome,
        step: Transition,
        breaker: Option<BreakerChange>,
        now: Timestamp,
    ) {
        let lines = log.note(attempt, outcome, step, breaker, now);
        self.write(log, &attempt.target, lines, now);
    }

    /// Logs that a destination was paused because of its answer.
    pub fn paused(&mut self, log: &mut OutageLog, target: &Target, reason: &str, now: Timestamp) {
        let is_too_soon = |at| now.since(at) < PAUSE_EVERY;
        if !log.paused_logged_at.is_some_and(is_too_soon) {
            log.paused_logged_at = Some(now);
            let reason = reason.to_owned();
            self.write(log, target, vec![Line::Paused { reason }], now);
        }
    }

    /// A destination with a line due by now, for [`Self::log_due`]. Each is returned once.
    pub fn next_due(&mut self, now: Timestamp) -> Option<DestinationId> {
        if let Some(line) = self.adhoc.due(now) {
            line.log(None);
        }
        let (at, destination) = self.due.first().copied()?;
        if at > now {
            return None;
        }
        self.due.pop_first();
        Some(destination)
    }

    /// Writes a destination's lines that are due by now.
    pub fn log_due(&mut self, log: &mut OutageLog, target: &Target, now: Timestamp) {
        let lines = log.due_lines(now);
        self.write(log, target, lines, now);
    }

    fn write(&mut self, log: &mut OutageLog, target: &Target, lines: Vec<Line>, now: Timestamp) {
        for line in self.admitted(log, target, lines, now) {
            let destination = (!line.is_of_many()).then_some(target.name.as_str());
            line.log(destination);
        }
    }

    /// The lines that may be written, after a summary of those withheld before.
    fn admitted(
        &mut self,
        log: &mut OutageLog,
        target: &Target,
        lines: Vec<Line>,
        now: Timestamp,
    ) -> Vec<Line> {
        let next = log.next_due();
        if log.due_at != next {
            if let Some(at) = log.due_at {
                self.due.remove(&(at, target.id));
            }
            self.due.extend(next.map(|at| (at, target.id)));
            log.due_at = next;
        }
        if target.policy.is_configured() || lines.is_empty() {
            return lines;
        }
        let mut admitted: Vec<Line> = self.adhoc.due(now).into_iter().collect();
        let lines = lines.into_iter();
        admitted.extend(lines.filter(|line| self.adhoc.admits(line, now)));
        admitted
    }
}
