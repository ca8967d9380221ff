//! Sole ownership of a database: an exclusive lock on a file beside it.
//!
//! On a file of its own, because opening and closing the database file in this process would drop
//! `SQLite`'s POSIX locks on it. The kernel releases the lock when the process ends, however it
//! ends; the file stays, since removing it would race with the next owner.
//!
//! The lock is on the inode, and a new server finds the inode by its path: a server that holds the
//! lock owns the database only while the path leads to the inode. When the file is removed or
//! replaced:
//!
//! - The server that has lost the path ends, because a new server cannot see its lock. At most one
//!   server holds the lock on the inode that the path leads to.
//! - Each transaction checks this ([`Ownership::check`]) between its beginning and its commit. A
//!   new server begins with a transaction of its own (`recover::wait_for_others`) before it reads
//!   anything that it relies on. `SQLite` allows one transaction at a time: a transaction of the
//!   old server was committed before the new server's first one, which then sees it, or began after
//!   it, when the path was the new server's, and is rolled back. So the old server acknowledges
//!   nothing that the new server does not know.
//!
//! Where there are abstract sockets, a new server is refused until the old one has ended
//! (`second_guard`).

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::ownership::{self, Ownership};
use super::process::{is_held, owner};
use super::record::{OWNER_BYTES, open_to_read};
use super::second_guard::{self, SecondGuard};
use super::writer::{self, LockFileWriter};
use crate::store::error::{OpenError, StoreError};
use crate::store::sqlite::paths::path_beside;
use crate::store::sqlite::private;

/// Attempts to take a held lock, [`PAUSE`] apart: 0.2 s in all, a fifth of the time within which a
/// second server must be refused. A command that asks whether a server runs holds the lock for
/// microseconds, and `relay unlock` for the duration of an fsync.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// The lock on the file that its path leads to.
pub struct Lock {
    /// Held for its lock, and written to for the record.
    file: Arc<File>,
    path: PathBuf,
    guard: SecondGuard,
}

impl Lock {
    pub fn record_writer(&self) -> LockFileWriter {
        LockFileWriter::new(Arc::clone(&self.file))
    }

    /// Keeps a second server out, even if the lock file is removed. For a database that exists.
    pub fn guard(&mut self, database: &Path) -> Result<(), OpenError> {
        self.guard = second_guard::acquire(database, || std::thread::sleep(PAUSE))?;
        Ok(())
    }

    /// Ends the guard of a database that is removed: a new file may get the number of its inode.
    pub fn end_guard(&mut self) {
        self.guard = SecondGuard::default();
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// The files that must stay in place. For a database that is open and in use: `SQLite` has
    /// created all of them by then.
    pub fn ownership(&self, database: &Path) -> Result<Ownership, StoreError> {
        Ownership::of(&self.file, &self.path, database)
    }
}

/// Makes this process the owner of a database. Creates the lock file if there is none.
pub fn acquire(database: &Path) -> Result<Lock, OpenError> {
    try_acquire(database, || std::thread::sleep(PAUSE))
}

/// Calls `pause` between two attempts.
fn try_acquire(database: &Path, mut pause: impl FnMut()) -> Result<Lock, OpenError> {
    let path = path_beside(database, ".lock");
    let failed = |source| OpenError::Lock {
        path: path.clone(),
        source,
    };
    let open = || {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(private::MODE)
            .open(&path)
            .map_err(failed)
    };
    let mut file = open()?;
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => {
                if ownership::is_at(&file, &path).map_err(failed)? {
                    return own(file, path.clone()).map_err(failed);
                }
                // The file was removed or replaced after it was opened: its lock protects nothing.
                file = open()?;
            }
            Err(TryLockError::WouldBlock) => pause(),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
    Err(OpenError::InUse {
        path: database.to_owned(),
        holder: owner(&file),
    })
}

fn own(file: File, path: PathBuf) -> std::io::Result<Lock> {
    writer::add_checksums(&file)?;
    // Writes the owner alone: a command may be changing the record at this moment.
    let owner = format!("{:<width$}\n", std::process::id(), width = OWNER_BYTES - 1);
    file.write_all_at(owner.as_bytes(), 0)?;
    Ok(Lock {
        file: Arc::new(file),
        path,
        guard: SecondGuard::default(),
    })
}

/// Refuses a database that a server owns.
pub fn refuse_if_held(database: &Path) -> Result<(), OpenError> {
    match open_to_read(database) {
        Ok(file) if is_held(database) => Err(OpenError::InUse {
            path: database.to_owned(),
            holder: owner(&file),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
