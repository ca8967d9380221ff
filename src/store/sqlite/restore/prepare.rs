//! The copy of a backup that becomes the database.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::cancel::cancel_bulk;
use super::comparison;
use super::pending::Old;
use crate::clock::Timestamp;
use crate::store::backup_error::{BackupError, RestoreError};
use crate::store::error::StoreError;
use crate::store::sqlite::paths::{directory_of, path_beside};
use crate::store::sqlite::space::free_bytes;
use crate::store::sqlite::{backup, hold, open, private};
use crate::store::types::{BulkOperation, Comparison, Hold};

/// The endings of the files that a connection to the copy may leave.
const LEFT: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// Removed when dropped, unless it was installed.
pub struct Prepared {
    path: PathBuf,
    is_installed: bool,
}

fn path_of(database: &Path) -> PathBuf {
    path_beside(database, ".restoring")
}

/// Removes a copy that an interrupted restore left; whether there was one.
pub fn remove_copy(database: &Path) -> io::Result<bool> {
    let path = path_of(database);
    let mut is_removed = false;
    for ending in LEFT {
        match fs::remove_file(path_beside(&path, ending)) {
            Ok(()) => is_removed = true,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(is_removed)
}

/// The same at a start, which nothing of it may prevent. For a database that is locked, and whose
/// files no restore has moved.
pub fn clear_copy(database: &Path) {
    let path = path_of(database);
    match remove_copy(database) {
        Ok(false) => {}
        Ok(true) => log::info!(
            "{}: removed: a restore that was interrupted had copied its backup there",
            path.display()
        ),
        Err(error) => log::warn!(
            error:%;
            "{}: can't be removed: a restore that was interrupted has left it",
            path.display()
        ),
    }
}

/// Refuses the database itself, by whatever name.
pub fn refuse_the_database(backup: &Path, database: &Path) -> Result<(), RestoreError> {
    let (Ok(one), Ok(other)) = (backup.metadata(), database.metadata()) else {
        return Ok(());
    };
    if (one.dev(), one.ino()) == (other.dev(), other.ino()) {
        return Err(RestoreError::IsDatabase {
            path: backup.to_owned(),
        });
    }
    Ok(())
}

impl Prepared {
    /// Copies a backup beside the database.
    pub fn copy(backup: &Path, database: &Path) -> Result<Self, RestoreError> {
        let of_backup = |source| BackupError::File {
            path: backup.to_owned(),
            source,
        };
        let found = backup.metadata().map_err(of_backup)?;
        if !found.is_file() {
            let source = io::Error::new(ErrorKind::InvalidInput, "expected a file");
            return Err(of_backup(source).into());
        }
        let mut from = File::open(backup).map_err(of_backup)?;
        let path = path_of(database);
        let failed = |source| RestoreError::File {
            path: path.clone(),
            source,
        };
        remove_copy(database).map_err(failed)?;
        let free = free_bytes(directory_of(database)).unwrap_or(u64::MAX);
        if free < found.len() {
            return Err(RestoreError::Backup(BackupError::NoRoom {
                path,
                needed: found.len(),
                free,
            }));
        }
        let mut to = private::create_new(&path).map_err(failed)?;
        let copy = Self {
            path: path.clone(),
            is_installed: false,
        };
        io::copy(&mut from, &mut to).map_err(failed)?;
        Ok(copy)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Brings the verified copy up to date: its schema, the hold, what was erased since, and with
    /// `is_settling` what was delivered since. Returns also the bulk operations that it cancels.
    /// Leaves one file without a WAL.
    pub fn prepare(
        &self,
        hold: &Hold,
        old: Option<&Path>,
        id: &str,
        is_settling: bool,
        now: Timestamp,
    ) -> Result<(Comparison, Vec<BulkOperation>), RestoreError> {
        let mut sql = open::writer(&self.path, &|| 0)?;
        let prepared = prepare(&mut sql, hold, old, id, is_settling, now);
        let closed = sql.close().map_err(|(_, error)| StoreError::from(error));
        let prepared = prepared?;
        closed?;
        Ok(prepared)
    }

    /// Gives the copy the owner of the database, or of its directory, and makes it durable.
    pub fn own_and_sync(&self, database: &Path) -> Result<(), RestoreError> {
        let owned = || {
            let file = File::options().read(true).write(true).open(&self.path)?;
            give_to_owner(&file, database)?;
            file.sync_all()
        };
        owned().map_err(|source| RestoreError::File {
            path: self.path.clone(),
            source,
        })
    }

    /// The copy is about to be installed: a failure from here on leaves it in place.
    pub fn into_path(mut self) -> PathBuf {
        self.is_installed = true;
        self.path.clone()
    }
}

/// The changes of the copy.
fn prepare(
    sql: &mut Connection,
    hold: &Hold,
    old: Option<&Path>,
    id: &str,
    is_settling: bool,
    now: Timestamp,
) -> Result<(Comparison, Vec<BulkOperation>), StoreError> {
    hold::set(sql, hold)?;
    backup::remove_manifest(sql)?;
    let old = Old::open(old, id);
    let comparison = comparison::compare(sql, &old, is_settling, now)?;
    let cancelled = cancel_bulk(sql, now)?;
    // The mode is in the file, and the last connection removes the WAL.
    open::trust(sql)?;
    let mode: String =
        sql.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get(0))?;
    if mode != "delete" {
        return Err(StoreError::Unexpected(format!(
            "the copy keeps journal_mode = {mode}"
        )));
    }
    Ok((comparison, cancelled))
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if self.is_installed {
            return;
        }
        for ending in LEFT {
            let path = path_beside(&self.path, ending);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    log::warn!(error:%; "{}: can't be removed", path.display());
                }
                _ => {}
            }
        }
    }
}

/// A lock file that the superuser has just made belongs to the owner of the database.
pub fn give_lock_file_to_owner(file: &File, database: &Path) -> Result<(), RestoreError> {
    give_to_owner(file, database).map_err(|source| RestoreError::File {
        path: path_beside(database, ".lock"),
        source,
    })
}

/// Gives a file the owner of the database; without one, of its directory.
fn give_to_owner(file: &File, database: &Path) -> io::Result<()> {
    let owner = match database.metadata() {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => directory_of(database).metadata()?,
        Err(error) => return Err(error),
    };
    let own = file.metadata()?;
    if (own.uid(), own.gid()) == (owner.uid(), owner.gid()) {
        return Ok(());
    }
    let is_ours = own.uid() == owner.uid();
    match std::os::unix::fs::fchown(file, Some(owner.uid()), Some(owner.gid())) {
        // The group alone differs, which only its members may give away.
        Err(_) if is_ours => Ok(()),
        result => result,
    }
}
