use rusqlite::Connection;

use super::changes::{ByState, COUNT};
use super::*;
use crate::model::DeliveryState;
use crate::model::DeliveryState::{DeadLettered, Delivered, Processing, Queued, Retrying};
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::tests::{Insert, event_to, open, schema};
use crate::store::sqlite::tx::Tx;
use crate::store::types::DestinationId;

fn changes(moves: &[(i64, Option<DeliveryState>, Option<DeliveryState>)]) -> CountChanges {
    let mut changes = CountChanges::default();
    for (destination, from, to) in moves {
        changes.moved(DestinationId(*destination), *from, *to);
    }
    changes
}

#[test]
fn transactions_change_what_was_stored_before_them() {
    let counts = Counts::default();
    // Committed while the stored deliveries are being counted.
    counts.add(&changes(&[
        (1, Some(Queued), Some(Processing)),
        (2, None, Some(Queued)),
    ]));
    assert_eq!(
        (counts.totals(), counts.waiting(DestinationId(1))),
        (None, None)
    );
    counts.complete(&changes(&[
        (1, None, Some(Queued)),
        (1, None, Some(Retrying)),
        (3, None, Some(DeadLettered)),
    ]));
    counts.add(&changes(&[(1, Some(Retrying), Some(Processing))]));
    let totals = counts.totals().expect("they are counted");
    assert_eq!(
        totals,
        [
            (Queued, 1),
            (Processing, 2),
            (Retrying, 0),
            (DeadLettered, 1)
        ]
    );
    assert_eq!(
        [1, 2, 3].map(|id| counts.waiting(DestinationId(id))),
        [Some(0), Some(1), Some(0)]
    );
}

#[test]
fn a_destination_for_which_nothing_waits_takes_no_memory() {
    let counts = Counts::default();
    counts.complete(&changes(&[(1, None, Some(DeadLettered))]));
    for step in [
        (2, None, Some(Queued)),
        (2, Some(Queued), Some(Processing)),
        (2, Some(Processing), Some(Delivered)),
    ] {
        counts.add(&changes(&[step]));
    }
    assert_eq!(counts.known().by_destination.len(), 0);
}

#[test]
fn the_dead_letters_of_each_destination_are_known_unless_too_many_have_some() {
    let counts = Counts::default();
    let dead = |id| counts.dead_lettered(DestinationId(id));
    let one = |id, from, to| counts.add(&changes(&[(id, from, to)]));
    one(1, Some(DeadLettered), Some(Queued));
    assert_eq!(dead(1), None, "they are not counted yet");
    counts.complete(&changes(&[
        (1, None, Some(DeadLettered)),
        (1, None, Some(DeadLettered)),
    ]));
    assert_eq!((dead(1), dead(2)), (Some(1), Some(0)));
    let in_state = |state, id| counts.in_state(state, id);
    assert_eq!(in_state(DeadLettered, Some(DestinationId(1))), Some(1));
    assert_eq!(in_state(Queued, Some(DestinationId(1))), Some(1));
    assert_eq!(in_state(DeadLettered, None), Some(1));
    assert_eq!(in_state(Delivered, None), None, "these are not counted");
    for id in 2..=16 {
        one(id, None, Some(DeadLettered));
    }
    assert_eq!((dead(1), dead(16)), (Some(1), Some(1)));
    one(17, None, Some(DeadLettered));
    assert_eq!((dead(1), dead(17)), (None, None));
    assert_eq!(in_state(DeadLettered, None), Some(17));
}

fn waiting(store: &Sqlite, destination: i64) -> Option<i64> {
    store.shared().counts.waiting(DestinationId(destination))
}

/// In the order of [`COUNTED_STATES`], once they are counted.
fn totals(store: &Sqlite) -> ByState {
    loop {
        match store.deliveries() {
            Some(totals) => break totals.map(|(_, count)| count),
            None => std::thread::yield_now(),
        }
    }
}

#[test]
fn accepted_deliveries_are_counted_and_so_are_those_a_start_finds() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    assert_eq!(totals(&store), [0, 0, 0, 0]);
    let accept = event_to(&["a", "b"]);
    store.write_blocking(accept).expect("committed");
    assert_eq!(
        (totals(&store), waiting(&store, 1)),
        ([2, 0, 0, 0], Some(1))
    );
    store.stop();
    let (store, _end) = open(&directory);
    assert_eq!(
        (totals(&store), waiting(&store, 2)),
        ([2, 0, 0, 0], Some(1))
    );
    store.stop();
}

#[test]
fn changes_of_commands_without_a_server_are_counted_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    store.stop();
    let command = Connection::open(directory.path().join("relay.db")).expect("a connection");
    command
        .execute_batch(
            "INSERT INTO destinations (id, name) VALUES (1, 'a');
             INSERT INTO intents (id, random, surface, created_at, label, headers, body)
             VALUES (1, 0, 1, 0, 'a', x'', x'');
             INSERT INTO deliveries (intent_id, destination_id, state, next_attempt_at, updated_at)
             VALUES (1, 1, 0, 0, 0);
             INSERT INTO count_changes VALUES (1, 0, 1);",
        )
        .expect("rows");
    let (store, _end) = open(&directory);
    // A later command makes the server look at the changes that were left.
    command
        .execute_batch("UPDATE destinations SET name = 'b'")
        .expect("a row");
    store
        .write_blocking(Insert("c", |_: &Tx<'_>| Ok(())))
        .expect("committed");
    assert_eq!(totals(&store), [1, 0, 0, 0]);
    store.stop();
}

#[test]
fn each_state_is_counted_in_its_partial_index() {
    let sql = schema();
    for (select, index) in COUNT.into_iter().zip(["due", "claimed", "dead"]) {
        let plan = |row: &rusqlite::Row<'_>| row.get::<_, String>(3);
        let mut statement = sql
            .prepare(&format!("EXPLAIN QUERY PLAN {select}"))
            .expect("good SQL");
        let steps: Vec<_> = statement.query_map([], plan).expect("a plan").collect();
        let reads = steps[0].as_ref().expect("text");
        assert!(
            reads.contains(&format!("COVERING INDEX {index}")),
            "{reads}"
        );
    }
}
