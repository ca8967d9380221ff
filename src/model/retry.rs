use std::borrow::Cow;
use std::time::Duration;

use super::Level;

/// When a failed attempt is followed by another.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// The wait after the first, second, … failed attempt. There is one attempt more than waits.
    pub schedule: Vec<Duration>,
    /// The largest part of a wait that is added to it at random, so that what failed together does
    /// not come back together. Never subtracted: no attempt is early.
    pub jitter: f64,
    /// Whether `Retry-After` on 429 and 503 holds the destination.
    pub honours_retry_after: bool,
}

impl Retry {
    /// How many attempts a delivery gets.
    pub fn max_attempts(&self) -> u32 {
        // A configured schedule has at most 100 waits.
        u32::try_from(self.schedule.len()).unwrap_or(u32::MAX - 1) + 1
    }

    /// The wait after failed attempt number `attempt` (1-based), with `random` in 0..1 deciding
    /// the jitter; none when the budget is spent.
    pub fn wait_after(&self, attempt: u32, random: f64) -> Option<Duration> {
        let wait = self.schedule.get(attempt.checked_sub(1)? as usize)?;
        Some(wait.saturating_add(wait.mul_f64(self.jitter * random.clamp(0.0, 1.0))))
    }
}

/// How a level retries, given what a destination asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryPlan {
    /// One attempt.
    Never,
    /// [`RetryPlan::BASIC_WAITS`], whatever the destination says.
    Basic,
    /// The destination's own schedule.
    Schedule,
}

impl RetryPlan {
    /// Level 2's pauses: long enough to outlive a restart of the receiver, short enough that the
    /// third failure is known within seconds.
    pub const BASIC_WAITS: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(2)];

    /// The plan of a level. Without an executor the full schedule is shown: it is what an executor
    /// that opens the file later follows.
    pub const fn of(level: Level) -> Self {
        match level {
            Level::Simulated => Self::Never,
            Level::Http => Self::Basic,
            Level::Durable | Level::Off => Self::Schedule,
        }
    }

    /// What becomes of a destination's own settings under this plan.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_attempt_is_early_or_later_than_its_jitter(
            waits in prop::collection::vec(0u64..100_000, 0..12),
            jitter in 0.0..1.0f64,
            attempt in 0u32..15,
            random in -1.0..2.0f64,
        ) {
            let retry = Retry {
                schedule: waits.iter().copied().map(Duration::from_secs).collect(),
                jitter,
                honours_retry_after: true,
            };
            match retry.wait_after(attempt, random) {
                Some(wait) => {
                    let base = Duration::from_secs(waits[attempt as usize - 1]);
                    prop_assert!(wait >= base);
                    prop_assert!(wait <= base.mul_f64(1.0 + jitter) + Duration::from_millis(1));
                }
                None => prop_assert!(attempt == 0 || attempt >= retry.max_attempts()),
            }
        }
    }
}
