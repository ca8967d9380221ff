//! A new file that another store is moved to.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::marks::{AWAY, UNFINISHED, mark};
use super::rows;
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::store::error::OpenError;
use crate::store::move_error::MoveError;
use crate::store::sqlite::lock_file::{self, Lock, LockFileRecord};
use crate::store::sqlite::paths::{canonical, path_beside, sync_directory_of};
use crate::store::sqlite::{open, private, restore, settings};
use crate::store::types::{
    MOVED, MoveTarget, MovedAway, MovedRow, MovedTable, MovedValue, OnRows, UnfinishedMove,
};

/// Batches between two checkpoints: some 100 MB of WAL.
const CHECKPOINT_EVERY: u32 = 25;

/// The endings of a database's files but for the lock file, the database last: it alone tells that
/// it is unfinished.
const FILES: [&str; 4] = ["-journal", "-shm", "-wal", ""];

/// A file with its lock.
pub struct NewFile {
    /// None until the move begins.
    sql: Option<Connection>,
    path: PathBuf,
    lock: Lock,
    /// Batches since the last checkpoint.
    batches: u32,
    /// The last event without a checksum.
    unchecked_to: Option<i64>,
    /// The time by the clock of the source, and that of the system at the same moment.
    times: Option<(Timestamp, Timestamp)>,
}

impl NewFile {
    /// Takes the lock. Refused beside a server.
    pub fn at(path: &Path) -> Result<Self, MoveError> {
        let path = canonical(path);
        restore::refuse_if_interrupted(&path)?;
        open::precheck(&path)?;
        let mut lock = lock_file::acquire(&path)?;
        if path.exists() {
            lock.guard(&path)?;
        }
        restore::refuse_if_interrupted(&path)?;
        let given = private::give_to_owner_of_directory(lock.file(), &path);
        given.map_err(|source| OpenError::Lock {
            path: path_beside(&path, ".lock"),
            source,
        })?;
        Ok(Self {
            sql: None,
            path,
            lock,
            batches: 0,
            unchecked_to: None,
            times: None,
        })
    }

    fn failed(&self, source: &rusqlite::Error) -> MoveError {
        MoveError::of(self.name(), source.to_string())
    }

    /// The file that is there, whatever it holds; none if there is none.
    fn existing(&self) -> Result<Option<Connection>, MoveError> {
        let is_empty = self.path.metadata().map_or(true, |found| found.len() == 0);
        if is_empty && lock_file::newest_of(self.lock.file()) == 0 {
            return Ok(None);
        }
        let access = OpenFlags::SQLITE_OPEN_READ_WRITE;
        Ok(Some(open::operator(&self.path, access)?))
    }

    /// Refuses a file that holds anything but an unfinished move.
    fn refuse_if_used(&self, sql: &Connection) -> Result<(), MoveError> {
        let failed = |error| self.failed(&error);
        if mark::<UnfinishedMove>(sql, UNFINISHED)
            .map_err(failed)?
            .is_some()
        {
            return Ok(());
        }
        if let Some(away) = mark::<MovedAway>(sql, AWAY).map_err(failed)? {
            let at = Timestamp::from_millis(away.at);
            return Err(MoveError::NotEmpty {
                name: self.name(),
                found: format!("a store that was moved to {} at {at}", away.to),
            });
        }
        for table in MOVED.iter().filter(|table| table.is_content()) {
            let look = format!("SELECT EXISTS (SELECT 1 FROM {})", table.name);
            let has_rows: bool = sql.query_row(&look, [], |row| row.get(0)).map_err(failed)?;
            if has_rows {
                return Err(MoveError::NotEmpty {
                    name: self.name(),
                    found: format!("rows of {}", table.name),
                });
            }
        }
        Ok(())
    }

    fn sql(&self) -> Result<&Connection, MoveError> {
        let sql = self.sql.as_ref();
        sql.ok_or_else(|| MoveError::of(self.name(), "the move has not begun"))
    }

    fn set_mark(&self, mark: &UnfinishedMove) -> Result<(), MoveError> {
        let text = serde_json::to_string(mark)
            .map_err(|error| MoveError::of(self.name(), error.to_string()))?;
        let set = settings::set(self.sql()?, UNFINISHED, &text);
        set.map_err(|error| self.failed(&error))
    }

    /// Moves the WAL into the file.
    fn checkpoint(&self) -> Result<(), MoveError> {
        let moved = self
            .sql()?
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        moved.map_err(|error| self.failed(&error))
    }
}

