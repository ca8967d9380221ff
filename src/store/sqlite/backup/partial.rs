//! The file of a backup before it has its name.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::store::backup_error::BackupError;
use crate::store::sqlite::paths::{self, path_beside};
use crate::store::sqlite::private;

/// The ending of a backup that is being written.
pub const PARTIAL: &str = ".partial";
/// The place of the two version numbers in the header of a database, and their value without a WAL.
const VERSIONS_AT: u64 = 18;
const WITHOUT_WAL: [u8; 2] = [1, 1];

/// Locked and open while it is written, so that nobody takes it for the remains of an interrupted
/// backup. Removed when dropped, unless it was published.
pub struct Partial {
    file: File,
    path: PathBuf,
    target: PathBuf,
    is_published: bool,
}

impl Partial {
    /// Creates `target.partial`. Refuses a target that exists, and files of the database.
    pub fn create(target: &Path, database: &Path) -> Result<Self, BackupError> {
        let target = resolve(target)?;
        refuse_the_database(&target, database)?;
        if target.symlink_metadata().is_ok() {
            return Err(BackupError::Exists { path: target });
        }
        let path = path_beside(&target, PARTIAL);
        let create = || {
            let file = private::create_new(&path)?;
            file.try_lock().map_err(io::Error::from)?;
            private::give_to_owner_of_directory(&file, &path)?;
            Ok(file)
        };
        let file = create().map_err(|source: io::Error| match source.kind() {
            ErrorKind::AlreadyExists => BackupError::PartialExists { path: path.clone() },
            _ => BackupError::File {
                path: path.clone(),
                source,
            },
        })?;
        Ok(Self {
            file,
            path,
            target,
            is_published: false,
        })
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The error of an operation on this file.
    pub fn failed(&self, source: io::Error) -> BackupError {
        BackupError::File {
            path: self.path.clone(),
            source,
        }
    }

    /// The error of the engine's on this file.
    pub fn refused(&self, source: rusqlite::Error) -> BackupError {
        BackupError::Engine {
            path: self.path.clone(),
            source: source.into(),
        }
    }

    /// Makes the copy of a database in WAL mode one without a WAL, as `journal_mode = DELETE`
    /// would: nobody else has it open, and there is no WAL beside it.
    pub fn leave_wal_mode(&self) -> io::Result<()> {
        self.file.write_all_at(&WITHOUT_WAL, VERSIONS_AT)
    }

    /// Makes it durable, and has the next reader read it from the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()?;
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{Advice, fadvise};
            // A hint.
            let _ = fadvise(&self.file, 0, None, Advice::DontNeed);
        }
        Ok(())
    }

    /// Gives it its name, durably. Never replaces a file.
    pub fn publish(mut self) -> Result<PathBuf, BackupError> {
        match rename_to_new(&self.path, &self.target) {
            Ok(()) => self.is_published = true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let path = self.target.clone();
                return Err(BackupError::Exists { path });
            }
            Err(error) => return Err(self.failed(error)),
        }
        paths::sync_directory_of(&self.target).map_err(|source| BackupError::File {
            path: self.target.clone(),
            source,
        })?;
        Ok(self.target.clone())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_published
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::warn!(error:%; "{}: can't be removed", self.path.display());
        }
    }
}

/// The target in a directory without links, so that nobody can lead the file elsewhere.
fn resolve(target: &Path) -> Result<PathBuf, BackupError> {
    let failed = |source| BackupError::File {
        path: target.to_owned(),
        source,
    };
    let Some(name) = target.file_name() else {
        return Err(failed(io::Error::new(
            ErrorKind::InvalidInput,
            "expected the name of a file",
        )));
    };
    let parent = paths::directory_of(target).canonicalize().map_err(failed)?;
    Ok(parent.join(name))
}

fn refuse_the_database(target: &Path, database: &Path) -> Result<(), BackupError> {
    let refused = || BackupError::IsDatabase {
        path: target.to_owned(),
    };
    let mut beside: OsString = database.as_os_str().to_owned();
    beside.push("-");
    let mut dotted: OsString = database.as_os_str().to_owned();
    dotted.push(".");
    let text = target.as_os_str().as_encoded_bytes();
    let is_beside = [beside, dotted].iter().any(|prefix| {
        let rest = text.strip_prefix(prefix.as_encoded_bytes());
        rest.is_some_and(is_reserved)
    });
    let same = |one: &fs::Metadata, other: &fs::Metadata| {
        (one.dev(), one.ino()) == (other.dev(), other.ino())
    };
    let is_same = match (target.metadata(), database.metadata()) {
        (Ok(one), Ok(other)) => same(&one, &other),
        _ => false,
    };
    if target == database || is_beside || is_same {
        return Err(refused());
    }
    Ok(())
}

/// Whether a name beside the database, without the part that they share, is one of its files.
fn is_reserved(rest: &[u8]) -> bool {
    let files: [&[u8]; 6] = [
        b"wal",
        b"shm",
        b"journal",
        b"lock",
        b"restore",
        b"restoring",
    ];
    files.contains(&rest)
}

/// Renames, unless there is a file of the new name.
#[cfg(target_os = "linux")]
fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;

    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // File systems that can't do it at once.
        Err(Errno::INVAL | Errno::NOSYS) => rename_if_new(from, to),
        result => Ok(result?),
    }
}

#[cfg(not(target_os = "linux"))]
fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    rename_if_new(from, to)
}

fn rename_if_new(from: &Path, to: &Path) -> io::Result<()> {
    if to.symlink_metadata().is_ok() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    fs::rename(from, to)
}

/// Removes what interrupted backups left in a directory: files of this ending that nobody is
/// writing, if `is_ours` knows their names.
pub fn remove_stale(directory: &Path, is_ours: impl Fn(&str) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let target = name.to_str().and_then(|name| name.strip_suffix(PARTIAL));
        if !target.is_some_and(&is_ours) || !entry.file_type()?.is_file() {
            continue;
        }
        let path = entry.path();
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)?;
        if file.try_lock().is_ok() {
            fs::remove_file(&path)?;
            log::info!("{}: an interrupted backup was removed", path.display());
        }
    }
    Ok(())
}
