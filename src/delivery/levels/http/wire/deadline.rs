//! The time left for a step of a connection.

use std::sync::Arc;
use std::time::Duration;

use ureq::Error;
use ureq::unversioned::transport::NextTimeout;
use ureq::unversioned::transport::time::Instant;

/// Reads ureq's clock.
pub(super) type Now = Arc<dyn Fn() -> Instant + Send + Sync>;

/// The time left for a step, and the name of its timeout.
pub(super) struct Deadline<'a> {
    timeout: NextTimeout,
    start: Instant,
    now: &'a Now,
}

impl<'a> Deadline<'a> {
    pub fn new(timeout: NextTimeout, start: Instant, now: &'a Now) -> Self {
        Self {
            timeout,
            start,
            now,
        }
    }

    /// The time left; an error if there is none.
    pub fn left(&self) -> Result<Duration, Error> {
        let passed = match (self.start, (self.now)()) {
            (Instant::Exact(start), Instant::Exact(now)) => now.saturating_duration_since(start),
            _ => Duration::ZERO,
        };
        let left = self.timeout.after.saturating_sub(passed);
        if left.is_zero() {
            return Err(self.missed());
        }
        Ok(left)
    }

    pub fn missed(&self) -> Error {
        Error::Timeout(self.timeout.reason)
    }
}
