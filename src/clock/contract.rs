use std::fmt;
use std::time::Duration;

use crate::clock::timestamp::Timestamp;

/// A source of time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time to store and to schedule by. Never goes back while the process runs.
    fn now(&self) -> Timestamp;

    /// The wall clock, or the one that is [followed](Clock::follow): for signatures, dates from
    /// outside, and probes.
    fn wall(&self) -> Timestamp;

    /// The time since an arbitrary start. Never goes back.
    fn monotonic(&self) -> Duration;

    /// The milliseconds by which [`Clock::now`] is ahead of the wall clock; both are read at once.
    fn ahead(&self) -> i64;

    /// Continues from `now`, the time at which an earlier process ended. For the start only.
    fn resume(&self, now: Timestamp);

    /// Follows the clock of a database that several processes share instead of the system's wall
    /// clock: it is so many nanoseconds ahead of the time since boot. The first call, at the start,
    /// sets [`Clock::now`]; later ones draw it slowly. A clock that is moved by hand follows
    /// nobody.
    fn follow(&self, _ahead_of_boot: i64) {}

    /// Registers a call for each time that the clock is moved by hand. The system's clock never
    /// calls: its users bound their waits instead.
    fn on_jump(&self, _call: Box<dyn Fn() + Send + Sync>) {}
}
