//! What other processes write: commands, beside the running server. SQLite tells by a number whether
//! anybody else has committed, and a command leaves what it changed about the counts.

use std::cell::Cell;

use rusqlite::Connection;

use super::counts::CountChanges;
use super::{StoreError, Tx, WriteOp};

/// Notices commits of other connections.
#[derive(Debug)]
pub(super) struct Outside {
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

    /// At the beginning of a transaction, when nobody else can write: takes what commands have left.
    pub fn take(&self, sql: &Connection, changes: &mut CountChanges) -> rusqlite::Result<()> {
        self.found.set(data_version(sql)?);
        if self.found != self.seen {
            changes.take(sql)?;
        }
        Ok(())
    }

    /// The transaction is durable. Whether others had written before it.
    pub fn committed(&self) -> bool {
        self.seen.replace(self.found.get()) != self.found.get()
    }
}

fn data_version(sql: &Connection) -> rusqlite::Result<i64> {
    sql.prepare_cached("PRAGMA data_version")?
        .query_row([], |row| row.get(0))
}

/// Does nothing itself: its transaction takes what commands have left. The writer sends it to
/// itself, when others have written and nobody else makes it write.
pub(super) struct TakeOutside;

impl WriteOp for TakeOutside {
    type Out = ();

    fn apply(&self, _tx: &Tx<'_>) -> Result<(), StoreError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use super::*;
    use crate::clock::SystemClock;
    use crate::store::sqlite::open;
    use crate::store::sqlite::tests::{Insert, open_watched};
    use crate::store::{Operator, Pause};

    #[test]
    fn a_commit_of_another_connection_is_noticed_once_and_nothing_else_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("relay.db");
        let sql = open::writer(&path, &|| 0).expect("it opens");
        let other = Connection::open(&path).expect("a second connection");
        let outside = Outside::new(&sql).expect("a number");
        let has_written = || outside.has_written(&sql).expect("a number");
        let write = |sql: &Connection, name: &str| {
            sql.execute("INSERT INTO destinations (name) VALUES (?1)", [name])
                .expect("room");
        };
        write(&sql, "own");
        sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .expect("a checkpoint");
        write(&sql, "own, in a new WAL");
        other
            .query_row("SELECT count(*) FROM destinations", [], |_| Ok(()))
            .expect("a read");
        assert!(!has_written());
        write(&other, "other");
        assert!(has_written());
        let mut changes = CountChanges::default();
        sql.execute_batch("BEGIN IMMEDIATE").expect("nobody writes");
        outside.take(&sql, &mut changes).expect("it reads");
        // Nothing was committed: it is noticed again.
        sql.execute_batch("ROLLBACK").expect("a transaction");
        assert!(has_written());
        sql.execute_batch("BEGIN IMMEDIATE").expect("nobody writes");
        outside.take(&sql, &mut changes).expect("it reads");
        sql.execute_batch("COMMIT").expect("a transaction");
        assert!(outside.committed());
        assert!(!has_written() && !outside.committed());
    }

    #[test]
    fn a_command_is_noticed_by_an_idle_server_and_by_a_busy_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let (notice, noticed) = channel();
        let (store, _end) = open_watched(
            &directory,
            Arc::new(SystemClock::new()),
            Arc::new(|_| {}),
            Arc::new(move || notice.send(()).expect("the test listens")),
        );
        let path = directory.path().join("relay.db");
        let mut operator = Operator::writing(&path).expect("a database");
        let mut pause = |destination: &str| {
            let op = Pause {
                destination: destination.to_owned(),
                reason: "a test".to_owned(),
            };
            operator.write(&op).expect("committed");
        };
        let own = |name| store.write_blocking(Insert(name, |_: &Tx<'_>| Ok(())));
        own("own").expect("committed");
        assert!(noticed.try_recv().is_err(), "its own writes are none");
        pause("a");
        own("next").expect("committed");
        // Its next batch had noticed it before it was answered, or soon after.
        noticed.recv().expect("it is noticed");
        pause("b");
        noticed.recv().expect("it is noticed without a batch");
        assert!(noticed.try_recv().is_err());
        store.stop();
    }
}
