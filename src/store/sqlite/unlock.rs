//! `relay unlock`: clears the lock file's record, for a database that is refused because of it, or
//! whose clock should follow the system's at once.

use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::lock_file::{self, LockFileRecord};
use super::open;
use super::operator::Operator;
use super::paths::{canonical, path_beside};
use super::restore;
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::store::error::OpenError;
use crate::store::types::IntentRow;

/// A lock file to be cleared.
pub struct Unlock {
    database: PathBuf,
    /// The lock file's path.
    pub lock_file: PathBuf,
}

/// The contents of a lock file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockFileContents {
    /// When the last event was accepted that the database must hold.
    pub accepted_at: Option<Timestamp>,
    /// How far relay's clock is ahead of the system's, in milliseconds.
    pub ahead_millis: i64,
}

impl LockFileContents {
    fn of(record: LockFileRecord) -> Self {
        let wall = SystemClock::new().wall();
        Self {
            accepted_at: (record.newest > 0).then(|| IntentRow(record.newest).accepted_at()),
            ahead_millis: record
                .now(wall)
                .as_millis()
                .saturating_sub(wall.as_millis()),
        }
    }
}

impl Unlock {
    /// None if there is no lock file, and so nothing to clear.
    pub fn of(database: &Path) -> Result<Option<Self>, OpenError> {
        let database = canonical(database);
        restore::refuse_if_interrupted(&database)?;
        let lock_file = path_beside(&database, ".lock");
        open::permit(&lock_file, Access::READ_OK, open::AS_SERVER)?;
        if lock_file.exists() {
            return Ok(Some(Self {
                database,
                lock_file,
            }));
        }
        if database.exists() {
            return Ok(None);
        }
        Err(OpenError::Missing { path: database })
    }

    /// The contents. Refused beside a server.
    pub fn remembered(&self) -> Result<LockFileContents, OpenError> {
        lock_file::refuse_if_held(&self.database)?;
        Ok(LockFileContents::of(LockFileRecord::beside(&self.database)))
    }

    /// Whether the database holds the last accepted event; none if something else is wrong with it.
    pub fn holds_last_event(&self) -> Option<bool> {
        match Operator::reading(&self.database) {
            Ok(_) => Some(true),
            Err(OpenError::Older { .. } | OpenError::Missing { .. }) => Some(false),
            Err(_) => None,
        }
    }

    /// Clears all of it, and returns it. Refused beside a server; a server that starts meanwhile
    /// waits or is refused.
    pub fn reset(&self) -> Result<LockFileContents, OpenError> {
        let mut lock = lock_file::acquire(&self.database)?;
        if self.database.exists() {
            lock.guard(&self.database)?;
        }
        let remembered = LockFileContents::of(lock.record_writer().record());
        lock_file::reset(lock.file()).map_err(|source| OpenError::Lock {
            path: self.lock_file.clone(),
            source,
        })?;
        Ok(remembered)
    }
}

#[cfg(test)]
mod tests;
