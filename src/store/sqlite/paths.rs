//! The paths of a database and of the files beside it.

use std::path::{Path, PathBuf};

/// Links followed from one name to the next: as many as Linux follows itself (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

/// The absolute path with its links resolved, including a link to a file that does not exist yet:
/// `SQLite` will create it at the link's target, and the lock file belongs beside it.
pub(super) fn canonical(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        if let Ok(whole) = path.canonicalize() {
            return whole;
        }
        let Some(name) = path.file_name() else { break };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        // The directory is missing: opening the file reports it by the name that was given.
        let Ok(parent) = parent.canonicalize() else {
            break;
        };
        let resolved = parent.join(name);
        match resolved.read_link() {
            Ok(target) => path = parent.join(target),
            Err(_) => return resolved,
        }
    }
    path
}

/// The file beside a database whose name has this suffix: `-wal`, `-shm`, `-journal` or `.lock`.
pub(super) fn path_beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The directory that a file is in.
pub(super) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the names in a file's directory durable.
pub(super) fn sync_directory_of(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(directory_of(path))?.sync_all()
}
