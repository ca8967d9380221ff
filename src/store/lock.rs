//! Sole ownership of a database: an exclusive lock on a file beside it.
//!
//! On a file of its own, because opening and closing the database file in our own process would
//! drop `SQLite`'s POSIX locks on it. The kernel lets go of the lock when the process ends, however
//! it ends; the file stays, since removing it would race with the next owner.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

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
