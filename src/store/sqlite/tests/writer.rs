//! The writer's promises.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use rusqlite::Connection;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::{Insert, committed, destinations, event, event_to, fine, hold, open, open_with, until};
use crate::model::Surface;
use crate::store::error::StoreError;
use crate::store::sqlite::Sqlite;
use crate::store::sqlite::ops::Probe;
use crate::store::sqlite::paths::path_beside;
use crate::store::sqlite::tx::Tx;
use crate::store::types::{Accept, Accepted, DestinationId, IdempotencyKey};

#[test]
fn nobody_is_answered_before_the_commit() {
    type Answer = oneshot::Receiver<Result<(), StoreError>>;

    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    let (give, slot) = channel();
    let slot = Arc::new(Mutex::new(slot));
    let (seen, at_commit) = channel();
    let op = Insert("a", move |tx: &Tx<'_>| {
        let (slot, seen) = (Arc::clone(&slot), seen.clone());
        // Runs when SQLite is about to commit: the waiter must not have been answered by then.
        tx.sql.commit_hook(Some(move || {
            let mut answer: Answer = slot
                .lock()
                .expect("no panics")
                .recv()
                .expect("the test gives it");
            let before = answer.try_recv();
            seen.send((before, answer)).expect("the test waits");
            false
        }))?;
        Ok(())
    });
    give.send(store.send(op).expect("room in the queue"))
        .expect("the hook waits");
    let (before, answer) = at_commit.recv().expect("the hook ran");
    assert!(matches!(before, Err(TryRecvError::Empty)), "{before:?}");
    committed(answer);
    store.stop();
}

#[test]
fn a_commit_that_fails_is_answered_with_its_failure() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    let refused = store.write_blocking(Insert("a", |tx: &Tx<'_>| {
        // A foreign key that only COMMIT checks.
        tx.sql.execute_batch(
            "PRAGMA defer_foreign_keys = ON;
             INSERT INTO deliveries (intent_id, destination_id, state, next_attempt_at, updated_at)
             VALUES (1, 1, 0, 0, 0);",
        )?;
        Ok(())
    }));
    assert!(refused.is_err());
    store
        .write_blocking(Insert("b", fine))
        .expect("the next one is unharmed");
    assert_eq!(destinations(&store), ["b"]);
    store.stop();
}

#[test]
fn a_rollback_that_fails_breaks_the_store() {
    use rusqlite::hooks::{AuthAction, AuthContext, Authorization, TransactionOperation};

    let directory = tempfile::tempdir().expect("a directory");
    let (store, end) = open(&directory);
    let refused = store.write_blocking(Insert("a", |tx: &Tx<'_>| {
        // SQLite's own ROLLBACK can't be made to fail, so it is forbidden instead.
        tx.sql.authorizer(Some(|context: AuthContext<'_>| {
            let operation = TransactionOperation::Rollback;
            if context.action == (AuthAction::Transaction { operation }) {
                Authorization::Deny
            } else {
                Authorization::Allow
            }
        }))?;
        Err(StoreError::Unexpected("on purpose".to_owned()))
    }));
    assert!(matches!(refused, Err(StoreError::Stopped)), "{refused:?}");
    let why = end.recv().expect("a reason");
    assert!(why.contains("the writer stopped"), "{why}");
    let next = store.write_blocking(Insert("b", fine));
    assert!(matches!(next, Err(StoreError::Stopped)), "{next:?}");
    store.stop();
}

#[test]
fn a_reader_that_is_left_in_a_transaction_is_not_used_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    let left = store.read_blocking(|sql| Ok(sql.execute_batch("BEGIN; SELECT * FROM intents")?));
    left.expect("a read");
    for _ in 0..64 {
        let next = store.read_blocking(|sql| Ok(sql.is_autocommit()));
        assert!(next.expect("a read"), "it would pin the WAL");
    }
    store.stop();
}

#[test]
fn one_bad_operation_does_not_fail_its_batch() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    let (go_on, held) = hold(&store);
    // These three are queued together, and so share the next transaction.
    let first = store.send(Insert("a", fine)).expect("room");
    let bad = store.send(Insert("a", fine)).expect("room");
    let last = store.send(Insert("c", fine)).expect("room");
    go_on.send(()).expect("the writer waits");
    committed(held);
    committed(first);
    let error = bad
        .blocking_recv()
        .expect("an answer")
        .expect_err("the name is taken");
    assert!(error.to_string().contains("UNIQUE"), "{error}");
    committed(last);
    assert_eq!(destinations(&store), ["a", "c"]);
    store.stop();
}

#[test]
fn queued_changes_share_a_commit() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    let commits = |store: &Sqlite| {
        let text = store.shared().metrics.render();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("relay_commits_total "));
        line.expect("a counter").parse::<u64>().expect("a number")
    };
    let (go_on, held) = hold(&store);
    let names = ["a", "b", "c", "d", "e"];
    let waiting: Vec<_> = names
        .map(|name| store.send(Insert(name, fine)).expect("room"))
        .into();
    go_on.send(()).expect("the writer waits");
    committed(held);
    waiting.into_iter().for_each(committed);
    assert_eq!(
        commits(&store),
        2,
        "the one that was held, and the five that waited"
    );
    store.stop();
}

