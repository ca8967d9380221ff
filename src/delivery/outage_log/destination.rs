//! The log of one destination: which lines its attempts lead to, and which are due later.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::DestinationPolicy;
use crate::delivery::attempt::Attempt;
use crate::delivery::outage_log::counts::{DIGEST_EVERY, Digest, RecentAttempts};
use crate::delivery::outage_log::line::Line;
use crate::delivery::outcome::{Class, Outcome};
use crate::model::{BreakerChange, FailureKind, Health, Transition};

/// Failures in a row that begin an outage where there is no breaker: as many as open one by
/// default. At 5 % failures that is one in 10^13 attempts, three years at 100 000 a second.
const FAILURES_IN_A_ROW: u32 = 10;
/// Successes in a row that end it: the same, so that a destination that fails half of its attempts
/// is either failing or not for a thousand attempts.
const SUCCESSES_IN_A_ROW: u32 = 10;
/// After this time without a failure, one success ends an outage: a destination with an event an
/// hour must not count as failing for ten hours after it has recovered.
const WITHOUT_FAILURE: Duration = Duration::from_secs(60);
/// The shortest time between the end of an outage and the beginning of the next in the log.
/// Outages that begin and end in between are counted. So flapping takes two lines a minute.
const BETWEEN_OUTAGES: Duration = Duration::from_secs(60);
/// The shortest time between two lines about a pause: attempts that were in flight together get the
/// same answer.
pub(super) const PAUSE_EVERY: Duration = Duration::from_secs(60);

/// The log of one destination: its last lines, and the facts that are yet to be written.
#[derive(Debug)]
pub(in crate::delivery) struct OutageLog {
    rule: OutageRule,
    outage: Option<Outage>,
    recent: RecentAttempts,
    /// Outages that began and ended since the last that was logged.
    unlogged_outages: u64,
    /// When the beginning or the end of an outage was logged last.
    outage_logged_at: Option<Timestamp>,
    /// Failures that are neither part of an outage nor dead letters.
    failures: Digest,
    dead_letters: Digest,
    pub(super) paused_logged_at: Option<Timestamp>,
    last_error: String,
    /// Its time in `Outages::due`.
    pub(super) due_at: Option<Timestamp>,
}

/// The beginning and the end of an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutageRule {
    /// The circuit breaker, which this number of failures in a row opens, or fewer among many
    /// attempts.
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
    is_logged: bool,
    /// When it was logged or summed up last; none if not by this process.
    summed_up_at: Option<Timestamp>,
}

impl OutageLog {
    /// The log of a destination without attempts in this process. `is_open`: its breaker was left
    /// open.
    pub fn new(policy: &DestinationPolicy, is_open: bool) -> Self {
        let rule = policy
            .breaker
            .map_or(OutageRule::InARow, |rules| OutageRule::Breaker {
                failures: rules.failures,
            });
        Self::with(rule, is_open)
    }

    pub(super) fn with(rule: OutageRule, is_open: bool) -> Self {
        Self {
            rule,
            // The process that opened it has logged it.
            outage: is_open.then_some(Outage {
                since: None,
                failures: 0,
                dead_letters: 0,
                is_logged: true,
                summed_up_at: None,
            }),
            recent: RecentAttempts::default(),
            unlogged_outages: 0,
            outage_logged_at: None,
            failures: Digest::default(),
            dead_letters: Digest::default(),
            paused_logged_at: None,
            last_error: String::new(),
            due_at: None,
        }
    }

