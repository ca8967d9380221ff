//! The steps of a restore that change places of files, and their undoing.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::marker::{self, Marker};
use super::prepare::{self, Prepared};
use crate::clock::{Clock as _, SystemClock};
use crate::store::backup_error::RestoreError;
use crate::store::sqlite::lock_file;
use crate::store::sqlite::paths::{path_beside, sync_directory_of};

/// The endings of a database's files, which move together. The database comes first, and goes back
/// last: if it is aside, the restore was interrupted between the two.
const MOVED: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// A step of a restore that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The backup is copied.
    Copied,
    /// The copy is found to be whole.
    Verified,
    /// The copy is held, has lost its manifest and what was erased since.
    Prepared,
    /// The copy has the owner and the mode of the database, and is durable.
    Owned,
    /// The marker is durable: from here on starts and commands are refused.
    Marked,
    /// The first files of the database have moved aside.
    Moved(usize),
    /// The lock file has forgotten the newest event.
    Forgotten,
    /// The copy is in the database's place.
    Placed,
    /// The marker is gone.
    Unmarked,
}

/// The place where the database is kept, and the lock file.
pub struct Installation<'a> {
    database: &'a Path,
    lock: &'a File,
    aside: Option<PathBuf>,
}

impl<'a> Installation<'a> {
    /// Chooses the place.
    pub fn plan(database: &'a Path, lock: &'a File) -> Result<Self, RestoreError> {
        let aside = if exists(database) {
            Some(free_name(database)?)
        } else {
            None
        };
        Ok(Self {
            database,
            lock,
            aside,
        })
    }

    /// The name of the database that is replaced; none if there is none.
    pub fn aside(&self) -> Option<&Path> {
        self.aside.as_deref()
    }

    /// Puts the copy in the place of the database. The order of the steps is what makes each of
    /// them safe to be interrupted.
    pub fn install(&self, copy: Prepared, step: &dyn Fn(Step)) -> Result<(), RestoreError> {
        let failed = |source| RestoreError::File {
            path: self.database.to_owned(),
            source,
        };
        let marker = Marker {
            aside: self.aside.clone(),
            newest: lock_file::newest_of(self.lock),
        };
        marker.write(self.database).map_err(failed)?;
        step(Step::Marked);
        for (at, ending) in MOVED.into_iter().enumerate() {
            let from = path_beside(self.database, ending);
            match &self.aside {
                Some(aside) => rename_if_there(&from, &path_beside(aside, ending)),
                // The WAL of another database beside the new one would damage it.
                None => remove_if_there(&from),
            }
            .map_err(failed)?;
            step(Step::Moved(at));
        }
        sync_directory_of(self.database).map_err(failed)?;
        lock_file::set_newest(self.lock, 0).map_err(failed)?;
        step(Step::Forgotten);
        let path = copy.into_path();
        fs::rename(path, self.database).map_err(failed)?;
        sync_directory_of(self.database).map_err(failed)?;
        step(Step::Placed);
        marker::remove(self.database).map_err(failed)?;
        step(Step::Unmarked);
        Ok(())
    }
}

/// Puts the old files back, and removes the marker. It can be interrupted, and made again.
pub fn put_back(database: &Path, lock: &File) -> Result<(), RestoreError> {
    let failed = |source| RestoreError::File {
        path: database.to_owned(),
        source,
    };
    let restored = Marker::read(database).map_err(|source| RestoreError::File {
        path: path_beside(database, ".restore"),
        source,
    })?;
    if restored.is_none() && !exists(database) {
        return Err(RestoreError::Unclear {
            marker: path_beside(database, ".restore"),
            database: database.to_owned(),
        });
    }
    if let Some(marker) = restored {
        match &marker.aside {
            Some(aside) => bring_back(database, aside).map_err(failed)?,
            None => MOVED
                .iter()
                .try_for_each(|ending| remove_if_there(&path_beside(database, ending)))
                .map_err(failed)?,
        }
        lock_file::set_newest(lock, marker.newest).map_err(failed)?;
    }
    prepare::remove_copy(database).map_err(failed)?;
    sync_directory_of(database).map_err(failed)?;
    marker::remove(database).map_err(failed)
}

/// Brings the database that was moved aside back, with its other files.
fn bring_back(database: &Path, aside: &Path) -> io::Result<()> {
    if !exists(aside) {
        // It was never moved, or is back already.
        return Ok(());
    }
    if exists(database) {
        // The restored copy, which nobody has opened. It goes last of its files: an interruption
        // before that finds it here again.
        for ending in MOVED.iter().rev() {
            remove_if_there(&path_beside(database, ending))?;
        }
    }
    for ending in MOVED.iter().rev() {
        rename_if_there(&path_beside(aside, ending), &path_beside(database, ending))?;
    }
    Ok(())
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// A name for the old database that no file has yet.
fn free_name(database: &Path) -> Result<PathBuf, RestoreError> {
    let stamp = SystemClock::new().wall().stamp();
    let names = (1..=100).map(|n| match n {
        1 => path_beside(database, &format!(".before-{stamp}")),
        n => path_beside(database, &format!(".before-{stamp}-{n}")),
    });
    let mut free = names.filter(|name| MOVED.iter().all(|end| !exists(&path_beside(name, end))));
    free.next().ok_or_else(|| RestoreError::File {
        path: database.to_owned(),
        source: io::Error::from(ErrorKind::AlreadyExists),
    })
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    ignore_missing(fs::rename(from, to))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    ignore_missing(fs::remove_file(path))
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
