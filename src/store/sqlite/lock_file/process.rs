//! The process that owns a database, by the number that it wrote into the lock file.

use std::fs::{File, Metadata, TryLockError};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::record::{OWNER_BYTES, open_to_read};

/// The number in a lock file. Best effort: an unreadable file gives none.
fn number(file: &File) -> Option<Pid> {
    let mut bytes = [0; OWNER_BYTES];
    let read = file.read_at(&mut bytes, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(&bytes[..read]);
    let first = text.lines().next()?;
    Pid::from_raw(first.trim().parse().ok()?)
}

/// Whether a server owns the database. Tests the lock, because the owner's process id means nothing
/// in another PID namespace. The test holds a shared lock for an instant; a server that starts at
/// that moment tries again.
pub fn is_held(database: &Path) -> bool {
    open_to_read(database)
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Describes the owner by its number.
pub(super) fn owner(file: &File) -> String {
    match number(file) {
        None => "owner unknown".to_owned(),
        // The owner holds the lock, so it runs somewhere.
        Some(pid) if matches!(test_kill_process(pid), Err(Errno::SRCH)) => format!(
            "process {} of another container or PID namespace",
            pid.as_raw_pid()
        ),
        Some(pid) => format!("process {}", pid.as_raw_pid()),
    }
}

/// The process of the server that owns a database. An error says in words why there is none that
/// can be signalled.
pub fn server_process(database: &Path) -> Result<Pid, String> {
    let shown = database.display();
    let Some(file) = open_to_read(database).ok().filter(|_| is_held(database)) else {
        return Err(format!("{shown}: no server runs on it"));
    };
    let Some(pid) = number(&file) else {
        return Err(format!(
            "{shown}: its lock file doesn't tell the server's process"
        ));
    };
    let is_elsewhere = match test_kill_process(pid) {
        Ok(()) => has_open(pid, &file) == Some(false),
        Err(error) => error == Errno::SRCH,
    };
    if is_elsewhere {
        return Err(format!(
            "{shown}: the server is process {} of another container or PID namespace: \
             send it SIGHUP there",
            pid.as_raw_pid()
        ));
    }
    Ok(pid)
}

/// Whether a process has the lock file open: the same number may be another program's in this
/// namespace, which SIGHUP would end. None where the system doesn't tell.
fn has_open(pid: Pid, file: &File) -> Option<bool> {
    let is_same = |a: &Metadata, b: &Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    let wanted = file.metadata().ok()?;
    let open = std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_pid())).ok()?;
    let mut open = open
        .flatten()
        .filter_map(|entry| std::fs::metadata(entry.path()).ok());
    Some(open.any(|data| is_same(&data, &wanted)))
}
