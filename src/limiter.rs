//! Token buckets on relay's own clock.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::Quota;

use crate::clock::Clock;
use crate::config::RateLimit;

/// Adapts the monotonic side of a [`Clock`] to governor.
#[derive(Clone, Debug)]
pub(crate) struct Monotonic(pub Arc<dyn Clock>);

impl governor::clock::Clock for Monotonic {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.monotonic()
    }
}

/// The quota of a checked [`RateLimit`].
pub(crate) fn quota(limit: &RateLimit) -> Quota {
    Quota::with_period(period(limit))
        .expect("a checked rate is finite and at most a million a second")
        .allow_burst(NonZeroU32::new(limit.burst).unwrap_or(NonZeroU32::MIN))
}

/// The time until a token is replaced.
pub(crate) fn period(limit: &RateLimit) -> Duration {
    // governor counts nanoseconds in 64 bits. The configuration's check keeps the period, times the
    // burst, within that.
    Duration::from_secs_f64(1.0 / limit.per_second)
}

/// Whole seconds, rounded up, at least 1, for `Retry-After`.
pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}
