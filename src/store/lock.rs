//! Sole ownership of a database: an exclusive lock on a file beside it.
//!
//! On a file of its own, because opening and closing the database file in our own process would
//! drop `SQLite`'s POSIX locks on it. The kernel lets go of the lock when the process ends, however
//! it ends; the file stays, since removing it would race with the next owner.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::OpenError;

pub(super) struct Lock {
    /// Held for its lock alone.
    _file: File,
}

pub(super) fn path_beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

pub(super) fn acquire(database: &Path) -> Result<Lock, OpenError> {
    let path = path_beside(database, ".lock");
    let failed = |source| OpenError::Lock {
        path: path.clone(),
        source,
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Best effort: the owner is named if it can be read.
            let _ = file.read_to_string(&mut holder);
            let holder = match holder.trim() {
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
    file.set_len(0).map_err(failed)?;
    file.rewind().map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(Lock { _file: file })
}

/// Whether a process owns the database. It doesn't take the lock of one that nobody owns, which could
/// turn away a server that starts at this moment: the owner left its number in the file.
pub(super) fn is_held(database: &Path) -> bool {
    let path = path_beside(database, ".lock");
    let Ok(mut file) = File::open(&path) else {
        return false;
    };
    let mut holder = String::new();
    // What can't be read names nobody.
    let _ = file.read_to_string(&mut holder);
    let process = holder.trim().parse().ok().and_then(Pid::from_raw);
    let is_alive = process.is_some_and(|pid| {
        // One that may not be signalled is there all the same.
        !matches!(test_kill_process(pid), Err(Errno::SRCH))
    });
    // Its number may be another's by now; the lock tells.
    is_alive && matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}
