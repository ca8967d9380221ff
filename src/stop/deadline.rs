use std::time::Duration;

use crate::clock::Stopwatch;

/// A moment to be done by, in real time: a clock that a test moves by hand must not keep a process
/// from ending.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    since: Stopwatch,
    within: Duration,
}

impl Deadline {
    /// The moment `within` from now.
    pub fn within(within: Duration) -> Self {
        Self {
            since: Stopwatch::start(),
            within,
        }
    }

    /// This moment.
    pub fn now() -> Self {
        Self::within(Duration::ZERO)
    }

    /// The moment `more` later.
    pub fn plus(self, more: Duration) -> Self {
        Self {
            within: self.within.saturating_add(more),
            ..self
        }
    }

    /// The time that is left, or zero.
    pub fn left(self) -> Duration {
        self.within.saturating_sub(self.since.elapsed())
    }
}
