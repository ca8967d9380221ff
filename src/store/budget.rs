//! The space that the database may use, and uses: shared by the writer, which measures it, by
//! acceptance, which it stops, and by maintenance, which makes room.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::store::types::SpaceUse;

/// Stands for no bound, and for no forecast.
const NONE: u64 = u64::MAX;

/// The bound, and the space that was used when it was measured last.
pub struct Budget {
    max: AtomicU64,
    used: AtomicU64,
    /// Seconds until the database is full.
    full_in: AtomicU64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            max: AtomicU64::new(NONE),
            used: AtomicU64::new(0),
            full_in: AtomicU64::new(NONE),
        }
    }
}

fn some(number: u64) -> Option<u64> {
    (number != NONE).then_some(number)
}

impl Budget {
    pub fn max(&self) -> Option<u64> {
        some(self.max.load(Ordering::Relaxed))
    }

    pub fn set_max(&self, max: Option<u64>) {
        self.max.store(max.unwrap_or(NONE), Ordering::Relaxed);
    }

    pub fn set_used(&self, used: u64) {
        self.used.store(used, Ordering::Relaxed);
    }

    pub fn set_forecast(&self, full_in: Option<Duration>) {
        let seconds = full_in.map_or(NONE, |left| left.as_secs());
        self.full_in.store(seconds, Ordering::Relaxed);
    }

    /// Whether there is a bound.
    pub fn is_bounded(&self) -> bool {
        self.max().is_some()
    }

    /// Whether nothing more may be accepted.
    pub fn is_spent(&self) -> bool {
        self.used.load(Ordering::Relaxed) >= self.max.load(Ordering::Relaxed)
    }

    pub fn space_use(&self) -> SpaceUse {
        SpaceUse {
            used: self.used.load(Ordering::Relaxed),
            max: self.max(),
            full_in: some(self.full_in.load(Ordering::Relaxed)).map(Duration::from_secs),
        }
    }
}
