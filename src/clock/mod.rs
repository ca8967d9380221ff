//! The relay's time. No other part asks the system for it.
//!
//! - [`Clock::now`] is the time to store and to schedule by. It starts at the wall clock, advances
//!   with a clock that nobody can set, and approaches the wall clock slowly. So a wall clock that
//!   jumps by hours or years makes nothing expire, come early or wait for years.
//! - [`Clock::wall`] is the wall clock, for times that others compare with their own clocks.
//! - Where several processes share a database, both follow the database's clock.
//! - [`Clock::monotonic`] measures intervals within the process.
//!
//! `contract`: the trait. `timestamp`: a time to store. `slewed`: the clock that approaches the
//! wall clock. `system`: the system's clocks; the only file that reads them. `fake`: a clock that
//! tests move by hand.

mod contract;
mod fake;
mod slewed;
mod system;
#[cfg(test)]
mod tests;
mod timestamp;

pub use contract::Clock;
pub use fake::FakeClock;
pub(crate) use system::Stopwatch;
pub use system::SystemClock;
pub use timestamp::Timestamp;
