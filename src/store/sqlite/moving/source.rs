//! A file that is moved.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::marks::{AWAY, UNFINISHED, Use, mark, refuse_if_marked};
use super::rows;
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::store::error::OpenError;
use crate::store::move_error::MoveError;
use crate::store::sqlite::lock_file::{self, Lock, LockFileRecord};
use crate::store::sqlite::paths::canonical;
use crate::store::sqlite::{open, restore, settings};
use crate::store::types::{MoveSource, MovedAway, MovedTable, OnRows, UnfinishedMove};

/// A file with its lock, and in a transaction that keeps commands from changing it. Without its
/// end everything in it stays as it was.
pub struct MovedFile {
    sql: Connection,
    path: PathBuf,
    /// After the connection: it is dropped last.
    _lock: Lock,
}

impl MovedFile {
    /// Locks a file. Refused beside a server.
    pub fn lock(path: &Path) -> Result<Self, MoveError> {
        let path = canonical(path);
        restore::refuse_if_interrupted(&path)?;
        if !path.is_file() {
            return Err(OpenError::Missing { path }.into());
        }
        let mut lock = lock_file::acquire(&path).map_err(|error| served(&path, error))?;
        lock.guard(&path).map_err(|error| served(&path, error))?;
        restore::refuse_if_interrupted(&path)?;
        let sql = open::operator(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let failed =
            |source: rusqlite::Error| MoveError::of(path.display().to_string(), source.to_string());
        sql.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
        if mark::<UnfinishedMove>(&sql, UNFINISHED)
            .map_err(failed)?
            .is_some()
        {
            refuse_if_marked(&sql, &path, Use::Reading)?;
        }
        let held: Option<String> = settings::get(&sql, settings::HELD).map_err(failed)?;
        if held.is_some() {
            return Err(MoveError::Held {
                name: path.display().to_string(),
            });
        }
        Ok(Self {
            sql,
            path,
            _lock: lock,
        })
    }

    fn failed(&self, source: &rusqlite::Error) -> MoveError {
        MoveError::of(self.name(), source.to_string())
    }
}

/// Names the relay that holds the lock.
fn served(path: &Path, error: OpenError) -> MoveError {
    match error {
        OpenError::InUse { holder, .. } => MoveError::Served {
            name: path.display().to_string(),
            holder,
        },
        other => other.into(),
    }
}

impl MoveSource for MovedFile {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn moved_away(&mut self) -> Result<Option<MovedAway>, MoveError> {
        mark(&self.sql, AWAY).map_err(|error| self.failed(&error))
    }

    fn installation(&mut self) -> Result<String, MoveError> {
        let id: Result<Option<String>, _> = settings::get(&self.sql, settings::DATABASE_ID);
        let id = id.map_err(|error| self.failed(&error))?;
        id.ok_or_else(|| MoveError::of(self.name(), "settings has no database_id"))
    }

    fn now(&mut self) -> Result<Timestamp, MoveError> {
        Ok(LockFileRecord::beside(&self.path).now(SystemClock::new().wall()))
    }

    fn read(&mut self, table: &MovedTable, each: OnRows<'_>) -> Result<(), MoveError> {
        rows::read(&self.sql, &self.name(), table, each)
    }

    fn leave(&mut self, mark: &MovedAway) -> Result<(), MoveError> {
        let text = serde_json::to_string(mark)
            .map_err(|error| MoveError::of(self.name(), error.to_string()))?;
        let left =
            settings::set(&self.sql, AWAY, &text).and_then(|()| self.sql.execute_batch("COMMIT"));
        left.map_err(|error| self.failed(&error))
    }
}
