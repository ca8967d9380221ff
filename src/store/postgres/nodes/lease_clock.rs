//! The clock that leases are measured by.

use crate::clock::SystemClock;

/// The time since boot, in milliseconds. It advances while the machine sleeps, so that a node that
/// was suspended finds its lease lapsed.
pub fn boot_millis() -> u64 {
    u64::try_from(SystemClock::boot_time().as_millis()).unwrap_or(u64::MAX)
}

/// The same in nanoseconds.
pub fn boot_nanos() -> i64 {
    i64::try_from(SystemClock::boot_time().as_nanos()).unwrap_or(i64::MAX)
}
