//! A backup to be made.

use std::path::Path;

use crate::clock::Timestamp;
use crate::store::types::{BackupProgress, StopCheck};

/// A backup to be made.
pub struct BackupJob<'a> {
    /// The database, whose links are resolved.
    pub database: &'a Path,
    /// The file to be made, which must not exist.
    pub target: &'a Path,
    /// The moment of the copy, by relay's clock.
    pub now: Timestamp,
    /// Bytes that stay free on the database's disk.
    pub min_free: u64,
    pub pace: Pace,
    /// Whether to give up, since relay stops.
    pub is_stopped: StopCheck,
    pub progress: &'a dyn Fn(BackupProgress),
}

/// When the copy hurries, and when it gives up.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Bytes of the WAL from which on there are no pauses.
    pub unpaced_above: u64,
    /// The WAL may have one part in so many of the free disk.
    pub share_of_free: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            unpaced_above: 256 << 20,
            share_of_free: 4,
        }
    }
}
