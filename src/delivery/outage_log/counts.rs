//! Counts between two log lines.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::model::Health;

/// The shortest time between two summaries of an outage, two digests of failures, or two of dead
/// letters. A decision: an operator who looks every few minutes misses nothing.
pub(super) const DIGEST_EVERY: Duration = Duration::from_secs(300);

/// The latest attempts, as far as they tell about the destination's health.
#[derive(Debug)]
pub(super) struct RecentAttempts {
    /// Failures since the last success.
    pub failures: u32,
    /// Those of them that the digest of failures counts.
    pub in_digest: u64,
    /// The time of the first of them.
    pub began_at: Timestamp,
    pub last_failure_at: Timestamp,
    /// Successes since the last failure.
    pub successes: u32,
    /// A bit for each of the latest attempts, the newest in the lowest: 1 for a failure.
    pub outcomes: u64,
    /// The number of bits that stand for an attempt.
    pub attempts: u32,
}

impl Default for RecentAttempts {
    fn default() -> Self {
        Self {
            failures: 0,
            in_digest: 0,
            began_at: Timestamp::from_millis(0),
            last_failure_at: Timestamp::from_millis(0),
            successes: 0,
            outcomes: 0,
            attempts: 0,
        }
    }
}

impl RecentAttempts {
    pub fn note(&mut self, health: Health, now: Timestamp) {
        let is_failure = match health {
            Health::Failing => true,
            Health::Well => false,
            Health::Unknown => return,
        };
        self.outcomes = self.outcomes << 1 | u64::from(is_failure);
        self.attempts = (self.attempts + 1).min(u64::BITS);
        if is_failure {
            if self.failures == 0 {
                (self.began_at, self.in_digest) = (now, 0);
            }
            self.failures = self.failures.saturating_add(1);
            self.successes = 0;
            self.last_failure_at = now;
        } else {
            self.failures = 0;
            self.successes = self.successes.saturating_add(1);
        }
    }
}

/// Counts events that aren't worth a line each.
#[derive(Debug, Default)]
pub(super) struct Digest {
    logged_at: Option<Timestamp>,
    /// Events since then.
    count: u64,
    /// Attempts since then, successes included.
    attempts: u64,
    /// The error of the last event.
    last_error: String,
    /// The error before a row of failures that may turn out to be an outage.
    error_before_row: String,
}

/// A digest that is due.
#[derive(Debug)]
pub(super) struct DueDigest {
    pub count: u64,
    pub attempts: u64,
    /// The time that it covers.
    pub seconds: u64,
    pub last_error: String,
}

impl Digest {
    fn is_due(&self, now: Timestamp) -> bool {
        let logged_at = self.logged_at;
        logged_at.is_none_or(|at| now.since(at) >= DIGEST_EVERY)
    }

    /// Counts an event. Returns whether it is worth a line by itself, as the first for a long time.
    pub fn add(&mut self, error: &str, now: Timestamp) -> bool {
        let is_first = self.count == 0 && self.is_due(now);
        if is_first {
            self.restart(now);
        } else {
            self.add_many(1, error);
        }
        is_first
    }

    /// Counts events that were first taken for part of an outage.
    pub fn add_many(&mut self, count: u64, error: &str) {
        self.count += count;
        error.clone_into(&mut self.last_error);
    }

    /// Begins a row of failures, which [`Self::remove_row`] may remove again.
    pub fn begin_row(&mut self) {
        self.error_before_row.clone_from(&self.last_error);
    }

    /// Removes a row of this many failures: they are part of an outage.
    pub fn remove_row(&mut self, count: u64) {
        self.count = self.count.saturating_sub(count);
        self.last_error = std::mem::take(&mut self.error_before_row);
    }

    pub fn add_attempts(&mut self, attempts: u64) {
        self.attempts += attempts;
    }

    /// Takes the digest, if it is due.
    pub fn due(&mut self, now: Timestamp) -> Option<DueDigest> {
        if self.count == 0 || !self.is_due(now) {
            return None;
        }
        let due = DueDigest {
            count: self.count,
            attempts: self.attempts,
            seconds: self.logged_at.map_or(0, |at| now.since(at).as_secs()),
            last_error: std::mem::take(&mut self.last_error),
        };
        self.restart(now);
        Some(due)
    }

    fn restart(&mut self, now: Timestamp) {
        *self = Self {
            logged_at: Some(now),
            ..Self::default()
        };
    }

    pub fn due_at(&self) -> Option<Timestamp> {
        let logged_at = self.logged_at.filter(|_| self.count > 0)?;
        Some(logged_at.plus(DIGEST_EVERY))
    }
}
