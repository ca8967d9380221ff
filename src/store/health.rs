//! The writer's heartbeat, for readiness. It is kept in atomics, so that a check costs neither a
//! commit nor a reader, however often it is made.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use crate::store::error::StoreError;
use crate::store::types::Unready;

/// How long the writer may work on one batch, or tidy up, before it counts as stalled: as long as
/// SQLite waits for another process's transaction. A batch takes milliseconds, and a checkpoint of
/// the largest WAL (64 MiB) less than a second on a disk that writes 100 MB/s.
pub const STALLED_AFTER: Duration = Duration::from_secs(5);

/// The reason that a refused batch gives.
fn reason(error: &StoreError) -> Unready {
    match error {
        StoreError::Full => Unready::DiskFull,
        StoreError::Busy => Unready::Locked,
        _ => Unready::Refused,
    }
}

fn from_number(number: u8) -> Option<Unready> {
    [Unready::DiskFull, Unready::Locked, Unready::Refused]
        .into_iter()
        .find(|&refused| refused as u8 == number)
}

/// Published by the writer, read by anybody.
#[derive(Debug, Default)]
pub struct WriterHealth {
    /// When the writer began its batch or its tidying up, in milliseconds of the monotonic clock,
    /// plus 1; 0 while it waits for work.
    busy_since: AtomicU64,
    /// Why the last batch was refused ([`Unready`] as a number); 0 if it was committed.
    refused: AtomicU8,
    has_ended: AtomicBool,
    /// Whether the last check found it stalled, so that each stall is logged once.
    was_stalled: AtomicBool,
}

impl WriterHealth {
    /// The writer begins a batch, or tidies up.
    pub fn begin(&self, now: Duration) {
        self.busy_since.store(millis(now) + 1, Ordering::Relaxed);
    }

    /// The writer waits for work.
    pub fn rest(&self) {
        self.busy_since.store(0, Ordering::Relaxed);
    }

    /// A batch was committed; whether the one before it was refused.
    pub fn accepting(&self) -> bool {
        self.refused.swap(0, Ordering::Relaxed) != 0
    }

    /// A batch was refused as a whole; whether the one before it was committed.
    pub fn refusing(&self, error: &StoreError) -> bool {
        self.refused.swap(reason(error) as u8, Ordering::Relaxed) == 0
    }

    /// Whether the last batch was refused as a whole.
    pub fn is_refusing(&self) -> bool {
        self.refused.load(Ordering::Relaxed) != 0
    }

    /// The writer's thread is over.
    pub fn ended(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }

    /// How long the writer has been at its batch, at `now` of the monotonic clock: no time while it
    /// waits for work, and for ever if its thread is over.
    pub fn busy_for(&self, now: Duration) -> Duration {
        if self.has_ended.load(Ordering::Relaxed) {
            return Duration::MAX;
        }
        match self.busy_since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_millis(millis(now).saturating_sub(since - 1)),
        }
    }

    /// Whether writes can be taken at `now` of the monotonic clock. A full queue does not matter:
    /// it drains within a few batches, and the requests that it refuses get an answer.
    pub fn check(&self, now: Duration) -> Result<(), Unready> {
        if self.has_ended.load(Ordering::Relaxed) {
            return Err(Unready::Ended);
        }
        let busy_for = self.busy_for(now);
        let is_stalled = busy_for > STALLED_AFTER;
        if self.was_stalled.swap(is_stalled, Ordering::Relaxed) != is_stalled {
            if is_stalled {
                log::warn!(
                    busy_for_ms = millis(busy_for);
                    "the writer is stalled: the disk, or another process that holds the database, doesn't let it go on"
                );
            } else {
                log::info!("the writer is no longer stalled");
            }
        }
        if is_stalled {
            return Err(Unready::Stalled);
        }
        from_number(self.refused.load(Ordering::Relaxed)).map_or(Ok(()), Err)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX - 1)
}
