//! The writer's heartbeat, for readiness. It is kept in atomics, so that a check costs neither a
//! commit nor a reader, however often it is asked for.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use super::StoreError;
use super::open::BUSY_TIMEOUT;

/// How long the writer may be at one batch, or at one idle pass, before it counts as stalled: as
/// long as it waits for another process's transaction. A batch takes milliseconds, and a checkpoint
/// of the largest WAL (64 MiB) less than a second on a disk that writes 100 MB/s.
pub(super) const STALLED_AFTER: Duration = BUSY_TIMEOUT;

/// Why the store can't take writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Unready {
    /// There is less free space than `database.min_free_bytes`.
    LowOnSpace = 1,
    /// The last batch was refused: the disk is full.
    DiskFull,
    /// The last batch was refused: another process held the database.
    Locked,
    /// The last batch was refused for another reason; the log has it.
    Refused,
    /// The writer has been at one batch for longer than [`STALLED_AFTER`]: a sync that hangs.
    Stalled,
    /// The writer has ended: the process is about to.
    Ended,
}

impl Unready {
    /// One sentence for a client; it shows nothing about what is stored.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::LowOnSpace => {
                "too little free space on the database's disk (database.min_free_bytes)"
            }
            Self::DiskFull => "the database's disk is full",
            Self::Locked => "another process keeps the database locked",
            Self::Refused => "the database refuses writes",
            Self::Stalled => "the database takes too long to answer",
            Self::Ended => "the database does not answer",
        }
    }

    fn of(error: &StoreError) -> Self {
        match error {
            StoreError::DiskFull => Self::DiskFull,
            StoreError::Busy => Self::Locked,
            _ => Self::Refused,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        [Self::DiskFull, Self::Locked, Self::Refused]
            .into_iter()
            .find(|&refused| refused as u8 == number)
    }
}

/// Published by the writer, read by anybody.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// When the writer began its batch or its idle pass, in milliseconds of the monotonic clock,
    /// plus 1; 0 while it waits for work.
    busy_since: AtomicU64,
    /// Why the last batch was refused ([`Unready`] as a number); 0 if it was committed.
    refused: AtomicU8,
    has_ended: AtomicBool,
    /// Whether the last look found it stalled, so that each stall is logged once.
    was_stalled: AtomicBool,
}

impl Health {
    /// The writer begins a batch or an idle pass.
    pub fn begin(&self, now: Duration) {
        self.busy_since.store(millis(now) + 1, Ordering::Relaxed);
    }

    /// The writer waits for work.
    pub fn rest(&self) {
        self.busy_since.store(0, Ordering::Relaxed);
    }

    /// A batch was committed. Whether the one before it was refused.
    pub fn accepting(&self) -> bool {
        self.refused.swap(0, Ordering::Relaxed) != 0
    }

    /// A batch was refused as a whole. Whether the one before it was committed.
    pub fn refusing(&self, error: &StoreError) -> bool {
        self.refused
            .swap(Unready::of(error) as u8, Ordering::Relaxed)
            == 0
    }

    /// Whether the last batch was refused as a whole.
    pub fn is_refusing(&self) -> bool {
        self.refused.load(Ordering::Relaxed) != 0
    }

    /// The writer's thread is over.
    pub fn ended(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }

    /// Whether writes can be taken at `now` of the monotonic clock. A full queue is no reason
    /// against it: it drains within a few batches, and the requests that it refuses are told so.
    pub fn check(&self, now: Duration) -> Result<(), Unready> {
        if self.has_ended.load(Ordering::Relaxed) {
            return Err(Unready::Ended);
        }
        let busy_since = self.busy_since.load(Ordering::Relaxed);
        let busy_for = millis(now).saturating_sub(busy_since.saturating_sub(1));
        let is_stalled = busy_since > 0 && busy_for > millis(STALLED_AFTER);
        if self.was_stalled.swap(is_stalled, Ordering::Relaxed) != is_stalled {
            if is_stalled {
                log::warn!(busy_for_ms = busy_for; "the writer is stalled: the disk, or another process that holds the database, doesn't let it go on");
            } else {
                log::info!("the writer is no longer stalled");
            }
        }
        if is_stalled {
            return Err(Unready::Stalled);
        }
        Unready::from_number(self.refused.load(Ordering::Relaxed)).map_or(Ok(()), Err)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX - 1)
}
