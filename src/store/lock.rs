//! Sole ownership of a database: an exclusive lock on a file beside it.
//!
//! On a file of its own, because opening and closing the database file in our own process would
//! drop `SQLite`'s POSIX locks on it. The kernel lets go of the lock when the process ends, however
//! it ends; the file stays, since removing it would race with the next owner.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::notes::{self, LockFileWriter};
use super::{OpenError, private};

/// The owner's number is padded to this, so that what follows ([`super::notes`]) stands at the same
/// place always.
pub(super) const OWNER: usize = 11;

pub(super) struct Lock {
    /// Held for its lock, and written to for the notes.
    file: Arc<File>,
}

impl Lock {
    pub fn notes(&self) -> LockFileWriter {
        LockFileWriter::new(Arc::clone(&self.file))
    }
}

/// The owner's number.
fn owner(file: &File) -> String {
    let mut bytes = [0; OWNER];
    // Best effort: what can't be read names nobody.
    let read = file.read_at(&mut bytes, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(&bytes[..read]);
    text.lines().next().unwrap_or_default().trim().to_owned()
}

pub(super) fn path_beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The lock file, without the lock: for what else stands in it.
pub(super) fn to_read(database: &Path) -> std::io::Result<File> {
    File::open(path_beside(database, ".lock"))
}

/// The same for a command that changes it.
pub(super) fn to_write(database: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .write(true)
        .open(path_beside(database, ".lock"))
}

pub(super) fn acquire(database: &Path) -> Result<Lock, OpenError> {
    let path = path_beside(database, ".lock");
    let failed = |source| OpenError::Lock {
        path: path.clone(),
        source,
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(private::MODE)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = match owner(&file).as_str() {
                "" => "owner unknown".to_owned(),
                pid => format!("process {pid}"),
            };
            return Err(OpenError::InUse {
                path: database.to_owned(),
                holder,
            });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    notes::convert(&file).map_err(failed)?;
    // The record stays: a command may be changing it just now.
    let owner = format!("{:<width$}\n", std::process::id(), width = OWNER - 1);
    file.write_all_at(owner.as_bytes(), 0).map_err(failed)?;
    Ok(Lock {
        file: Arc::new(file),
    })
}

/// Whether a process owns the database. It doesn't take the lock of one that nobody owns, which could
/// turn away a server that starts at this moment: the owner left its number in the file.
pub(super) fn is_held(database: &Path) -> bool {
    let path = path_beside(database, ".lock");
    let Ok(file) = File::open(&path) else {
        return false;
    };
    let process = owner(&file).parse().ok().and_then(Pid::from_raw);
    let is_alive = process.is_some_and(|pid| {
        // One that may not be signalled is there all the same.
        !matches!(test_kill_process(pid), Err(Errno::SRCH))
    });
    // Its number may be another's by now; the lock tells.
    is_alive && matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}
