//! What the log says of destinations that fail: when an outage begins, now and then, and when it
//! ends; a digest of failures that are no outage; and a digest of dead letters. Not a line for each
//! failure: those are at level debug.
//!
//! An outage is what the circuit breaker takes for one. Where there is no breaker, ten failures in
//! a row begin it, and ten successes in a row, or one after a minute without a failure, end it.
//! Both ends are that far apart so that a destination which fails now and then has no outages.
//!
//! Pure but for [`Line::log`]: times come from outside.

mod adhoc;
mod counts;
mod line;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use adhoc::AdhocLimit;
use counts::{DIGEST_EVERY, Digest, Row};
use line::Line;

use crate::clock::Timestamp;
use crate::config::DestinationPolicy;
use crate::delivery::outcome::{Class, Outcome};
use crate::delivery::pool::Job;
use crate::delivery::target::Target;
use crate::model::{BreakerChange, FailureKind, Health, Transition};

/// Failures in a row that begin an outage where there is no breaker: as many as open one by
/// default. At 5 % failures that is one in 10^13 attempts, three years at 100 000 a second.
const FAILURES_IN_A_ROW: u32 = 10;
/// Successes in a row that end it: the same, so that a destination that fails half of its attempts
/// is either failing or not for a thousand attempts.
const SUCCESSES_IN_A_ROW: u32 = 10;
/// Without a failure for so long, one success ends it: a destination with an event an hour must not
/// count as failing for ten hours after it is well.
const WITHOUT_FAILURE: Duration = Duration::from_secs(60);
/// The shortest time between the end of an outage and the beginning of the next as the log has
/// them. Outages that begin and end in between are counted. So flapping takes two lines a minute.
const BETWEEN_OUTAGES: Duration = Duration::from_secs(60);
/// The shortest time between two lines that say that a destination was paused: attempts that were
/// under way together answer the same.
const PAUSE_EVERY: Duration = Duration::from_secs(60);

/// What the log has said of a destination, and what it has still to say.
#[derive(Debug)]
pub(super) struct OutageLog {
    rule: Rule,
    outage: Option<Outage>,
    row: Row,
    /// Outages that began and ended since the last that was said.
    unsaid_outages: u64,
    /// When the beginning or the end of an outage was said last.
    outage_said_at: Option<Timestamp>,
    /// Failures that are no outage and no dead letters.
    failures: Digest,
    dead_letters: Digest,
    paused_said_at: Option<Timestamp>,
    last_error: String,
    /// Under which time it is in [`Outages::due`].
    due_at: Option<Timestamp>,
}

/// What begins and ends an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// The circuit breaker, which so many failures in a row open, or fewer of many attempts.
    Breaker { failures: u32 },
    /// Outcomes in a row: where there is no breaker.
    InARow,
}

#[derive(Debug)]
struct Outage {
    /// Its first failure; none if it began in an earlier process.
    since: Option<Timestamp>,
    failures: u64,
    dead_letters: u64,
    is_said: bool,
    /// When it was said or summed up last; none if not by this process.
    summed_up_at: Option<Timestamp>,
}

impl OutageLog {
    /// Of a destination that this process hasn't attempted yet. `is_open`: its breaker was left open.
    pub fn new(policy: &DestinationPolicy, is_open: bool) -> Self {
        let rule = policy.breaker.map_or(Rule::InARow, |rules| Rule::Breaker {
            failures: rules.failures,
        });
        Self::with(rule, is_open)
    }

    fn with(rule: Rule, is_open: bool) -> Self {
        Self {
            rule,
            // The process that opened it has said so.
            outage: is_open.then_some(Outage {
                since: None,
                failures: 0,
                dead_letters: 0,
                is_said: true,
                summed_up_at: None,
            }),
            row: Row::new(),
            unsaid_outages: 0,
            outage_said_at: None,
            failures: Digest::default(),
            dead_letters: Digest::default(),
            paused_said_at: None,
            last_error: String::new(),
            due_at: None,
        }
    }

