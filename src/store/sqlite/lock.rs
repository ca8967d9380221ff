//! Sole ownership of a database: an exclusive lock on a file beside it.
//!
//! On a file of its own, because opening and closing the database file in our own process would
//! drop `SQLite`'s POSIX locks on it. The kernel lets go of the lock when the process ends, however
//! it ends; the file stays, since removing it would race with the next owner.
//!
//! The lock is on the inode, and a newcomer finds that by its path: a server that holds the lock owns
//! the database only while the path leads to the inode. When the file is removed or replaced:
//!
//! - The server that has lost the path ends, since a newcomer can't see its lock. The one that the
//!   path leads to stays: there is one at most.
//! - Each transaction looks ([`Ownership::check`]) between its beginning and its commit. A newcomer
//!   begins with a transaction of its own ([`super::recover::wait_for_others`]), before it reads what
//!   it goes by. `SQLite` allows one at a time: a transaction of the old server was committed before
//!   the newcomer's first one, which then sees it, or began after it, when the path was the
//!   newcomer's, and is rolled back. So the old server acknowledges nothing that the newcomer doesn't
//!   know.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::notes::{self, LockFileWriter};
use super::{OpenError, StoreError, private};

/// The owner's number is padded to this, so that what follows ([`super::notes`]) stands at the same
/// place always.
pub(super) const OWNER: usize = 11;

/// How often a lock that is held is tried, [`PAUSE`] apart: 0.2 s in all, a fifth of what a second
/// server may take to be refused. A command that asks whether a server runs holds the lock for
/// microseconds, and `relay unlock` for as long as a sync takes.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// The lock on a file that its path leads to.
pub(super) struct Lock {
    /// Held for its lock, and written to for the record.
    file: Arc<File>,
    path: PathBuf,
}

impl Lock {
    pub fn notes(&self) -> LockFileWriter {
        LockFileWriter::new(Arc::clone(&self.file))
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// The files that have to stay where they are. For a database that is open and in use: `SQLite`
    /// has made all of them by then.
    pub fn ownership(&self, database: &Path) -> Result<Ownership, StoreError> {
        let lock = self
            .file
            .metadata()
            .map_err(|error| StoreError::Displaced(format!("{}: {error}", self.path.display())))?;
        let mut files = vec![Owned {
            path: self.path.clone(),
            inode: Inode::of(&lock),
            lost: LOCK_LOST,
        }];
        for ending in ["", "-wal", "-shm"] {
            let path = path_beside(database, ending);
            let found = path.metadata();
            let found = found.map_err(|_| displaced(&path, DATABASE_LOST))?;
            files.push(Owned {
                path,
                inode: Inode::of(&found),
                lost: DATABASE_LOST,
            });
        }
        Ok(Ownership { files })
    }
}

/// Tells a file from all others, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inode {
    device: u64,
    number: u64,
}

impl Inode {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            number: metadata.ino(),
        }
    }

    /// Whether the path leads to it. What can't be looked at doesn't.
    fn is_at(self, path: &Path) -> bool {
        Self::at(path).is_ok_and(|found| found == self)
    }

    /// Asks for the inode's number alone. Asking for a file's times as well makes its next write
    /// note the time anew, and then the sync has the inode to write, too: a fifth fewer commits a
    /// second over one connection (measured; kernels with multigrain timestamps).
    #[cfg(target_os = "linux")]
    fn at(path: &Path) -> std::io::Result<Self> {
        use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};

        let found = statx(CWD, path, AtFlags::empty(), StatxFlags::INO)?;
        Ok(Self {
            device: makedev(found.stx_dev_major, found.stx_dev_minor),
            number: found.stx_ino,
        })
    }

    #[cfg(not(target_os = "linux"))]
    fn at(path: &Path) -> std::io::Result<Self> {
        path.metadata().map(|found| Self::of(&found))
    }
}

/// The files of a database that this server owns, and the inodes that it has open.
pub(super) struct Ownership {
    files: Vec<Owned>,
}

struct Owned {
    path: PathBuf,
    inode: Inode,
    /// What it means when the path leads elsewhere.
    lost: &'static str,
}

const LOCK_LOST: &str = "another relay may own the database by now; start this one again if none \
                         does, and use relay unlock instead of removing the lock file";
/// `SQLite` locks the database by `-shm`, and finds all of them by their names.
const DATABASE_LOST: &str = "what is written now may be lost; put the files that belong together in \
                             place before the next start";

fn displaced(path: &Path, lost: &str) -> StoreError {
    StoreError::Displaced(format!(
        "{} was removed or replaced while relay used it, so this relay ends and acknowledges nothing \
         more: {lost}",
        path.display()
    ))
}

impl Ownership {
    /// Whether the database is still this server's. An error ends it. Opens nothing. The look-ups of
    /// the four paths take 4.4 µs together (measured), where a commit takes 200 and more.
    pub fn check(&self) -> Result<(), StoreError> {
        let lost = self.files.iter().find(|file| !file.inode.is_at(&file.path));
        lost.map_or(Ok(()), |file| Err(displaced(&file.path, file.lost)))
    }
}

