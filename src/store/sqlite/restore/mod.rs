//! A restore: puts a backup in the place of the database, which is kept aside.
//!
//! The lock is held for the restore's whole length. The backup is copied first, and this copy is
//! verified and prepared, so that what is installed is what was verified. Then a marker is written,
//! and while it stands every start and command is refused: a kill in between never leaves a
//! database without its events, and never one that sends. The restored database is *held*.
//!
//! - [`Restore`]: the steps, in their order. `install`: those that change places of files.
//!   `marker`: the file that tells of a restore under way. `prepare`: the copy.
//! - `comparison`: the backup beside the database that it replaces. `pending`: the deliveries that
//!   it compares. `settle`: marks them as delivered. `held`: the same later, while it is held.
//!   `cancel`: ends the bulk operations of the backup.

mod cancel;
mod comparison;
mod held;
mod install;
mod marker;
mod pending;
mod prepare;
mod settle;

use std::path::{Path, PathBuf};

use rustix::fs::Access;

pub use install::Step;
pub use marker::refuse_if_interrupted;
pub use prepare::clear_copy;

use self::install::Installation;
use self::prepare::Prepared;
use super::backup;
use super::lock_file::{self, Lock};
use super::open;
use super::paths::canonical;
use crate::clock::{Clock as _, SystemClock};
use crate::store::backup_error::RestoreError;
use crate::store::types::{Hold, Restored};

/// A database that a backup is restored to. Holds its lock.
pub struct Restore {
    database: PathBuf,
    lock: Lock,
}

impl Restore {
    /// Takes the lock. Refused beside a server.
    pub fn begin(database: &Path) -> Result<Self, RestoreError> {
        let database = canonical(database);
        open::permit(&database, Access::EXISTS, open::AS_SERVER)?;
        let mut lock = lock_file::acquire(&database)?;
        if database.exists() {
            lock.guard(&database)?;
        }
        prepare::give_lock_file_to_owner(lock.file(), &database)?;
        Ok(Self { database, lock })
    }

    /// Restores a backup. `is_settling` marks as delivered what the database that is replaced has
    /// delivered. `step` is called after each step.
    pub fn run(
        &self,
        backup: &Path,
        is_settling: bool,
        step: &dyn Fn(Step),
    ) -> Result<Restored, RestoreError> {
        if marker::is_there(&self.database) {
            // Puts the old files back: the restore begins anew.
            self.abandon()?;
        }
        prepare::refuse_the_database(backup, &self.database)?;
        let prepared = Prepared::copy(backup, &self.database)?;
        step(Step::Copied);
        let verified = backup::verify(prepared.path());
        let mut verified = verified.map_err(|error| error.of(backup))?;
        backup.clone_into(&mut verified.path);
        step(Step::Verified);
        let installation = Installation::plan(&self.database, self.lock.file())?;
        let wall = SystemClock::new().wall();
        let now = self.lock.record_writer().record().now(wall);
        let hold = Hold {
            since: now.as_millis(),
            restored_from: backup.display().to_string(),
            taken_at: verified.manifest.taken_at.as_millis(),
            aside: installation.aside().map(Path::to_owned),
        };
        let old = installation.aside().map(|_| self.database.as_path());
        let id = &verified.manifest.database_id;
        let (comparison, cancelled) = prepared.prepare(&hold, old, id, is_settling, now)?;
        step(Step::Prepared);
        prepared.own_and_sync(&self.database)?;
        step(Step::Owned);
        installation.install(prepared, step)?;
        Ok(Restored {
            backup: verified,
            aside: hold.aside,
            comparison,
            cancelled,
        })
    }

    /// Puts the old files back after a restore that was interrupted.
    pub fn abandon(&self) -> Result<(), RestoreError> {
        if marker::is_there(&self.database) {
            return install::put_back(&self.database, self.lock.file());
        }
        // It was interrupted before anything changed places.
        let removed = prepare::remove_copy(&self.database);
        let is_removed = removed.map_err(|source| RestoreError::File {
            path: self.database.clone(),
            source,
        })?;
        if is_removed {
            return Ok(());
        }
        Err(RestoreError::NotInterrupted {
            path: self.database.clone(),
        })
    }
}

#[cfg(test)]
mod tests;