    /// Takes note of an attempt. Returns the lines that are due now.
    pub(super) fn note(
        &mut self,
        attempt: &Attempt,
        outcome: &Outcome,
        step: Transition,
        breaker: Option<BreakerChange>,
        now: Timestamp,
    ) -> Vec<Line> {
        let is_failure = outcome.class != Class::Delivered;
        let is_dead_letter = step == Transition::DeadLetter;
        let health = outcome.health();
        let was_quiet = now.since(self.recent.last_failure_at) >= WITHOUT_FAILURE;
        self.recent.note(health, now);
        if is_failure {
            let why = outcome.cause.as_ref().or(outcome.error.as_ref());
            self.last_error = why.cloned().unwrap_or_default();
        }
        let mut lines = Vec::new();
        let is_end = self.is_end(health, breaker, was_quiet);
        if self.outage.is_some() && is_end {
            lines.extend(self.end(now));
        } else if self.outage.is_none() && self.is_beginning(breaker) {
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
        lines.extend(self.outage_line(is_failure, probe_in, now));
        if is_dead_letter {
            lines.extend(self.note_dead_letter(attempt, now));
        } else if is_failure && self.outage.is_none() {
            lines.extend(self.note_failure(attempt, outcome, now));
        }
        lines.extend(self.digests(now));
        lines
    }

    fn is_beginning(&self, breaker: Option<BreakerChange>) -> bool {
        match self.rule {
            OutageRule::Breaker { .. } => matches!(breaker, Some(BreakerChange::Open(_))),
            OutageRule::InARow => self.recent.failures >= FAILURES_IN_A_ROW,
        }
    }

    fn is_end(&self, health: Health, breaker: Option<BreakerChange>, was_quiet: bool) -> bool {
        match self.rule {
            OutageRule::Breaker { .. } => breaker == Some(BreakerChange::Closed),
            OutageRule::InARow => {
                let is_enough = was_quiet || self.recent.successes >= SUCCESSES_IN_A_ROW;
                health == Health::Well && is_enough
            }
        }
    }

    fn note_dead_letter(&mut self, attempt: &Attempt, now: Timestamp) -> Option<Line> {
        let is_first = self.dead_letters.add(&self.last_error, now);
        is_first.then(|| Line::DeadLetter {
            event_id: attempt.event_id(),
            attempt: attempt.number,
            last_error: self.last_error.clone(),
        })
    }

    /// A failure that is part of no outage, and no dead letter.
    fn note_failure(
        &mut self,
        attempt: &Attempt,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Option<Line> {
        let is_failing = outcome.health() == Health::Failing;
        if is_failing && self.recent.failures == 1 {
            self.failures.begin_row();
        }
        if self.failures.add(&self.last_error, now) {
            return Some(Line::Failure {
                is_internal: outcome.failure == Some(FailureKind::Internal),
                event_id: attempt.event_id(),
                attempt: attempt.number,
                last_error: self.last_error.clone(),
            });
        }
        self.recent.in_digest += u64::from(is_failing);
        None
    }

    fn begin(&mut self, now: Timestamp) {
        let failures = u64::from(self.recent.failures);
        // The outage counts these failures from now on, and the digest no longer does.
        self.failures.remove_row(self.recent.in_digest);
        let began_at = self.recent.began_at;
        self.outage = Some(Outage {
            since: Some(if failures > 0 { began_at } else { now }),
            failures,
            dead_letters: 0,
            is_logged: false,
            summed_up_at: None,
        });
    }

    fn end(&mut self, now: Timestamp) -> Option<Line> {
        let outage = self.outage.take()?;
        self.recent = RecentAttempts::default();
        if !outage.is_logged {
            self.unlogged_outages += 1;
            let failures = outage.failures.saturating_sub(outage.dead_letters);
            self.failures.add_many(failures, &self.last_error);
            self.failures.add_attempts(failures);
            return None;
        }
        self.outage_logged_at = Some(now);
        Some(Line::Recovered {
            seconds: outage.since.map(|since| now.since(since).as_secs()),
            failures: outage.failures,
            dead_letters: outage.dead_letters,
        })
    }

    /// The beginning of an outage, or its summary.
    fn outage_line(
        &mut self,
        is_failure: bool,
        probe_in: Option<Duration>,
        now: Timestamp,
    ) -> Option<Line> {
        let outage = self.outage.as_mut()?;
        let probe_in_seconds = probe_in.map(|wait| wait.as_secs());
        if !outage.is_logged {
            return self.failing_line(probe_in_seconds, now);
        }
        let summed_up_at = outage.summed_up_at;
        let is_due = summed_up_at.is_none_or(|at| now.since(at) >= DIGEST_EVERY);
        if !is_failure || !is_due {
            return None;
        }
        outage.summed_up_at = Some(now);
        Some(Line::StillFailing {
            seconds: outage.since.map(|since| now.since(since).as_secs()),
            failures: outage.failures,
            dead_letters: outage.dead_letters,
            last_error: self.last_error.clone(),
            probe_in_seconds,
        })
    }

    /// The beginning of an outage, unless another was logged a moment ago.
    fn failing_line(&mut self, probe_in_seconds: Option<u64>, now: Timestamp) -> Option<Line> {
        let is_too_soon = |at| now.since(at) < BETWEEN_OUTAGES;
        if self.outage_logged_at.is_some_and(is_too_soon) {
            return None;
        }
        let outage = self.outage.as_mut()?;
        outage.is_logged = true;
        outage.summed_up_at = Some(now);
        self.outage_logged_at = Some(now);
        let outages = std::mem::take(&mut self.unlogged_outages) + 1;
        let in_a_row = match self.rule {
            OutageRule::Breaker { failures } => failures,
            OutageRule::InARow => FAILURES_IN_A_ROW,
        };
        let recent = u64::from(self.recent.outcomes.count_ones());
        let is_mixed = outage.failures < u64::from(in_a_row).min(recent);
        let (failures, attempts) = if is_mixed {
            (recent, Some(u64::from(self.recent.attempts)))
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

    /// The lines that are due without an attempt.
    pub(super) fn due_lines(&mut self, now: Timestamp) -> Vec<Line> {
        self.due_at = None;
        let mut lines = self.digests(now);
        lines.extend(self.outage_line(false, None, now));
        lines
    }

    /// When the next line is due, if no attempt ends before.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let is_unlogged = self.outage.as_ref().is_some_and(|outage| !outage.is_logged);
        let outage = self.outage_logged_at.filter(|_| is_unlogged);
        let outage = outage.map(|at| at.plus(BETWEEN_OUTAGES));
        let digests = [self.failures.due_at(), self.dead_letters.due_at()];
        digests.into_iter().chain([outage]).flatten().min()
    }
}
