//! Backups, restores and the write-ahead log: PostgreSQL's own affair, so that these methods
//! answer with the neutral value or a clear error.

#![allow(unused_variables, reason = "both engines take the same calls")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Pid;

use crate::clock::Timestamp;
use crate::store::backup_error::{BackupError, RestoreError};
use crate::store::error::StoreError;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::operator::Operator;
use crate::store::types::{
    BackupProgress, Comparison, Hold, QuickCheck, StopCheck, VerifiedBackup,
};

impl Postgres {
    /// Empties the write-ahead log; false if a reader keeps it from being emptied now. Blocks.
    pub fn empty_wal(&self) -> Result<bool, StoreError> {
        Ok(true)
    }

    /// Whether nothing is sent, since a backup was restored. One load of an atomic.
    pub fn is_held(&self) -> bool {
        false
    }

    /// Makes a backup beside all other work, and verifies it. `min_free` bytes of the database's
    /// disk stay free. Blocks.
    pub fn back_up(
        &self,
        target: &Path,
        min_free: u64,
        is_stopped: StopCheck,
    ) -> Result<VerifiedBackup, BackupError> {
        Err(BackupError::ServersOwn)
    }

    /// The moment of the last scheduled backup; none if there was none. Blocks.
    pub fn last_backup(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    /// Remembers the moment of a scheduled backup. Blocks.
    pub fn record_backup(&self, at: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Operator {
    /// Makes a backup, beside a server or without one, and verifies it.
    pub fn back_up(
        &self,
        target: &Path,
        min_free: u64,
        progress: &dyn Fn(BackupProgress),
    ) -> Result<VerifiedBackup, BackupError> {
        Err(BackupError::ServersOwn)
    }

    /// Why nothing is sent; none if the store is not held.
    pub fn hold(&self) -> Result<Option<Hold>, StoreError> {
        Ok(None)
    }

    /// Lifts the hold; whether there was one.
    pub fn lift_hold(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Marks as delivered the pending deliveries of a held store that the file aside has delivered.
    pub fn settle_held(&mut self) -> Result<Comparison, RestoreError> {
        Err(BackupError::ServersOwn.into())
    }

    /// Checks the structure of the store, for this time at most.
    pub fn quick_check(&self, within: Duration) -> Result<QuickCheck, StoreError> {
        Ok(QuickCheck::Fine)
    }

    /// Empties the write-ahead log, so that what was deleted is in no file any more; false if
    /// somebody is in the way.
    pub fn empty_wal(&self) -> Result<bool, StoreError> {
        Ok(true)
    }

    /// The processes that read the store at the moment, as far as the system tells.
    pub fn wal_readers(&self) -> Vec<String> {
        Vec::new()
    }

    /// The copies that still hold something that was erased since a time: in the directory of
    /// backups, and those that a restore has put aside.
    pub fn copies_with_erased(
        &self,
        since: Timestamp,
        backups: Option<&Path>,
    ) -> Result<Vec<PathBuf>, StoreError> {
        Ok(Vec::new())
    }

    /// Moves the write-ahead log into the database, as far as no reader is in the way.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// The server's process, as far as this one may signal it.
    pub fn server_process(&self) -> Result<Pid, String> {
        Err("the database is a server of PostgreSQL, which knows no process of relay: send SIGHUP to it yourself".to_owned())
    }
}
