//! Claims in a transaction that is rolled back, so that a benchmark measures them without the disk.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::open;
use super::queries::{backlog_of, waiting};
use super::tx::Tx;
use super::write_op::{LongWrite as _, WriteOp as _};
use crate::clock::Timestamp;
use crate::store::error::{OpenError, StoreError};
use crate::store::limits::MAX_ROWS;
use crate::store::types::{
    DestinationBacklog, DestinationId, ScanCursor, ScanPart, SettleAndClaim,
};

/// A database whose changes are never saved.
pub struct Unsaved {
    sql: Connection,
}

impl Unsaved {
    /// Opens the database as the writer does. No server may be using it.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Ok(Self {
            sql: open::writer(path, &|| 0)?,
        })
    }

    /// The next part of a scan.
    pub fn waiting(&self, after: ScanCursor, at_most: usize) -> Result<ScanPart, StoreError> {
        waiting(&self.sql, after, at_most)
    }

    /// Begins a transaction, which is rolled back when it is dropped.
    pub fn begin(&self) -> Result<UnsavedTransaction<'_>, StoreError> {
        let sql = Transaction::new_unchecked(&self.sql, TransactionBehavior::Immediate)?;
        Ok(UnsavedTransaction { sql })
    }
}

/// A transaction that is rolled back when it is dropped.
pub struct UnsavedTransaction<'a> {
    sql: Transaction<'a>,
}

impl UnsavedTransaction<'_> {
    /// The waiting deliveries of a destination.
    pub fn due(
        &self,
        destination: DestinationId,
        now: Timestamp,
        counted: usize,
    ) -> Result<Option<DestinationBacklog>, StoreError> {
        backlog_of(&self.sql, destination, now, counted)
    }

    /// Makes all steps of a change, within this transaction.
    pub fn settle_and_claim(
        &self,
        change: &mut SettleAndClaim,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        while let Some(step) = change.next_step(MAX_ROWS) {
            change.committed(step.apply(&Tx::of_operator(&self.sql, now))?);
        }
        Ok(())
    }
}