/// Names the owner, by what it wrote into the file.
fn owner(file: &File) -> String {
    let mut bytes = [0; OWNER];
    // Best effort: what can't be read names nobody.
    let read = file.read_at(&mut bytes, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(&bytes[..read]);
    let number = text
        .lines()
        .next()
        .and_then(|line| line.trim().parse().ok());
    match number.and_then(Pid::from_raw) {
        None => "owner unknown".to_owned(),
        // It has the lock, and so it is somewhere.
        Some(pid) if matches!(test_kill_process(pid), Err(Errno::SRCH)) => format!(
            "process {} of another container or PID namespace",
            pid.as_raw_pid()
        ),
        Some(pid) => format!("process {}", pid.as_raw_pid()),
    }
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

/// Makes this process the owner of a database; makes the lock file, too, if there is none.
pub(super) fn acquire(database: &Path) -> Result<Lock, OpenError> {
    try_acquire(database, || std::thread::sleep(PAUSE))
}

/// Calls `pause` between two tries.
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
                let inode = Inode::of(&file.metadata().map_err(failed)?);
                if inode.is_at(&path) {
                    return own(file, path.clone()).map_err(failed);
                }
                // It was removed or replaced after it was opened: its lock keeps nobody out.
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
    notes::convert(&file)?;
    // The record stays: a command may be changing it just now.
    let owner = format!("{:<width$}\n", std::process::id(), width = OWNER - 1);
    file.write_all_at(owner.as_bytes(), 0)?;
    Ok(Lock {
        file: Arc::new(file),
        path,
    })
}

/// Whether a server owns the database. It asks the lock, since the owner's number means nothing in
/// another PID namespace. To ask is to hold it for an instant, together with others who ask; a server
/// that starts at that moment tries again.
pub(super) fn is_held(database: &Path) -> bool {
    to_read(database)
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Refuses a database that a server owns.
pub(super) fn refuse_if_held(database: &Path) -> Result<(), OpenError> {
    match to_read(database) {
        Ok(file) if is_held(database) => Err(OpenError::InUse {
            path: database.to_owned(),
            holder: owner(&file),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let database = directory.path().join("relay.db");
        (directory, database)
    }

    fn in_use(acquired: Result<Lock, OpenError>) -> String {
        match acquired.err().expect("it is refused") {
            OpenError::InUse { holder, .. } => holder,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_command_that_asks_for_a_server_does_not_turn_one_away() {
        let (_directory, database) = directory();
        drop(acquire(&database).expect("nobody has it"));
        let mut asked = Some(to_read(&database).expect("a lock file"));
        let file = asked.as_ref().expect("it is there");
        file.try_lock_shared().expect("nobody has it");
        // It asks still when the server comes, and no longer when that tries again.
        let mut pauses = 0;
        let lock = try_acquire(&database, || {
            pauses += 1;
            asked = None;
        });
        lock.expect("it is acquired");
        assert_eq!(pauses, 1);
    }

    #[test]
    fn a_lock_that_stays_held_is_refused_after_so_many_tries() {
        let (_directory, database) = directory();
        let lock = acquire(&database).expect("nobody has it");
        let mut pauses = 0;
        let second = try_acquire(&database, || pauses += 1);
        assert_eq!(in_use(second), format!("process {}", std::process::id()));
        assert_eq!(pauses, TRIES);
        drop(lock);
        acquire(&database).expect("nobody has it");
    }

    #[test]
    fn a_lock_on_a_file_that_was_removed_meanwhile_is_no_lock() {
        let (_directory, database) = directory();
        let path = path_beside(&database, ".lock");
        let mut first = Some(acquire(&database).expect("nobody has it"));
        // It waits for the lock of a file that is gone by the time that it gets it.
        let second = try_acquire(&database, || {
            std::fs::remove_file(&path).expect("it is there");
            first = None;
        });
        let second = second.expect("it is acquired");
        assert!(path.is_file(), "it made a new one");
        assert_eq!(
            in_use(acquire(&database)),
            format!("process {}", std::process::id())
        );
        drop(second);
    }

    #[test]
    fn a_file_that_is_replaced_at_each_try_is_refused() {
        let (_directory, database) = directory();
        let path = path_beside(&database, ".lock");
        let holder = std::cell::RefCell::new(Vec::new());
        let take_away = || {
            std::fs::remove_file(&path).expect("it is there");
            holder
                .borrow_mut()
                .push(acquire(&database).expect("it is new"));
        };
        let first = acquire(&database).expect("nobody has it");
        holder.borrow_mut().push(first);
        assert!(!in_use(try_acquire(&database, take_away)).is_empty());
    }

    #[test]
    fn a_server_that_has_no_number_here_is_noticed() {
        let (_directory, database) = directory();
        assert!(!is_held(&database), "there is no lock file");
        let lock = acquire(&database).expect("nobody has it");
        assert!(is_held(&database));
        // Linux has no number as large as this: of another PID namespace, say.
        lock.file.write_all_at(b"2147483647\n", 0).expect("room");
        assert!(is_held(&database));
        let holder = in_use(try_acquire(&database, || {}));
        assert!(holder.contains("another container"), "{holder}");
        drop(lock);
        assert!(!is_held(&database));
        // To ask leaves nothing behind.
        acquire(&database).expect("nobody has it");
    }

    #[test]
    fn each_file_that_was_removed_or_replaced_is_noticed() {
        for ending in ["", "-wal", "-shm", ".lock"] {
            for is_replaced in [false, true] {
                let (_directory, database) = directory();
                std::fs::write(&database, b"a").expect("a file");
                std::fs::write(path_beside(&database, "-wal"), b"b").expect("a file");
                std::fs::write(path_beside(&database, "-shm"), b"c").expect("a file");
                let lock = acquire(&database).expect("nobody has it");
                let ownership = lock.ownership(&database).expect("all are there");
                ownership.check().expect("all are in place");
                let path = path_beside(&database, ending);
                let aside = path_beside(&database, ".aside");
                std::fs::rename(&path, &aside).expect("it is there");
                if is_replaced {
                    std::fs::copy(&aside, &path).expect("a copy");
                }
                let error = ownership.check().expect_err("it is displaced").to_string();
                let named = format!("{} was removed or replaced", path.display());
                assert!(error.contains(&named), "{error}");
                std::fs::rename(&aside, &path).expect("it is there");
                ownership.check().expect("it is back");
            }
        }
    }
}
