//! A token bucket that can be asked before a token is spent. Pure: times are monotonic, and come
//! from outside.

use std::time::Duration;

use crate::config::RateLimit;
use crate::limiter::period;

/// One time stands for all tokens: each spent token moves it a period ahead, and the bucket is
/// empty once it is `burst` periods ahead of now (the generic cell rate algorithm).
#[derive(Clone, Copy, Debug)]
pub(super) struct AttemptBucket {
    period: Duration,
    /// The time may be this far ahead for another token to be there: `burst - 1` periods.
    tolerance: Duration,
    burst: u32,
    spent_until: Duration,
}

impl AttemptBucket {
    /// A full bucket.
    pub fn new(limit: &RateLimit) -> Self {
        let period = period(limit).max(Duration::from_nanos(1));
        let burst = limit.burst.max(1);
        Self {
            period,
            tolerance: period.saturating_mul(burst - 1),
            burst,
            spent_until: Duration::ZERO,
        }
    }

    /// The bucket of another limit at the same level: as large a part of it is spent.
    pub fn with_limit(self, limit: &RateLimit, now: Duration) -> Self {
        let new = Self::new(limit);
        if (new.period, new.burst) == (self.period, self.burst) {
            return self;
        }
        let to_fill = |bucket: &Self| bucket.period.saturating_mul(bucket.burst).as_secs_f64();
        let ahead = self.spent_until.saturating_sub(now).as_secs_f64();
        let spent = (ahead / to_fill(&self)).min(1.0);
        // A checked limit takes 1e9 seconds to fill at most.
        let ahead = Duration::from_secs_f64(spent * to_fill(&new));
        Self {
            spent_until: now.saturating_add(ahead),
            ..new
        }
    }

    /// The wait for one more token after `planned` others, none of which is spent yet. None if it
    /// is there.
    pub fn wait(&self, planned: usize, now: Duration) -> Option<Duration> {
        let planned = u32::try_from(planned).unwrap_or(u32::MAX);
        let spent_until = match planned {
            0 => self.spent_until,
            _ => self.after(planned, now),
        };
        let at = spent_until.saturating_sub(self.tolerance);
        (now < at).then(|| at.saturating_sub(now))
    }

    /// Whether no token is spent.
    pub fn is_full(&self, now: Duration) -> bool {
        self.spent_until <= now
    }

    /// Spends a token.
    pub fn spend(&mut self, now: Duration) {
        self.spent_until = self.after(1, now);
    }

    /// Spends all tokens.
    pub fn empty(&mut self, now: Duration) {
        self.spent_until = Duration::ZERO;
        self.spent_until = self.after(self.burst, now);
    }

    /// Spends all tokens but one.
    pub fn leave_one(&mut self, now: Duration) {
        self.spent_until = Duration::ZERO;
        self.spent_until = self.after(self.burst - 1, now);
    }

    fn after(&self, tokens: u32, now: Duration) -> Duration {
        let spent = self.period.saturating_mul(tokens);
        self.spent_until.max(now).saturating_add(spent)
    }
}

#[cfg(test)]
mod tests;
