//! A clock that approaches the wall clock slowly, at most 5 % faster or slower than real time.

use std::time::Duration;

/// The largest deviation from the speed of real time while the clocks differ: one part in twenty. A
/// decision: every wait and window stays within 5 % of its length, a clock that was a minute off is
/// followed within 20 minutes and one that was two hours off within two days.
pub(super) const SLEW: i64 = 20;
/// A millisecond, in nanoseconds.
pub(super) const MILLI: i64 = 1_000_000;
/// The smallest jump of the wall clock that is logged, in nanoseconds: one second.
const JUMP: i64 = 1_000_000_000;

/// The time since the Unix epoch, which advances evenly while the wall clock is being set. All
/// fields are in nanoseconds, and all arithmetic saturates.
#[derive(Debug)]
pub(super) struct SlewedClock {
    now: i64,
    /// The monotonic clock at the last reading.
    elapsed: i64,
    /// The wall clock's lead at the last reading.
    gap: i64,
}

impl SlewedClock {
    pub fn starting_at(wall: i64) -> Self {
        Self {
            now: wall,
            elapsed: 0,
            gap: 0,
        }
    }

    pub fn resume(&mut self, elapsed: i64, wall: i64, now: i64) {
        *self = Self {
            now,
            elapsed,
            gap: wall.saturating_sub(now),
        };
    }

    /// The time now, and the jump of the wall clock since the last reading, if it jumped.
    pub fn follow(&mut self, elapsed: i64, wall: i64) -> (i64, Option<i64>) {
        let passed = elapsed.saturating_sub(self.elapsed).max(0);
        self.elapsed = self.elapsed.saturating_add(passed);
        let gap = wall.saturating_sub(self.now.saturating_add(passed));
        let jump = gap.saturating_sub(self.gap);
        let slew = gap.clamp(-passed / SLEW, passed / SLEW);
        let advance = passed.saturating_add(slew);
        self.now = self.now.saturating_add(advance);
        self.gap = gap.saturating_sub(slew);
        (self.now, (jump.saturating_abs() >= JUMP).then_some(jump))
    }

    /// The lead over the wall clock at the last reading.
    pub fn ahead(&self) -> i64 {
        self.gap.saturating_neg()
    }
}

/// Nanoseconds of a duration. Saturates.
pub(super) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
