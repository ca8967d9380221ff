//! Sole ownership of a database: an exclusive lock on a file beside it.
//!
//! On a file of its own, because opening and closing the database file in our own process would
//! drop `SQLite`'s POSIX locks on it. The kernel lets go of the lock when the process ends, however
//! it ends; the file stays, since removing it would race with the next owner.
//!
//! Beside the owner's number it holds a mark: the newest intent that is known to be on the disk. A
//! database that doesn't hold it has lost its WAL, or is an older copy, and nobody is served from it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Read;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::OpenError;

/// The owner's number is padded to this, so that the mark stands at the same place always.
const OWNER: usize = 11;

pub(super) struct Lock {
    /// Held for its lock, and written to for the mark.
    file: Arc<File>,
    /// What the last owner left: 0, or a row that the database must hold.
    pub mark: i64,
}

/// Where the mark is written to.
pub(super) struct Mark {
    file: Arc<File>,
    written: i64,
    is_failing: bool,
}

impl Lock {
    pub fn mark(&self) -> Mark {
        Mark {
            file: Arc::clone(&self.file),
            written: self.mark,
            is_failing: false,
        }
    }
}

impl Mark {
    /// The newest row is this one, and durable; 0 if it isn't known. Not synced: a mark that is too
    /// old finds less, and does no harm.
    pub fn set(&mut self, row: i64) {
        if self.written == row {
            return;
        }
        match put_mark(&self.file, row) {
            Ok(()) => {
                self.written = row;
                self.is_failing = false;
            }
            Err(error) => {
                if !self.is_failing {
                    log::warn!(error:% = error; "the lock file can't be written: a database that loses its WAL may go unnoticed");
                }
                self.is_failing = true;
            }
        }
    }

    /// Rows up to this one are about to be deleted, and the mark's may be one of them. Synced: a mark
    /// that outlives its row would keep a healthy database from being served.
    pub fn forget_up_to(&mut self, row: i64) -> std::io::Result<()> {
        if (1..=row).contains(&self.written) {
            put_mark(&self.file, 0)?;
            self.file.sync_data()?;
            self.written = 0;
        }
        Ok(())
    }
}

fn put_mark(file: &File, row: i64) -> std::io::Result<()> {
    file.write_all_at(format!("{row:020}\n").as_bytes(), OWNER as u64)
}

/// The owner's number, and the mark.
fn contents(file: &mut File) -> (String, i64) {
    let mut text = String::new();
    // Best effort: what can't be read names nobody, and marks nothing.
    let _ = file.read_to_string(&mut text);
    let mut lines = text.lines();
    let owner = lines.next().unwrap_or_default().trim().to_owned();
    let mark = lines.next().and_then(|line| line.trim().parse().ok());
    (owner, mark.unwrap_or(0))
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
            let holder = match contents(&mut file).0.as_str() {
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
    let (_, mark) = contents(&mut file);
    let owner = format!("{:<width$}\n", std::process::id(), width = OWNER - 1);
    file.write_all_at(owner.as_bytes(), 0).map_err(failed)?;
    put_mark(&file, mark).map_err(failed)?;
    Ok(Lock {
        file: Arc::new(file),
        mark,
    })
}

/// For a command that deletes the newest intents: they are no longer to be expected.
pub(super) fn forget_mark(database: &Path) -> std::io::Result<()> {
    match OpenOptions::new()
        .write(true)
        .open(path_beside(database, ".lock"))
    {
        Ok(file) => {
            put_mark(&file, 0)?;
            file.sync_data()
        }
        // No server ever ran.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether a process owns the database. It doesn't take the lock of one that nobody owns, which could
/// turn away a server that starts at this moment: the owner left its number in the file.
pub(super) fn is_held(database: &Path) -> bool {
    let path = path_beside(database, ".lock");
    let Ok(mut file) = File::open(&path) else {
        return false;
    };
    let (owner, _) = contents(&mut file);
    let process = owner.parse().ok().and_then(Pid::from_raw);
    let is_alive = process.is_some_and(|pid| {
        // One that may not be signalled is there all the same.
        !matches!(test_kill_process(pid), Err(Errno::SRCH))
    });
    // Its number may be another's by now; the lock tells.
    is_alive && matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}
