//! Whether a file is a whole backup.

use std::fs::File;
use std::path::Path;

use rusqlite::{Connection, ErrorCode};

use super::digest::{self, damaged, unreadable};
use super::manifest;
use crate::store::backup_error::{BackupError, Damage};
use crate::store::sqlite::open;
use crate::store::types::{Manifest, StopCheck, VerifiedBackup};

/// Virtual machine operations between two looks whether to stop: some milliseconds.
const LOOK_EVERY: i32 = 100_000;

/// Verifies a file: its digest, SQLite's own check of every page, and the manifest against the
/// content. Changes nothing.
pub fn verify(path: &Path) -> Result<VerifiedBackup, BackupError> {
    let io = |source| BackupError::File {
        path: path.to_owned(),
        source,
    };
    // A pipe would be waited for.
    if !path.metadata().map_err(io)?.is_file() {
        return Err(damaged(path, Damage::NoManifest));
    }
    let file = File::open(path).map_err(io)?;
    // SQLite reads the path as that of a URI.
    let resolved = path.canonicalize().map_err(io)?;
    let mut verified = verify_open(&file, &resolved, &StopCheck::never())?;
    path.clone_into(&mut verified.path);
    Ok(verified)
}

/// The manifest of a file, unverified.
pub fn manifest_of(path: &Path) -> Result<Manifest, BackupError> {
    open::immutable(path)
        .and_then(|sql| manifest::read(&sql))
        .map_err(|error| damaged(path, unreadable(error)))
}

/// The same for a file that is open.
pub fn verify_open(
    file: &File,
    path: &Path,
    is_stopped: &StopCheck,
) -> Result<VerifiedBackup, BackupError> {
    let sha256 = digest::check(file, path, is_stopped)?;
    let sql = open::immutable(path).map_err(|error| damaged(path, unreadable(error)))?;
    let found = manifest::read(&sql).map_err(|error| damaged(path, unreadable(error)))?;
    if found.schema_version > open::VERSION {
        return Err(BackupError::Newer {
            path: path.to_owned(),
            found: found.schema_version,
            known: open::VERSION,
        });
    }
    let stop = is_stopped.clone();
    let handler = sql.progress_handler(LOOK_EVERY, Some(move || stop.is_set()));
    handler.map_err(|error| damaged(path, unreadable(error)))?;
    let content = check_pages(&sql).and_then(|()| manifest::describe(&sql, found.taken_at));
    let content = content.map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => BackupError::Stopped,
        _ => damaged(path, unreadable(error)),
    })?;
    if content.newest != found.newest || content.counts != found.counts {
        return Err(damaged(path, Damage::Content));
    }
    let bytes = file.metadata().map_err(|source| BackupError::File {
        path: path.to_owned(),
        source,
    })?;
    Ok(VerifiedBackup {
        path: path.to_owned(),
        bytes: bytes.len(),
        sha256,
        manifest: found,
    })
}

/// SQLite's own check. An error has its first finding.
fn check_pages(sql: &Connection) -> rusqlite::Result<()> {
    let found: String = sql.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if found == "ok" {
        return Ok(());
    }
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(rusqlite::Error::SqliteFailure(code, Some(found)))
}
