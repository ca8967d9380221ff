//! The dispatcher's pulse, for the heartbeat: when it ticked last.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// When a loop turned last; clones share it. It costs a store in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// The loop turns, at this time of the monotonic clock.
    pub fn beat(&self, now: Duration) {
        self.0.store(millis(now).max(1), Ordering::Relaxed);
    }

    /// The time since it turned last; none if it never did.
    pub fn since(&self, now: Duration) -> Option<Duration> {
        let last = self.0.load(Ordering::Relaxed);
        let since = millis(now).saturating_sub(last);
        (last > 0).then_some(Duration::from_millis(since))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
