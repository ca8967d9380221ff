//! A token bucket, as `[api.rate_limit]`, `[sources.…]` and `[destinations.…]` have it.

use serde::Deserialize;

use crate::config::rules::{Checked, bad, within};

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Tokens a second.
    pub per_second: f64,
    /// The size of the bucket, in tokens.
    pub burst: u32,
}

/// The highest rate: above it the period comes near the nanosecond in which the limiter counts.
const MAX_PER_SECOND: f64 = 1e6;
/// The longest time for a bucket to fill: the limiter counts nanoseconds in 64 bits, some 500
/// years.
const MAX_SECONDS_TO_FILL: f64 = 1e9;

impl RateLimit {
    pub(in crate::config) fn check(&self, key: &str) -> Checked {
        let per_second = format!("{key}.per_second");
        if !(self.per_second > 0.0 && self.per_second <= MAX_PER_SECOND) {
            return bad(
                &per_second,
                self.per_second,
                "more than 0 and at most 1000000",
            );
        }
        within(&format!("{key}.burst"), self.burst, 1, 1_000_000)?;
        if f64::from(self.burst) / self.per_second > MAX_SECONDS_TO_FILL {
            return bad(&per_second, self.per_second, "more, or a smaller burst");
        }
        Ok(())
    }
}