    /// Takes note of an attempt; what is to be said now.
    fn note(
        &mut self,
        job: &Job,
        outcome: &Outcome,
        step: Transition,
        breaker: Option<BreakerChange>,
        now: Timestamp,
    ) -> Vec<Line> {
        let is_failure = outcome.class != Class::Delivered;
        let is_dead_letter = step == Transition::DeadLetter;
        let health = outcome.health();
        let is_quiet = now.since(self.row.last_failure_at) >= WITHOUT_FAILURE;
        self.row.note(health, now);
        if is_failure {
            let why = outcome.cause.as_ref().or(outcome.error.as_ref());
            self.last_error = why.cloned().unwrap_or_default();
        }
        let mut lines = Vec::new();
        let (is_beginning, is_end) = match self.rule {
            Rule::Breaker { .. } => (
                matches!(breaker, Some(BreakerChange::Open(_))),
                breaker == Some(BreakerChange::Closed),
            ),
            Rule::InARow => (
                self.row.failures >= FAILURES_IN_A_ROW,
                health == Health::Well && (is_quiet || self.row.successes >= SUCCESSES_IN_A_ROW),
            ),
        };
        if self.outage.is_some() && is_end {
            lines.extend(self.end(now));
        } else if self.outage.is_none() && is_beginning {
            self.begin(now);
        } else if let Some(outage) = &mut self.outage {
            outage.failures += u64::from(is_failure);
        }
        if let Some(outage) = &mut self.outage {
            outage.dead_letters += u64::from(is_dead_letter);
        } else {
            self.failures.add_attempts(1);
        }
        let probe_in = match breaker {
            Some(BreakerChange::Open(wait)) => Some(wait),
            _ => None,
        };
        lines.extend(self.say_outage(is_failure, probe_in, now));
        if is_dead_letter {
            if self.dead_letters.add(&self.last_error, now) {
                lines.push(Line::DeadLetter {
                    event_id: job.event_id(),
                    attempt: job.attempt,
                    last_error: self.last_error.clone(),
                });
            }
        } else if is_failure && self.outage.is_none() {
            if health == Health::Failing && self.row.failures == 1 {
                self.failures.begin_row();
            }
            if self.failures.add(&self.last_error, now) {
                lines.push(Line::Failure {
                    is_internal: outcome.failure == Some(FailureKind::Internal),
                    event_id: job.event_id(),
                    attempt: job.attempt,
                    last_error: self.last_error.clone(),
                });
            } else if health == Health::Failing {
                self.row.in_digest += 1;
            }
        }
        lines.extend(self.digests(now));
        lines
    }

    fn begin(&mut self, now: Timestamp) {
        let failures = u64::from(self.row.failures);
        // They are the outage's from now on.
        self.failures.remove_row(self.row.in_digest);
        self.outage = Some(Outage {
            since: Some(if failures > 0 { self.row.began_at } else { now }),
            failures,
            dead_letters: 0,
            is_said: false,
            summed_up_at: None,
        });
    }

    fn end(&mut self, now: Timestamp) -> Option<Line> {
        let outage = self.outage.take()?;
        self.row = Row::new();
        if !outage.is_said {
            self.unsaid_outages += 1;
            let failures = outage.failures.saturating_sub(outage.dead_letters);
            self.failures.add_many(failures, &self.last_error);
            self.failures.add_attempts(failures);
            return None;
        }
        self.outage_said_at = Some(now);
        Some(Line::Recovered {
            seconds: outage.since.map(|since| now.since(since).as_secs()),
            failures: outage.failures,
            dead_letters: outage.dead_letters,
        })
    }

    /// Says that an outage has begun, or sums it up.
    fn say_outage(
        &mut self,
        is_failure: bool,
        probe_in: Option<Duration>,
        now: Timestamp,
    ) -> Option<Line> {
        let outage = self.outage.as_mut()?;
        let seconds = outage.since.map(|since| now.since(since).as_secs());
        let probe_in_seconds = probe_in.map(|wait| wait.as_secs());
        if outage.is_said {
            let is_due = outage
                .summed_up_at
                .is_none_or(|at| now.since(at) >= DIGEST_EVERY);
            if !is_failure || !is_due {
                return None;
            }
            outage.summed_up_at = Some(now);
            return Some(Line::StillFailing {
                seconds,
                failures: outage.failures,
                dead_letters: outage.dead_letters,
                last_error: self.last_error.clone(),
                probe_in_seconds,
            });
        }
        let is_too_soon = |at| now.since(at) < BETWEEN_OUTAGES;
        if self.outage_said_at.is_some_and(is_too_soon) {
            return None;
        }
        outage.is_said = true;
        outage.summed_up_at = Some(now);
        self.outage_said_at = Some(now);
        let outages = std::mem::take(&mut self.unsaid_outages) + 1;
        let in_a_row = match self.rule {
            Rule::Breaker { failures } => failures,
            Rule::InARow => FAILURES_IN_A_ROW,
        };
        let recent = u64::from(self.row.recent.count_ones());
        let is_mixed = outage.failures < u64::from(in_a_row).min(recent);
        let (failures, attempts) = if is_mixed {
            (recent, Some(u64::from(self.row.attempts)))
        } else {
            (outage.failures, None)
        };
        Some(Line::Failing {
            failures,
            attempts,
            outages: (outages > 1).then_some(outages),
            last_error: self.last_error.clone(),
            probe_in_seconds,
        })
    }