/// Removes the files of a database that nobody has open, for the owner of its lock, which forgets
/// what it remembers of it.
pub fn remove(path: &Path, lock: &File) -> Result<(), MoveError> {
    let failed =
        |source: std::io::Error| MoveError::of(path.display().to_string(), source.to_string());
    // First: a file that is gone must not be missed.
    lock_file::set_newest(lock, 0).map_err(failed)?;
    for ending in FILES {
        match fs::remove_file(path_beside(path, ending)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    sync_directory_of(path).map_err(failed)
}

impl MoveTarget for NewFile {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn unfinished(&mut self) -> Result<Option<UnfinishedMove>, MoveError> {
        if self.sql.is_none() {
            self.sql = self.existing()?;
        }
        match &self.sql {
            Some(sql) => mark(sql, UNFINISHED).map_err(|error| self.failed(&error)),
            None => Ok(None),
        }
    }

    fn begin(&mut self, mark: &UnfinishedMove) -> Result<(), MoveError> {
        if let Some(sql) = self.existing()? {
            self.refuse_if_used(&sql)?;
            drop(sql);
        }
        self.lock.end_guard();
        remove(&self.path, self.lock.file())?;
        open::create_by_command(&self.path, 0)?;
        self.lock.guard(&self.path)?;
        let sql = open::writer(&self.path, &|| 0)?;
        open::trust(&sql).map_err(|error| self.failed(&error))?;
        self.sql = Some(sql);
        self.set_mark(mark)?;
        self.checkpoint()
    }

    fn write(&mut self, table: &MovedTable, rows: Vec<MovedRow>) -> Result<(), MoveError> {
        if table.name == "intents" {
            self.unchecked_to = self.unchecked_to.max(last_unchecked(table, &rows));
        }
        let (sql, name) = (self.sql()?, self.name());
        let failed = |error| self.failed(&error);
        sql.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
        rows::write(sql, &name, table, &rows)?;
        sql.execute_batch("COMMIT").map_err(failed)?;
        self.batches += 1;
        if self.batches >= CHECKPOINT_EVERY {
            self.batches = 0;
            self.checkpoint()?;
        }
        Ok(())
    }

    fn copied(&mut self, installation: &str) -> Result<(), MoveError> {
        let sql = self.sql()?;
        let set = || -> rusqlite::Result<()> {
            settings::set(sql, settings::DATABASE_ID, &installation)?;
            if let Some(row) = self.unchecked_to {
                settings::set(sql, settings::UNCHECKED_TO, &row)?;
            }
            // All keys are in the table.
            sql.execute(
                "UPDATE key_sweep SET swept_to = (SELECT coalesce(max(id), 0) FROM intents)",
                [],
            )?;
            Ok(())
        };
        set().map_err(|error| self.failed(&error))
    }

    fn read(&mut self, table: &MovedTable, each: OnRows<'_>) -> Result<(), MoveError> {
        rows::read(self.sql()?, &self.name(), table, each)
    }

    fn now(&mut self, source: Timestamp) -> Result<Timestamp, MoveError> {
        // It goes on by the clock of the source, which the lock file remembers.
        self.times = Some((source, SystemClock::new().wall()));
        Ok(source)
    }

    fn complete(&mut self, mark: &UnfinishedMove) -> Result<(), MoveError> {
        if let Some((seen, wall)) = self.times {
            let record = LockFileRecord {
                newest: 0,
                seen: seen.as_millis(),
                ahead: seen.as_millis() - wall.as_millis(),
            };
            let set = lock_file::set_record(self.lock.file(), record);
            set.map_err(|error| MoveError::of(self.name(), error.to_string()))?;
        }
        self.set_mark(mark)?;
        self.checkpoint()
    }

    fn release(&mut self) -> Result<(), MoveError> {
        let sql = self.sql()?;
        let failed = |error| self.failed(&error);
        let newest = "SELECT coalesce(max(id), 0) FROM intents";
        let newest: i64 = sql
            .query_row(newest, [], |row| row.get(0))
            .map_err(failed)?;
        settings::remove(sql, UNFINISHED).map_err(failed)?;
        self.checkpoint()?;
        // Afterwards: an older copy of the file is refused from here on.
        let set = lock_file::set_newest(self.lock.file(), newest);
        set.map_err(|error| MoveError::of(self.name(), error.to_string()))
    }
}

/// The last of these events that has a payload and no checksum. One that was discarded has nothing
/// left to be checked, and no mark of being gone.
fn last_unchecked(table: &MovedTable, rows: &[MovedRow]) -> Option<i64> {
    let at = |name| table.columns.iter().position(|(column, _)| *column == name);
    let (id, checksum) = (at("id")?, at("checksum")?);
    let payload = [at("headers")?, at("body")?];
    let has_payload = |row: &MovedRow| {
        let mut parts = payload.iter().filter_map(|&part| row[part].bytes());
        parts.any(|bytes| !bytes.is_empty())
    };
    let unchecked = rows
        .iter()
        .filter(|row| row[checksum] == MovedValue::Null && has_payload(row));
    unchecked.filter_map(|row| row[id].number()).max()
}
