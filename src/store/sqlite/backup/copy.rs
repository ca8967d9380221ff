//! Copies the pages of a database, beside a server's traffic.
//!
//! The copy is made within one read transaction. Without it SQLite would begin anew whenever
//! somebody commits, and never end beside traffic (measured). The transaction keeps the WAL from
//! being emptied meanwhile: the copy goes in small steps with pauses while the WAL is small,
//! without pauses once it is large, and gives up before it fills the disk.

use std::path::Path;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode};

use super::job::BackupJob;
use super::partial::Partial;
use crate::store::backup_error::BackupError;
use crate::store::sqlite::open;
use crate::store::sqlite::paths::{directory_of, path_beside};
use crate::store::sqlite::space::free_bytes;
use crate::store::types::BackupProgress;

/// Pages of a paced step: 256 KiB.
const PACED_PAGES: i32 = 64;
/// Pages of a step without a pause: 4 MiB.
const PAGES: i32 = 1024;
/// The pause after a paced step. Some 60 MiB a second are copied, at most.
const PAUSE: Duration = Duration::from_millis(4);
/// Paced steps between two syncs of the copy, 16 MiB: a sync of all of it at the end would hold up
/// the commits of the server on the same disk.
const SYNC_EVERY: u32 = 64;
/// Steps that SQLite may refuse in a row, for a lock that somebody has on the database.
const MAX_REFUSED: u32 = 1_250;

/// Copies the database into the file.
pub fn copy(job: &BackupJob<'_>, partial: &Partial) -> Result<(), BackupError> {
    let source = open::snapshot(job.database).map_err(|error| unreadable(job, error))?;
    let begun = source.unchecked_transaction();
    let snapshot = begun.map_err(|error| unreadable(job, error))?;
    // The snapshot is that of the first read.
    let read = |sql: &str| snapshot.query_row(sql, [], |row| row.get::<_, i64>(0));
    let bytes = read("SELECT count(*) FROM sqlite_schema")
        .and_then(|_| Ok(read("PRAGMA page_count")?.saturating_mul(read("PRAGMA page_size")?)))
        .map_err(|error| unreadable(job, error))?;
    refuse_without_room(job, partial.path(), bytes.unsigned_abs())?;
    let mut target = open::copy(partial.path()).map_err(|error| partial.refused(error))?;
    copy_pages(job, partial, &snapshot, &mut target)?;
    target
        .close()
        .map_err(|(_, error)| partial.refused(error))?;
    Ok(())
}

fn copy_pages(
    job: &BackupJob<'_>,
    partial: &Partial,
    source: &Connection,
    target: &mut Connection,
) -> Result<(), BackupError> {
    let backup = Backup::new(source, target).map_err(|error| partial.refused(error))?;
    let (mut steps, mut refused) = (0_u32, 0);
    loop {
        if job.is_stopped.is_set() {
            return Err(BackupError::Stopped);
        }
        let is_paced = look_at_wal(job)?;
        let pages = if is_paced { PACED_PAGES } else { PAGES };
        let step = backup
            .step(pages)
            .map_err(|error| failed(job, partial, error))?;
        let progress = backup.progress();
        let of = u64::from(progress.pagecount.unsigned_abs());
        let left = u64::from(progress.remaining.unsigned_abs());
        match step {
            StepResult::Done => {
                (job.progress)(BackupProgress::Copied { pages: of, of });
                return Ok(());
            }
            StepResult::Busy | StepResult::Locked => {
                refused += 1;
                if refused > MAX_REFUSED {
                    return Err(BackupError::Busy);
                }
            }
            _ => refused = 0,
        }
        (job.progress)(BackupProgress::Copied {
            pages: of.saturating_sub(left),
            of,
        });
        steps += 1;
        if is_paced && steps.is_multiple_of(SYNC_EVERY) {
            let synced = partial.file().sync_data();
            synced.map_err(|source| partial.failed(source))?;
        }
        if is_paced || refused > 0 {
            std::thread::sleep(PAUSE);
        }
    }
}

/// Whether the WAL is small enough for pauses. An error if it is so large that the copy has to end.
fn look_at_wal(job: &BackupJob<'_>) -> Result<bool, BackupError> {
    let wal = path_beside(job.database, "-wal");
    let wal = wal.metadata().map_or(0, |found| found.len());
    if wal <= job.pace.unpaced_above {
        return Ok(true);
    }
    let free = free_bytes(directory_of(job.database)).unwrap_or(u64::MAX);
    if wal > free / job.pace.share_of_free {
        return Err(BackupError::WalTooLarge { wal, free });
    }
    Ok(false)
}

/// Refuses a copy for which there is no room. On the database's disk `min_free` stays free.
fn refuse_without_room(job: &BackupJob<'_>, target: &Path, bytes: u64) -> Result<(), BackupError> {
    use std::os::unix::fs::MetadataExt as _;

    let (at, database) = (directory_of(target), directory_of(job.database));
    let Ok(free) = free_bytes(at) else {
        return Ok(());
    };
    let is_shared = match (at.metadata(), database.metadata()) {
        (Ok(one), Ok(other)) => one.dev() == other.dev(),
        _ => false,
    };
    let kept = if is_shared { job.min_free } else { 0 };
    let needed = bytes.saturating_add(kept);
    if free < needed {
        return Err(BackupError::NoRoom {
            path: target.to_owned(),
            needed,
            free,
        });
    }
    Ok(())
}

fn unreadable(job: &BackupJob<'_>, error: rusqlite::Error) -> BackupError {
    BackupError::Engine {
        path: job.database.to_owned(),
        source: error.into(),
    }
}

/// A step reads one file and writes the other. A full disk is that of the copy.
fn failed(job: &BackupJob<'_>, partial: &Partial, error: rusqlite::Error) -> BackupError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull | ErrorCode::CannotOpen) => partial.refused(error),
        _ => unreadable(job, error),
    }
}
