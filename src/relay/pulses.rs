use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::ops::pulse::Pulse;
use crate::store::Store;

/// The signs of life of the loops that everything depends on.
pub(crate) struct Pulses {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    /// The dispatcher's; none at level `off`, which has no dispatcher.
    pub dispatcher: Option<Pulse>,
    /// When the relay had started, by the monotonic clock.
    pub started_at: Duration,
}

impl Pulses {
    /// The part whose loop has not turned for so long, if there is one. A commit that is refused is
    /// a turn: on a full disk another start would change nothing.
    pub fn hanging(&self, after: Duration) -> Option<&'static str> {
        if self.store.writer_busy_for() > after {
            return Some("database writer");
        }
        let now = self.clock.monotonic();
        let pulse = self.dispatcher.as_ref()?;
        let since = pulse
            .since(now)
            .unwrap_or(now.saturating_sub(self.started_at));
        (since > after).then_some("delivery dispatcher")
    }
}

#[cfg(test)]
mod tests;
