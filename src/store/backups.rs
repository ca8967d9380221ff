//! Backups and the hold, of the server and of commands.

use std::path::Path;

use super::backup_error::{BackupError, RestoreError};
use super::operator::Engine as OperatorEngine;
use super::types::{BackupProgress, Comparison, Hold, StopCheck, VerifiedBackup};
use super::{Engine, Operator, Store, StoreError};
use crate::clock::Timestamp;

impl Store {
    /// Whether nothing is sent, since a backup was restored. One load of an atomic.
    pub fn is_held(&self) -> bool {
        on_engine!(&self.engine, |engine| engine.is_held())
    }

    /// Makes a backup beside all other work, and verifies it. `min_free` bytes of the database's
    /// disk stay free. Blocks.
    pub fn back_up(
        &self,
        target: &Path,
        min_free: u64,
        is_stopped: StopCheck,
    ) -> Result<VerifiedBackup, BackupError> {
        on_engine!(&self.engine, |engine| engine
            .back_up(target, min_free, is_stopped))
    }

    /// The moment of the last scheduled backup; none if there was none. Blocks.
    pub fn last_backup(&self) -> Result<Option<Timestamp>, StoreError> {
        on_engine!(&self.engine, |engine| engine.last_backup())
    }

    /// Remembers the moment of a scheduled backup. Blocks.
    pub fn record_backup(&self, at: Timestamp) -> Result<(), StoreError> {
        on_engine!(&self.engine, |engine| engine.record_backup(at))
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
        on_engine!(OperatorEngine, &self.engine, |engine| engine
            .back_up(target, min_free, progress))
    }

    /// Why nothing is sent; none if the store is not held.
    pub fn hold(&self) -> Result<Option<Hold>, StoreError> {
        on_engine!(OperatorEngine, &self.engine, |engine| engine.hold())
    }

    /// Lifts the hold; whether there was one.
    pub fn lift_hold(&mut self) -> Result<bool, StoreError> {
        on_engine!(OperatorEngine, &mut self.engine, |engine| engine
            .lift_hold())
    }

    /// Marks as delivered the pending deliveries of a held store that the file aside has delivered.
    pub fn settle_held(&mut self) -> Result<Comparison, RestoreError> {
        on_engine!(OperatorEngine, &mut self.engine, |engine| engine
            .settle_held())
    }
}