#[test]
fn a_key_twice_in_one_commit_is_one_intent() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    let relay = |api_key, body: &[u8]| Accept {
        surface: Surface::Relay,
        url: Some("http://example.com/".to_owned()),
        key: Some(IdempotencyKey::of_relay(api_key, "k".to_owned(), body)),
        ..event_to(&["d"])
    };
    let (go_on, _held) = hold(&store);
    let waiting: Vec<_> = [
        event("k"),
        event("k"),
        relay("a", b"1"),
        relay("a", b"1"),
        relay("a", b"2"),
        relay("b", b"2"),
    ]
    .into_iter()
    .map(|op| store.send(op).expect("room in the queue"))
    .collect();
    go_on.send(()).expect("the writer waits");
    let became: Vec<_> = waiting.into_iter().map(committed).collect();
    let [
        Accepted::New(event, _),
        Accepted::Duplicate(same_event),
        Accepted::New(first, _),
        Accepted::Duplicate(same),
        Accepted::Conflict,
        Accepted::New(other, _),
    ] = became[..]
    else {
        panic!("{became:?}");
    };
    assert_eq!((event, first), (same_event.id, same.id));
    assert_ne!(first, other, "a key belongs to its API key");
    store.stop();
}

#[test]
fn a_stop_commits_what_was_sent_before_and_refuses_what_comes_after() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, end) = open(&directory);
    let (go_on, _held) = hold(&store);
    let before = store.send(Insert("a", fine)).expect("room");
    let stopping = {
        let store = store.clone();
        std::thread::spawn(move || store.stop())
    };
    go_on.send(()).expect("the writer waits");
    stopping.join().expect("the stop returns");
    committed(before);
    assert!(end.try_recv().is_err(), "nothing is broken");
    assert!(matches!(
        store.write_blocking(Probe),
        Err(StoreError::Stopped)
    ));
    drop(store);
    let (store, _end) = open(&directory);
    assert_eq!(destinations(&store), ["a"]);
    store.stop();
}

#[test]
fn a_panic_in_the_writer_ends_it_and_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, end) = open(&directory);
    let answer = store.write_blocking(Insert("a", |_: &Tx<'_>| panic!("on purpose")));
    assert!(matches!(answer, Err(StoreError::Stopped)));
    let ended = end.recv().expect("a reason");
    assert!(ended.contains("panicked"), "{ended}");
}

#[test]
fn the_executor_hears_of_work_after_the_commit_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let calls = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&calls);
    let (store, _end) = open_with(
        &directory,
        Arc::new(move |due: &[DestinationId]| {
            assert_eq!(due, [DestinationId(7)]);
            counter.fetch_add(1, Ordering::SeqCst);
        }),
    );
    let made_due = |name| {
        Insert(name, |tx: &Tx<'_>| {
            tx.notify_dispatcher(DestinationId(7));
            Ok(())
        })
    };
    store.write_blocking(made_due("a")).expect("committed");
    store
        .write_blocking(made_due("a"))
        .expect_err("the name is taken");
    store.write_blocking(Probe).expect("committed");
    store.stop();
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[test]
fn the_wal_is_emptied_when_there_is_nothing_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    store.write_blocking(Insert("a", fine)).expect("committed");
    assert!(store.file_sizes().1 > 0);
    // The writer tidies up a second after its last work.
    until("the WAL is emptied", || store.file_sizes().1 == 0);
    store.stop();
}

#[test]
fn a_checkpoint_that_was_cut_short_is_no_damage() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    let path = directory.path().join("relay.db");
    let reader = Connection::open(&path).expect("a second connection");
    let checkpointer = Connection::open(&path).expect("a third connection");
    let add = || {
        let name = Insert("a", |tx: &Tx<'_>| {
            let rename = "UPDATE destinations SET name = hex(randomblob(40)) WHERE name = 'a'";
            tx.sql.execute(rename, [])?;
            Ok(())
        });
        store.write_blocking(name).expect("committed");
    };
    let mut looked_damaged = 0;
    for round in 1..=60 {
        // A snapshot between the two rows: a page that the first row added and the second one
        // changed can't be moved, while the first page, which announces it, can.
        add();
        reader
            .execute_batch("BEGIN; SELECT count(*) FROM intents")
            .expect("a snapshot");
        add();
        checkpointer
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
            .expect("a checkpoint");
        reader.execute_batch("COMMIT").expect("the snapshot's end");
        // The files that a crash at this moment would leave.
        let crashed = tempfile::tempdir().expect("a directory");
        let copy = crashed.path().join("relay.db");
        std::fs::copy(&path, &copy).expect("a copy");
        let alone = Connection::open(&copy).expect("a connection");
        let version = alone.query_row("PRAGMA user_version", [], |_| Ok(()));
        drop(alone);
        let code = version.err().and_then(|error| error.sqlite_error_code());
        if code == Some(rusqlite::ErrorCode::DatabaseCorrupt) {
            looked_damaged += 1;
            let wal = |of: &Path| path_beside(of, "-wal");
            std::fs::copy(wal(&path), wal(&copy)).expect("a copy");
            let (recovered, _end) = open(&crashed);
            assert_eq!(destinations(&recovered).len(), round * 2);
            recovered.stop();
        }
    }
    assert!(
        looked_damaged > 0,
        "the scene was never the one that is tested"
    );
    store.stop();
}
