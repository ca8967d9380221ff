//! What is counted between two lines.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::model::Health;

/// The shortest time between two summaries of an outage, two digests of failures, or two of dead
/// letters. A decision: an operator who looks every few minutes misses nothing.
pub(super) const DIGEST_EVERY: Duration = Duration::from_secs(300);

/// The latest attempts, as far as they tell about the destination's health.
#[derive(Debug)]
pub(super) struct Row {
    /// Failures since the last success.
    pub failures: u32,
    /// Those of them that the digest of failures counts.
    pub in_digest: u64,
    /// When the first of them was.
    pub began_at: Timestamp,
    pub last_failure_at: Timestamp,
    /// Successes since the last failure.
    pub successes: u32,
    /// The latest attempts, the newest in the lowest bit: 1 for a failure.
    pub recent: u64,
    /// How many of those bits are attempts.
    pub attempts: u32,
}

impl Row {
    pub fn new() -> Self {
        Self {
            failures: 0,
            in_digest: 0,
            began_at: Timestamp::from_millis(0),
            last_failure_at: Timestamp::from_millis(0),
            successes: 0,
            recent: 0,
            attempts: 0,
        }
    }

    pub fn note(&mut self, health: Health, now: Timestamp) {
        let is_failure = match health {
            Health::Failing => true,
            Health::Well => false,
            Health::Unknown => return,
        };
        self.recent = self.recent << 1 | u64::from(is_failure);
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

/// Counts what is not worth a line each.
#[derive(Debug, Default)]
pub(super) struct Digest {
    said_at: Option<Timestamp>,
    /// Counted since, and unsaid.
    count: u64,
    /// Attempts since, those that went well included.
    attempts: u64,
    /// Of the last that was counted.
    last_error: String,
    /// The same, before the failures in a row that may turn out to be an outage.
    error_before_row: String,
}

/// A digest that is to be said.
#[derive(Debug)]
pub(super) struct Due {
    pub count: u64,
    pub attempts: u64,
    /// In which they were counted.
    pub seconds: u64,
    pub last_error: String,
}

impl Digest {
    fn may_be_said(&self, now: Timestamp) -> bool {
        self.said_at.is_none_or(|at| now.since(at) >= DIGEST_EVERY)
    }

    /// Counts one. Whether it is worth a line by itself, as the first for a long time.
    pub fn add(&mut self, error: &str, now: Timestamp) -> bool {
        let is_first = self.count == 0 && self.may_be_said(now);
        if is_first {
            self.said(now);
        } else {
            self.add_many(1, error);
        }
        is_first
    }

    /// Counts some that were first taken for something else.
    pub fn add_many(&mut self, count: u64, error: &str) {
        self.count += count;
        error.clone_into(&mut self.last_error);
    }

    /// A row of failures begins, which [`Self::remove_row`] may take out again.
    pub fn begin_row(&mut self) {
        self.error_before_row.clone_from(&self.last_error);
    }

    /// Forgets so many failures of the row: they are an outage's.
    pub fn remove_row(&mut self, count: u64) {
        self.count = self.count.saturating_sub(count);
        self.last_error = std::mem::take(&mut self.error_before_row);
    }

    pub fn add_attempts(&mut self, attempts: u64) {
        self.attempts += attempts;
    }

    /// Takes what is to be said now.
    pub fn due(&mut self, now: Timestamp) -> Option<Due> {
        if self.count == 0 || !self.may_be_said(now) {
            return None;
        }
        let due = Due {
            count: self.count,
            attempts: self.attempts,
            seconds: self.said_at.map_or(0, |at| now.since(at).as_secs()),
            last_error: std::mem::take(&mut self.last_error),
        };
        self.said(now);
        Some(due)
    }

    fn said(&mut self, now: Timestamp) {
        *self = Self {
            said_at: Some(now),
            ..Self::default()
        };
    }

    pub fn due_at(&self) -> Option<Timestamp> {
        let said_at = self.said_at.filter(|_| self.count > 0)?;
        Some(said_at.plus(DIGEST_EVERY))
    }
}
