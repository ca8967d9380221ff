//! The database as commands see it: beside a running server, or without one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use rustix::process::Pid;

use super::limits::BUSY_TIMEOUT;
use super::lock_file::{self, LockFileRecord};
use super::moving;
use super::open;
use super::paths::{canonical, path_beside};
use super::private;
use super::restore;
use super::space;
use super::tx::Tx;
use super::wal_readers;
use super::write_op::{LongWrite, WriteOp};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::store::error::{OpenError, StoreError};
use crate::store::limits::MAX_ROWS;

/// A command's own connection. It never migrates: a file of another version is refused, since a
/// server of that version may be running.
pub struct Operator {
    sql: Connection,
    path: PathBuf,
    clock: Arc<dyn Clock>,
    has_written: bool,
}

/// The pause between two writes beside a server, whose writer retries its lock only every few
/// milliseconds: SQLite's own pauses grow to 100 ms, and the first eight of them are below this.
const REST: Duration = Duration::from_millis(30);

impl Operator {
    /// For commands that read.
    pub fn reading(path: &Path) -> Result<Self, OpenError> {
        Self::open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
    }

    /// For commands that change something.
    pub fn writing(path: &Path) -> Result<Self, OpenError> {
        Self::open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
    }

    /// For a command whose clock a test moves, together with the server's.
    #[cfg(test)]
    pub fn writing_by(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        Ok(Self {
            clock,
            ..Self::writing(path)?
        })
    }

    /// For a command that brings events from elsewhere: creates an empty database if there is none,
    /// unless one is known to have been there.
    pub fn importing(path: &Path) -> Result<Self, OpenError> {
        let path = canonical(path);
        restore::refuse_if_interrupted(&path)?;
        if !path.exists() {
            let lock = lock_file::acquire(&path)?;
            let record = lock.record_writer();
            open::create_by_command(&path, record.record().newest)?;
            private::give_to_owner_of_directory(lock.file(), &path).map_err(|source| {
                OpenError::Lock {
                    path: path_beside(&path, ".lock"),
                    source,
                }
            })?;
            drop(open::writer(&path, &|| record.record().newest)?);
        }
        Self::writing(&path)
    }

    /// A mistyped path is an error: a command never creates a database.
    fn open(path: &Path, access: OpenFlags) -> Result<Self, OpenError> {
        let path = canonical(path);
        restore::refuse_if_interrupted(&path)?;
        let sql = open::operator(&path, access)?;
        let to = if access.contains(OpenFlags::SQLITE_OPEN_READ_WRITE) {
            moving::Use::Writing
        } else {
            moving::Use::Reading
        };
        moving::refuse_if_marked(&sql, &path, to)?;
        Ok(Self {
            sql,
            path,
            clock: Arc::new(SystemClock::new()),
            has_written: false,
        })
    }

    /// The time by relay's clock, by which the database is written: the system's, with the offset
    /// that the lock file records.
    pub fn now(&self) -> Timestamp {
        LockFileRecord::beside(&self.path).now(self.clock.wall())
    }

    /// Whether a server has the database open.
    pub fn has_server(&self) -> bool {
        lock_file::is_held(&self.path)
    }

    /// Free bytes of the database's disk, as far as the system tells.
    pub fn free_bytes(&self) -> Option<u64> {
        space::free_bytes(self.path.parent()?).ok()
    }

    /// The server's process. An error says in words why there is none that can be signalled.
    pub fn server_process(&self) -> Result<Pid, String> {
        lock_file::server_process(&self.path)
    }

    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        read(&self.sql)
    }

    /// The database's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The connection, for changes of several transactions.
    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.sql
    }

    /// Moves the WAL into the database, as far as no reader is in the way.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        let (busy, frames, moved): (i64, i64, i64) =
            self.sql
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })?;
        log::debug!(busy, frames, moved; "checkpoint");
        Ok(())
    }

    /// Empties the WAL, so that what was deleted is in no file any more; whether it did. A reader
    /// or a writer that is in the way is not waited for: the server would be kept waiting, too.
    pub fn empty_wal(&self) -> Result<bool, StoreError> {
        self.sql.busy_timeout(Duration::ZERO)?;
        let emptied = self
            .sql
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                row.get::<_, bool>(0).map(|is_busy| !is_busy)
            });
        self.sql.busy_timeout(BUSY_TIMEOUT)?;
        match emptied.map_err(StoreError::from) {
            Err(StoreError::Busy) => Ok(false),
            other => other,
        }
    }

    /// The processes that read the database at the moment, so that the WAL can't be emptied, as far
    /// as the system tells.
    pub fn wal_readers(&self) -> Vec<String> {
        wal_readers::of(&self.path)
    }

    /// From now on this connection overwrites what it deletes with zeros.
    pub(super) fn erase_deleted(&self) -> Result<(), StoreError> {
        Ok(self.sql.pragma_update(None, "secure_delete", true)?)
    }

    /// Makes all steps of a change.
    pub(super) fn write_steps<L: LongWrite>(&mut self, change: &mut L) -> Result<(), StoreError> {
        while let Some(step) = change.next_step(MAX_ROWS) {
            change.committed(self.write(&step)?);
        }
        Ok(())
    }

    /// Makes a change in a transaction of its own; a server's writer and a command wait for each
    /// other.
    pub(super) fn write<W: WriteOp>(&mut self, op: &W) -> Result<W::Out, StoreError> {
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
            // Before the commit, so that a start never misses an intent that was deleted on
            // purpose.
            lock_file::forget_newest(&self.path)
                .map_err(|error| StoreError::Unexpected(format!("the lock file: {error}")))?;
        }
        transaction.commit()?;
        Ok(out)
    }
}
