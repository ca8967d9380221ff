//! The marker of a restore under way: a file beside the database. While it is there, the files of
//! the database may be in two places.

use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::store::error::OpenError;
use crate::store::sqlite::paths::{path_beside, sync_directory_of};
use crate::store::sqlite::private;

/// The places of the files, for the case that the restore is interrupted.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The database that is replaced; none if there was none.
    pub aside: Option<PathBuf>,
    /// The newest event that the lock file named.
    pub newest: i64,
}

fn path_of(database: &Path) -> PathBuf {
    path_beside(database, ".restore")
}

pub fn is_there(database: &Path) -> bool {
    path_of(database).symlink_metadata().is_ok()
}

/// Refuses a database while a restore is under way, or was interrupted.
pub fn refuse_if_interrupted(database: &Path) -> Result<(), OpenError> {
    if is_there(database) {
        return Err(OpenError::RestoreInterrupted {
            path: database.to_owned(),
        });
    }
    Ok(())
}

impl Marker {
    /// Writes it, durably.
    pub fn write(&self, database: &Path) -> io::Result<()> {
        let path = path_of(database);
        let mut file = private::create_new(&path)?;
        // The service's user may have to read it.
        private::give_to_owner_of_directory(&file, &path)?;
        file.write_all(serde_json::to_string(self)?.as_bytes())?;
        file.sync_all()?;
        sync_directory_of(&path)
    }

    /// Reads it. None if it is not whole: then it was interrupted before anything else was done.
    pub fn read(database: &Path) -> io::Result<Option<Self>> {
        match fs::read_to_string(path_of(database)) {
            Ok(text) => Ok(serde_json::from_str(&text).ok()),
            Err(error) if error.kind() == ErrorKind::InvalidData => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Removes it, durably: the files are in their places.
pub fn remove(database: &Path) -> io::Result<()> {
    let path = path_of(database);
    fs::remove_file(&path)?;
    sync_directory_of(&path)
}
