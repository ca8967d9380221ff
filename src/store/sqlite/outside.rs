//! Commits of other processes: commands, beside the running server. `SQLite` counts the commits of
//! other connections, and a command leaves its changes of the counts in a table.

use std::cell::Cell;

use rusqlite::Connection;

use super::counts::CountChanges;

/// Notices commits of other connections.
#[derive(Debug)]
pub struct Outside {
    /// `PRAGMA data_version` of the writer's connection, which changes when another connection has
    /// committed: as it was in the last transaction that was committed.
    seen: Cell<i64>,
    /// As it is in the transaction under way.
    found: Cell<i64>,
}

impl Outside {
    pub fn new(sql: &Connection) -> rusqlite::Result<Self> {
        let version = data_version(sql)?;
        Ok(Self {
            seen: Cell::new(version),
            found: Cell::new(version),
        })
    }

    /// Whether another connection has committed since the last transaction.
    pub fn has_written(&self, sql: &Connection) -> rusqlite::Result<bool> {
        Ok(data_version(sql)? != self.seen.get())
    }

    /// At the beginning of a transaction, when nobody else can write: takes the count changes that
    /// commands have left. Whether another connection has committed since the last transaction.
    pub fn take(&self, sql: &Connection, changes: &mut CountChanges) -> rusqlite::Result<bool> {
        self.found.set(data_version(sql)?);
        let has_written = self.found != self.seen;
        if has_written {
            changes.take(sql)?;
        }
        Ok(has_written)
    }

    /// The transaction is durable; whether others had written before it.
    pub fn committed(&self) -> bool {
        self.seen.replace(self.found.get()) != self.found.get()
    }
}

fn data_version(sql: &Connection) -> rusqlite::Result<i64> {
    sql.prepare_cached("PRAGMA data_version")?
        .query_row([], |row| row.get(0))
}

#[cfg(test)]
mod tests;