    fn digests(&mut self, now: Timestamp) -> Vec<Line> {
        let failures = self.failures.due(now).map(|due| Line::Failures {
            failures: due.count,
            attempts: due.attempts,
            seconds: due.seconds,
            last_error: due.last_error,
        });
        let dead_letters = self.dead_letters.due(now).map(|due| Line::DeadLetters {
            dead_letters: due.count,
            seconds: due.seconds,
            last_error: due.last_error,
        });
        failures.into_iter().chain(dead_letters).collect()
    }

    /// When it has something to say, if nothing happens before.
    fn next_due(&self) -> Option<Timestamp> {
        let is_unsaid = self.outage.as_ref().is_some_and(|outage| !outage.is_said);
        let outage = self.outage_said_at.filter(|_| is_unsaid);
        let outage = outage.map(|at| at.plus(BETWEEN_OUTAGES));
        let digests = [self.failures.due_at(), self.dead_letters.due_at()];
        digests.into_iter().chain([outage]).flatten().min()
    }
}

/// What all destinations of a dispatcher have in common.
#[derive(Debug, Default)]
pub(super) struct Outages {
    /// Destinations that have something to say at a time, whether or not they are attempted again.
    due: BTreeSet<(Timestamp, i64)>,
    adhoc: AdhocLimit,
}

impl Outages {
    /// Takes note of an attempt, and says what is worth saying.
    pub fn note(
        &mut self,
        log: &mut OutageLog,
        job: &Job,
        outcome: &Outcome,
        step: Transition,
        breaker: Option<BreakerChange>,
        now: Timestamp,
    ) {
        let lines = log.note(job, outcome, step, breaker, now);
        self.say(log, &job.target, lines, now);
    }

    /// Says that a destination was paused by what it answered.
    pub fn paused(&mut self, log: &mut OutageLog, target: &Target, reason: &str, now: Timestamp) {
        let is_too_soon = |at| now.since(at) < PAUSE_EVERY;
        if !log.paused_said_at.is_some_and(is_too_soon) {
            log.paused_said_at = Some(now);
            let reason = reason.to_owned();
            self.say(log, target, vec![Line::Paused { reason }], now);
        }
    }

    /// A destination that has something to say by now: for [`Self::say_due`]. Each once.
    pub fn next_due(&mut self, now: Timestamp) -> Option<i64> {
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

    /// Says what a destination has to say by now.
    pub fn say_due(&mut self, log: &mut OutageLog, target: &Target, now: Timestamp) {
        let lines = Self::due_lines(log, now);
        self.say(log, target, lines, now);
    }

    fn due_lines(log: &mut OutageLog, now: Timestamp) -> Vec<Line> {
        log.due_at = None;
        let mut lines = log.digests(now);
        lines.extend(log.say_outage(false, None, now));
        lines
    }

    fn say(&mut self, log: &mut OutageLog, target: &Target, lines: Vec<Line>, now: Timestamp) {
        for line in self.admitted(log, target, lines, now) {
            let destination = (!line.is_of_many()).then_some(target.name.as_str());
            line.log(destination);
        }
    }

    /// The lines of those that may be said, with a summary of others before.
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
        let mut said: Vec<Line> = self.adhoc.due(now).into_iter().collect();
        said.extend(
            lines
                .into_iter()
                .filter(|line| self.adhoc.admits(line, now)),
        );
        said
    }
}
