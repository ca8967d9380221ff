//! The modes of a database's files: only their owner may read them, since payloads, `Authorization`
//! headers and answers are in them.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Result};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::Path;

use rustix::fs::OFlags;

use super::paths::{directory_of, path_beside};

/// Read and write for the owner, nothing for others.
pub const MODE: u32 = 0o600;

/// The rights of users other than the owner.
const OTHERS: u32 = 0o077;

/// The suffixes of all files that `SQLite` and relay create for a database.
const ENDINGS: [&str; 5] = ["", "-wal", "-shm", "-journal", ".lock"];

/// Creates a file that was not there, for its owner alone. It is never a link to another one, so
/// that nobody can lead what is written elsewhere.
pub fn create_new(path: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .mode(MODE)
        .open(path)?;
    // A umask may have taken rights from the owner, too. A file system without modes refuses, and
    // `restrict` warns about it.
    let _ = file.set_permissions(Permissions::from_mode(MODE));
    Ok(file)
}

/// Creates an empty database, unless it exists, before `SQLite` opens it: `SQLite` would create one
/// with the rights that the umask leaves. It gives the other files the mode of this one.
///
/// Closing a database file drops the process's POSIX locks on it. This file is new (`O_EXCL`), so
/// nobody has a lock on it.
pub fn create(database: &Path) -> Result<()> {
    match create_new(database) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// The same for a command: a database that the superuser makes belongs to the owner of its
/// directory.
pub fn create_for_owner(database: &Path) -> Result<()> {
    match create_new(database) {
        Ok(file) => give_to_owner_of_directory(&file, database),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Gives a new file of the superuser's to the owner of its directory: no command makes one that the
/// service can't read.
pub fn give_to_owner_of_directory(file: &File, path: &Path) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let directory = directory_of(path).metadata()?;
    fchown(file, Some(directory.uid()), Some(directory.gid()))
}

/// Removes the rights of other users from existing files: an earlier version may have created them,
/// or somebody copied them. Opens none of them.
pub fn restrict(database: &Path) {
    let mut restricted = Vec::new();
    for ending in ENDINGS {
        let path = path_beside(database, ending);
        // Does not follow a link: it could lead anywhere.
        let Ok(found) = path.symlink_metadata() else {
            continue;
        };
        let mode = found.permissions().mode() & 0o7777;
        if !found.is_file() || mode == MODE {
            continue;
        }
        match fs::set_permissions(&path, Permissions::from_mode(MODE)) {
            // A umask took rights from the owner.
            Ok(()) | Err(_) if mode & OTHERS == 0 => {}
            Ok(()) => restricted.push(format!("{} ({mode:04o})", path.display())),
            Err(error) => log::warn!(
                error:% = error, mode:% = format_args!("{mode:04o}");
                "{}: other users may have rights to this file, which holds payloads and credentials, and \
                 they can't be taken away: make {MODE:04o} its mode",
                path.display()
            ),
        }
    }
    if !restricted.is_empty() {
        log::info!(
            "the mode of files with payloads and credentials is now {MODE:04o}; it was wider: {}",
            restricted.join(", ")
        );
    }
}
