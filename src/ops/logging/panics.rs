//! Bounds the panics that are logged: one that each attempt meets must not fill the disk.

use std::time::Duration;

/// Panics that are logged in a window, at most.
const PANICS: u64 = 10;
/// The length of a window. The first panic after a window begins another.
const PANIC_WINDOW: Duration = Duration::from_secs(60);

/// Counts the panics of the current window.
#[derive(Debug, Default)]
pub(super) struct PanicLimiter {
    began_at: Duration,
    count: u64,
    /// Panics of earlier windows that were not logged.
    withheld: u64,
}

impl PanicLimiter {
    /// Whether to log a panic now; if so, the number of panics withheld before it.
    pub fn admit(&mut self, now: Duration) -> Option<u64> {
        if self.count == 0 || now.saturating_sub(self.began_at) >= PANIC_WINDOW {
            self.withheld += self.count.saturating_sub(PANICS);
            (self.began_at, self.count) = (now, 0);
        }
        self.count += 1;
        (self.count <= PANICS).then(|| std::mem::take(&mut self.withheld))
    }
}
