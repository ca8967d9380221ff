use std::sync::Arc;
use std::sync::mpsc::channel;

use super::*;
use crate::clock::SystemClock;
use crate::store::sqlite::open;
use crate::store::sqlite::tests::{Insert, open_watched, writing};
use crate::store::sqlite::tx::Tx;

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
    let mut operator = writing(&directory);
    let mut pause = |destination: &str| {
        operator.pause(destination, "a test").expect("committed");
    };
    let own = |name| store.write_blocking(Insert(name, |_: &Tx<'_>| Ok(())));
    own("own").expect("committed");
    assert!(noticed.try_recv().is_err(), "its own writes are none");
    pause("a");
    own("next").expect("committed");
    // The server notices it with its next batch.
    noticed.recv().expect("it is noticed");
    pause("b");
    noticed.recv().expect("it is noticed without a batch");
    assert!(noticed.try_recv().is_err());
    store.stop();
}
