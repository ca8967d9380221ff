//! Backups by a server and by commands.

use std::path::Path;

use super::job::{BackupJob, Pace};
use super::make::make;
use crate::clock::Timestamp;
use crate::store::backup_error::BackupError;
use crate::store::error::StoreError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::settings;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::WriteOp;
use crate::store::types::{BackupProgress, StopCheck, VerifiedBackup};

/// Remembers when a scheduled backup was made.
struct RecordBackup(Timestamp);

impl WriteOp for RecordBackup {
    type Out = ();

    fn apply(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        Ok(settings::set(tx.sql, settings::LAST_BACKUP, &self.0)?)
    }
}

impl Sqlite {
    /// Makes a backup beside all other work. `min_free` bytes of the database's disk stay free.
    /// Blocks.
    pub fn back_up(
        &self,
        target: &Path,
        min_free: u64,
        is_stopped: StopCheck,
    ) -> Result<VerifiedBackup, BackupError> {
        let shared = self.shared();
        make(&BackupJob {
            database: &shared.path,
            target,
            now: shared.clock.now(),
            min_free,
            pace: Pace::default(),
            is_stopped,
            progress: &|_| {},
        })
    }

    /// The moment of the last scheduled backup; none if there was none. Blocks.
    pub fn last_backup(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read_blocking(|sql| Ok(settings::get(sql, settings::LAST_BACKUP)?))
    }

    /// Remembers the moment of a scheduled backup. Blocks.
    pub fn record_backup(&self, at: Timestamp) -> Result<(), StoreError> {
        self.write_blocking(RecordBackup(at))
    }
}

impl Operator {
    /// Makes a backup, beside a server or without one.
    pub fn back_up(
        &self,
        target: &Path,
        min_free: u64,
        progress: &dyn Fn(BackupProgress),
    ) -> Result<VerifiedBackup, BackupError> {
        make(&BackupJob {
            database: self.path(),
            target,
            now: self.now(),
            min_free,
            pace: Pace::default(),
            is_stopped: StopCheck::never(),
            progress,
        })
    }
}
