//! The retry schedule of a destination.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::time::Duration;

use crate::model::level::Level;

/// When a failed attempt is followed by another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// The waits after the first, second, … failed attempt. There is one attempt more than waits.
    pub schedule: Vec<Duration>,
    /// The largest fraction of a wait that is added to it at random, so that attempts that failed
    /// together are not repeated together. Never subtracted: no attempt is early.
    pub jitter: f64,
    /// Whether `Retry-After` on 429 and 503 holds the destination.
    pub honours_retry_after: bool,
}

impl Retry {
    /// The longest time for which `Retry-After` is heeded: a typo of a receiver must not hold its
    /// deliveries for months.
    pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

    /// The number of attempts that a delivery gets.
    pub fn max_attempts(&self) -> u32 {
        // A configured schedule has at most 100 waits.
        u32::try_from(self.schedule.len()).unwrap_or(u32::MAX - 1) + 1
    }

    /// The wait after failed attempt number `attempt`, counted from 1; none when all attempts are
    /// spent. `random`, in 0..1, chooses the jitter.
    pub fn wait_after(&self, attempt: u32, random: f64) -> Option<Duration> {
        let wait = self.schedule.get(attempt.checked_sub(1)? as usize)?;
        Some(wait.saturating_add(wait.mul_f64(self.jitter * random.clamp(0.0, 1.0))))
    }
}

/// The share of a destination's schedule that a level follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryPlan {
    /// One attempt.
    Never,
    /// [`RetryPlan::BASIC_WAITS`], whatever the destination's schedule.
    Basic,
    /// The destination's own schedule.
    Schedule,
}

impl RetryPlan {
    /// The waits at level http: long enough for a receiver to restart, short enough that the third
    /// failure is known within seconds.
    pub const BASIC_WAITS: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(2)];

    /// The plan of a level. At level off the full schedule is shown: an executor that opens the
    /// file later follows it.
    pub const fn of(level: Level) -> Self {
        match level {
            Level::Simulated => Self::Never,
            Level::Http => Self::Basic,
            Level::Durable | Level::Off => Self::Schedule,
        }
    }

    /// The settings that take effect under this plan, given the destination's own.
    pub fn apply(self, own: &Retry) -> Cow<'_, Retry> {
        match self {
            Self::Schedule => Cow::Borrowed(own),
            Self::Basic => Cow::Owned(Retry {
                schedule: Self::BASIC_WAITS.to_vec(),
                jitter: own.jitter,
                honours_retry_after: false,
            }),
            Self::Never => Cow::Owned(Retry {
                schedule: Vec::new(),
                jitter: 0.0,
                honours_retry_after: false,
            }),
        }
    }
}
