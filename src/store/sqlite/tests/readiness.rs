//! A full queue, a stalled writer and a full disk: what is refused, and whether the store is ready.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{Insert, committed, fill_queue, fine, hold, open, open_by, settings, try_open, until};
use crate::clock::{FakeClock, SystemClock, Timestamp};
use crate::store::health::STALLED_AFTER;
use crate::store::limits::OWN_PLACES;
use crate::store::sqlite::ops::Probe;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::writer::{Command, PendingWrite};
use crate::store::types::Unready;

#[test]
fn a_full_queue_refuses_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    let (go_on, _held) = hold(&store);
    let waiting = fill_queue(&store);
    go_on.send(()).expect("the writer waits");
    waiting.into_iter().for_each(committed);
    store.send(Probe).expect("there is room again");
    store.stop();
}

#[test]
fn own_operations_take_none_of_the_clients_places() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    let (go_on, _held) = hold(&store);
    for _ in 0..OWN_PLACES {
        let own = Command::OwnWrite(PendingWrite::boxed(Probe, oneshot::channel().0));
        assert!(store.queue().try_send(own).is_ok());
    }
    let waiting = fill_queue(&store);
    go_on.send(()).expect("the writer waits");
    waiting.into_iter().for_each(committed);
    store.stop();
}

#[test]
fn a_full_queue_is_ready() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    let (go_on, held) = hold(&store);
    let _waiting = fill_queue(&store);
    assert_eq!(store.readiness(), Ok(()));
    go_on.send(()).expect("the writer waits");
    committed(held);
    store.stop();
}

#[test]
fn a_writer_that_hangs_is_unready_until_it_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(1_700_000_000_000)));
    let (store, _end) = open_by(
        &directory,
        Arc::<FakeClock>::clone(&clock),
        Arc::new(|_| {}),
    );
    // An idle writer does not count as stalled.
    store.write_blocking(Probe).expect("committed");
    let (go_on, held) = hold(&store);
    clock.advance(STALLED_AFTER);
    assert_eq!(store.readiness(), Ok(()));
    clock.advance(Duration::from_millis(1));
    assert_eq!(store.readiness(), Err(Unready::Stalled));
    let next = store.send(Insert("a", fine)).expect("room");
    go_on.send(()).expect("the writer waits");
    committed(held);
    committed(next);
    assert_eq!(store.readiness(), Ok(()));
    store.stop();
    assert_eq!(store.readiness(), Err(Unready::Ended));
}

#[test]
fn a_refused_batch_is_unready_until_the_idle_writer_has_proven_that_it_can_write() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    store
        .write_blocking(Insert("a", |tx: &Tx<'_>| {
            // A foreign key that only COMMIT checks.
            tx.sql.execute_batch(
                "PRAGMA defer_foreign_keys = ON;
                 INSERT INTO deliveries (intent_id, destination_id, state, next_attempt_at, updated_at)
                 VALUES (1, 1, 0, 0, 0);",
            )?;
            Ok(())
        }))
        .expect_err("the commit fails");
    assert_eq!(store.readiness(), Err(Unready::Refused));
    // No client writes; the idle writer does, a second after its last work.
    until("it is ready", || store.readiness() == Ok(()));
    store.stop();
}

#[test]
fn a_probe_writes_to_the_disk() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    let other = Connection::open(directory.path().join("relay.db")).expect("a connection");
    let version = || -> i64 {
        other
            .query_row("PRAGMA data_version", [], |row| row.get(0))
            .expect("a number")
    };
    let before = version();
    store.write_blocking(Probe).expect("committed");
    assert_ne!(version(), before);
    store.stop();
}

#[test]
fn little_free_space_refuses_new_intents_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut settings = settings(&directory);
    settings.min_free_bytes = u64::MAX;
    let store = try_open(&settings, Arc::new(SystemClock::new())).expect("the store opens");
    assert!(store.is_low_on_space());
    store.write_blocking(Probe).expect("settling goes on");
    store.stop();
}
