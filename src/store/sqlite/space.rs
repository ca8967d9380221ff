//! The free space of the database's disk.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use rusqlite::ffi::SQLITE_IOERR_WRITE;
use rustix::process::{Resource, getrlimit};

use super::paths::{directory_of, path_beside};
use super::private;
use super::shared::Shared;
use crate::ops::series::Series;
use crate::store::error::StoreError;
use crate::store::limits::MAX_BATCH_BYTES;

/// How long a measurement of the free space is valid, if little is written.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// Measurements while as much is written as is kept free: at 30 MB/s of WAL, one measurement a
/// second would find half of the default's 64 MiB gone.
const MEASUREMENTS: u64 = 16;
/// Bytes of WAL for a batch: its payloads may be copied into overflow pages and indexes.
const FOR_A_BATCH: u64 = 2 * MAX_BATCH_BYTES as u64;

/// Bytes that are written to find out whether a quota is used up: some blocks of any file system.
const QUOTA_PROBE: usize = 64 << 10;

/// Measures how much may be written to a disk, in bytes.
pub type FreeBytes = Box<dyn Fn(&Path) -> std::io::Result<u64> + Send>;

/// Watches the free space of the database's disk. On a full disk even a DELETE fails, so ingestion
/// stops while there is still room to settle accepted deliveries. The room that the next checkpoint
/// needs in the database counts as taken: without it the WAL could never be emptied.
pub struct Space {
    directory: PathBuf,
    database: PathBuf,
    min_free: u64,
    free_bytes: FreeBytes,
    /// Measurements that failed.
    failed: Series,
    read_at: Option<Duration>,
    /// Bytes of the WAL at the last measurement.
    wal: u64,
    /// Free bytes at the last measurement.
    free: u64,
    /// Bytes that the next checkpoint needs.
    needed: u64,
}

/// The free space according to the system.
pub fn free_bytes(directory: &Path) -> std::io::Result<u64> {
    let stat = rustix::fs::statvfs(directory)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The error of a write: a quota that is used up counts as a full disk, and heals like one; so does
/// the limit of a file's size. `SQLite` takes them for I/O errors, since it knows no other lack of
/// room than ENOSPC. Between the write and this look the quota may have been raised: so the first
/// look that finds room after one that found none is not believed.
pub fn full_if_over_quota(error: StoreError, shared: &Shared) -> StoreError {
    let StoreError::Broken(broken) = &error else {
        return error;
    };
    let code = broken
        .downcast_ref::<rusqlite::Error>()
        .and_then(rusqlite::Error::sqlite_error);
    let is_write = code.is_some_and(|code| code.extended_code == SQLITE_IOERR_WRITE);
    if !is_write {
        return error;
    }
    let is_over = is_at_size_limit(&shared.path) || is_over_quota(directory_of(&shared.path));
    let was_over = shared.is_over_quota.swap(is_over, Ordering::Relaxed);
    if is_over || was_over {
        return StoreError::Full;
    }
    error
}

/// Whether the database or its WAL is as large as this process may make a file: see `getrlimit`.
fn is_at_size_limit(database: &Path) -> bool {
    let limit = getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX);
    let wal = path_beside(database, "-wal");
    [database, &wal].into_iter().any(|file| {
        // A write up to the limit is cut short, and only the next one fails.
        file.metadata().is_ok_and(|found| found.len() >= limit)
    })
}

/// Whether a file in this directory may not grow, because of a quota of the user's, the project's
/// or the volume's.
fn is_over_quota(directory: &Path) -> bool {
    let path = directory.join(format!(".relay-quota-{}", std::process::id()));
    // Zeros would take no room where the file system compresses.
    let mut bytes = vec![0; QUOTA_PROBE];
    rand::fill(&mut bytes);
    let written = private::create_new(&path).and_then(|mut file| file.write_all(&bytes));
    // It was never there if it couldn't be created.
    let _ = std::fs::remove_file(&path);
    let is_refused = |kind| matches!(kind, ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge);
    written.is_err_and(|error| is_refused(error.kind()))
}

impl Space {
    pub fn new(database: &Path, min_free: u64, free_bytes: FreeBytes) -> Self {
        Self {
            directory: directory_of(database).to_owned(),
            database: database.to_owned(),
            min_free,
            free_bytes,
            failed: Series::default(),
            read_at: None,
            wal: 0,
            free: u64::MAX,
            needed: 0,
        }
    }

    /// Measures the free space, unless it was measured just now, and publishes whether it is
    /// enough. `wal` is the size of the WAL; `size` tells the size of the database once the WAL is
    /// moved.
    pub fn refresh(&mut self, shared: &Shared, wal: u64, size: impl FnOnce() -> u64) {
        let now = shared.clock.monotonic();
        let is_fresh = self
            .read_at
            .is_some_and(|at| now.saturating_sub(at) < GOOD_FOR);
        if is_fresh && wal.abs_diff(self.wal) < (self.min_free / MEASUREMENTS).max(1 << 20) {
            return;
        }
        self.read_at = Some(now);
        self.wal = wal;
        let there = self.database.metadata().map_or(0, |found| found.len());
        self.needed = size().saturating_sub(there);
        self.free = (self.free_bytes)(&self.directory).unwrap_or_else(|error| {
            if self.failed.begins(now) {
                log::warn!(
                    error:% = error;
                    "the disk's free space can't be read: database.min_free_bytes keeps nothing free"
                );
            }
            u64::MAX
        });
        let usable = match self.free {
            u64::MAX => u64::MAX,
            free => free.saturating_sub(self.needed),
        };
        shared.free_bytes.store(usable, Ordering::Relaxed);
        let low = self.free < self.min_free.saturating_add(self.needed);
        if low != shared.low_space.swap(low, Ordering::Relaxed) {
            if low {
                log::warn!(
                    min_free_bytes = self.min_free,
                    free_bytes = self.free,
                    checkpoint_needs_bytes = self.needed;
                    "little free space on the database's disk: refusing new events until there is more"
                );
            } else {
                log::info!(
                    "there is enough free space on the database's disk again: accepting events"
                );
            }
        }
    }

    /// Whether one more batch could leave less than the next checkpoint needs.
    pub fn is_needed_by_the_checkpoint(&self) -> bool {
        self.needed > 0 && self.free < self.needed.saturating_add(FOR_A_BATCH)
    }
}
