use std::fmt;
use std::time::Duration;

use crate::clock::timestamp::Timestamp;

/// A source of time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time to store and to schedule by. Never goes back while the process runs.
    fn now(&self) -> Timestamp;

    /// The wall clock: for signatures, dates from outside, and probes.
    fn wall(&self) -> Timestamp;

    /// The time since an arbitrary start. Never goes back.
    fn monotonic(&self) -> Duration;

    /// The milliseconds by which [`Clock::now`] is ahead of the wall clock; both are read at once.
    fn ahead(&self) -> i64;

    /// Continues from `now`, the time at which an earlier process ended. For the start only.
    fn resume(&self, now: Timestamp);

    /// Registers a call for each time that the clock is moved by hand. The system's clock never
    /// calls: its users bound their waits instead.
    fn on_jump(&self, _call: Box<dyn Fn() + Send + Sync>) {}
}
