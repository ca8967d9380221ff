//! The database as a command of the operator's sees it: beside a running server, or without one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::notes::{self, LockFileRecord};
use super::writer::MAX_ROWS;
use super::{LongWrite, OpenError, StoreError, Tx, WriteOp, lock, open};
use crate::clock::{Clock as _, SystemClock, Timestamp};

/// A command's own connection. It never migrates: a file of another version is refused, since a server
/// of that version may be running.
pub(crate) struct Operator {
    sql: Connection,
    path: PathBuf,
    has_written: bool,
}

/// Between two writes beside a server, whose writer asks for the lock again only every few
/// milliseconds: SQLite's pauses grow to 100 ms, and the first eight of them are below this.
const REST: Duration = Duration::from_millis(30);

impl Operator {
    /// For commands that look.
    pub fn reading(path: &Path) -> Result<Self, OpenError> {
        let path = existing(path)?;
        let sql = open::operator(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        Ok(Self {
            sql,
            path,
            has_written: false,
        })
    }

    /// For commands that change something.
    pub fn writing(path: &Path) -> Result<Self, OpenError> {
        let path = existing(path)?;
        let sql = open::operator(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        Ok(Self {
            sql,
            path,
            has_written: false,
        })
    }

    /// The time by the clock that the database is written by.
    pub fn now(&self) -> Timestamp {
        LockFileRecord::beside(&self.path).now(SystemClock::new().wall())
    }

    /// Whether a server has the database open.
    pub fn has_server(&self) -> bool {
        lock::is_held(&self.path)
    }

    pub fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        read(&self.sql)
    }

    /// Moves the WAL into the database, as far as nobody else is in the way.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        let (busy, frames, moved): (i64, i64, i64) =
            self.sql
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })?;
        log::debug!(busy, frames, moved; "checkpoint");
        Ok(())
    }

    /// Makes all steps of a change.
    pub fn write_steps<L: LongWrite>(&mut self, change: &mut L) -> Result<(), StoreError> {
        while let Some(step) = change.next_step(MAX_ROWS) {
            change.committed(self.write(&step)?);
        }
        Ok(())
    }

    /// Does an operation in a transaction of its own; a server's writer waits for it, or it for the
    /// writer.
    pub fn write<W: WriteOp>(&mut self, op: &W) -> Result<W::Out, StoreError> {
        if self.has_written && self.has_server() {
            std::thread::sleep(REST);
        }
        self.has_written = true;
        let now = self.now();
        let transaction = self
            .sql
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let newest = |sql: &Connection| -> rusqlite::Result<Option<i64>> {
            sql.query_row("SELECT max(id) FROM intents", [], |row| row.get(0))
        };
        let before = newest(&transaction)?;
        let tx = Tx::of_operator(&transaction, now);
        let out = op.apply(&tx)?;
        tx.into_changes().leave(&transaction)?;
        if newest(&transaction)? != before {
            // First, so that a start never misses what was deleted on purpose.
            notes::forget(&self.path)
                .map_err(|error| StoreError::Unexpected(format!("the lock file: {error}")))?;
        }
        transaction.commit()?;
        Ok(out)
    }
}

/// A command that makes an empty database, because somebody mistyped its path, helps nobody.
fn existing(path: &Path) -> Result<PathBuf, OpenError> {
    let path = super::canonical(path);
    if path.is_file() {
        Ok(path)
    } else {
        Err(OpenError::Missing { path })
    }
}
