use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tempfile::TempDir;

use super::*;
use crate::model::{IntentId, Surface};
use crate::store::error::StoreError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::tests::{Insert, open};
use crate::store::sqlite::tx::Tx;
use crate::store::types::{Accept, Accepted, Duplicate, IntentRow};

fn accept(store: &Sqlite, key: u32) -> Accepted {
    accept_within(store, key, Duration::from_secs(3600))
}

fn accept_within(store: &Sqlite, key: u32, window: Duration) -> Accepted {
    // Every seventh key is a relay's, whose digest is made otherwise.
    let is_event = !key.is_multiple_of(7);
    let text = format!("key-{key}");
    store
        .write_blocking(Accept {
            surface: if is_event {
                Surface::Event
            } else {
                Surface::Relay
            },
            label: "s".to_owned(),
            url: (!is_event).then(|| "https://example.com/".to_owned()),
            event_type: None,
            query: None,
            destinations: ["d".to_owned()].into(),
            order_keys: Vec::new(),
            owner: None,
            headers: Vec::new(),
            metadata: None,
            body: vec![b'1'].into(),
            key: Some(if is_event {
                IdempotencyKey::of_event("s", text)
            } else {
                IdempotencyKey::of_relay("api key", text, b"1")
            }),
            window,
        })
        .expect("accepted")
}

fn count(store: &Sqlite, sql: &'static str) -> u32 {
    store
        .read_blocking(|connection| Ok(connection.query_row(sql, [], |row| row.get(0))?))
        .expect(sql)
}

/// A copy of the database as a crash would leave it.
fn crashed(directory: &TempDir) -> TempDir {
    let copy = tempfile::tempdir().expect("a directory");
    for entry in fs::read_dir(directory).expect("a directory") {
        let name = entry.expect("an entry").file_name();
        fs::copy(directory.path().join(&name), copy.path().join(&name)).expect("a copy");
    }
    copy
}

#[test]
fn no_key_is_forgotten_however_a_process_ends() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut directory = tempfile::tempdir().expect("a directory");
    let mut store = open(&directory).0;
    let mut known: HashMap<u32, IntentId> = HashMap::new();
    let (mut most_held, mut passes) = (0, 0);
    for step in 0..1_000 {
        let key = random.random_range(0..500);
        match (accept(&store, key), known.get(&key)) {
            (Accepted::New(id, _), None) => {
                known.insert(key, id);
            }
            (Accepted::Duplicate(duplicate), Some(earlier)) => {
                assert_eq!(duplicate.id, *earlier);
            }
            (was, earlier) => {
                panic!("step {step}: key {key} was {was:?}, and {earlier:?} before")
            }
        }
        match random.random_range(0..100) {
            0 => {
                let copy = crashed(&directory);
                store.stop();
                directory = copy;
                store = open(&directory).0;
            }
            1 => {
                store.stop();
                store = open(&directory).0;
            }
            2 => {
                let full = Insert("e", |_: &Tx<'_>| Err(StoreError::Full));
                store.write_blocking(full).expect_err("it failed");
            }
            3 if !known.is_empty() => {
                let key = *known.keys().next().expect("there is one");
                let row = known.remove(&key).expect("it is known").row();
                let discard = Insert("f", move |tx: &Tx<'_>| {
                    tx.sql.execute("DELETE FROM intents WHERE id = ?1", [row])?;
                    tx.sql
                        .execute("DELETE FROM destinations WHERE name = 'f'", [])?;
                    tx.deleted(IntentRow(row));
                    Ok(())
                });
                store.write_blocking(discard).expect("discarded");
            }
            _ => {}
        }
        let held = count(
            &store,
            "SELECT count(*) FROM intents WHERE id NOT IN (SELECT intent_id FROM idempotency)",
        );
        most_held = most_held.max(held);
        passes = passes.max(count(
            &store,
            "SELECT count(*) FROM intents WHERE id <= (SELECT swept_to FROM key_sweep)",
        ));
    }
    assert!(
        most_held as usize <= BUFFERED + CHUNK,
        "{most_held} keys were kept in memory"
    );
    assert!(
        passes as usize > known.len() / 2,
        "up to {passes} the table is complete"
    );
    store.stop();
}

#[test]
fn a_start_with_many_keys_flushes_them_all() {
    let directory = tempfile::tempdir().expect("a directory");
    let sql = crate::store::sqlite::open::writer(&directory.path().join("relay.db"), &|| 0)
        .expect("a database");
    let many = i64::try_from(BUFFERED + 1).expect("few");
    for row in 1..=many {
        sql.execute(
            "INSERT INTO intents (id, random, surface, created_at, label, idempotency_key,
                                  headers, body)
             VALUES (?1, 0, 1, 0, 's', ?1, x'', x'')",
            [row],
        )
        .expect("an intent");
        let mut keys = RecentKeys::load(&sql).expect("keys");
        keys.flush_if_many(&sql);
        let left = keys.recent.len();
        let expected = if row == many { 0 } else { row };
        assert_eq!(i64::try_from(left).expect("few"), expected);
    }
    let (moved, swept_to): (i64, i64) = sql
        .query_row(
            "SELECT (SELECT count(*) FROM idempotency), swept_to FROM key_sweep",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .expect("a row");
    assert_eq!((moved, swept_to), (many, many));
}

#[test]
fn intents_without_keys_advance_the_mark_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let sql = crate::store::sqlite::open::writer(&directory.path().join("relay.db"), &|| 0)
        .expect("a database");
    let mark = || -> i64 {
        sql.query_row("SELECT swept_to FROM key_sweep", [], |row| row.get(0))
            .expect("a mark")
    };
    let mut keys = RecentKeys::load(&sql).expect("none");
    for row in (1..).take(2 * PASS_EVERY) {
        keys.accepted();
        keys.flush(&sql).expect("a flush");
        keys.committed(row);
    }
    let read = i64::try_from(PASS_EVERY).expect("few");
    assert!(mark() >= read - 1, "{}", mark());
    // A start with many intents advances the mark at once.
    for row in (2 * read..).take(PASS_EVERY + 1) {
        sql.execute(
            "INSERT INTO intents (id, random, surface, created_at, label, headers, body)
             VALUES (?1, 0, 1, 0, 's', x'', x'')",
            [row],
        )
        .expect("an intent");
    }
    RecentKeys::load(&sql).expect("none").flush_if_many(&sql);
    assert_eq!(mark(), 3 * read);
}

#[test]
fn flushes_keep_up_with_any_load() {
    let directory = tempfile::tempdir().expect("a directory");
    let sql = crate::store::sqlite::open::writer(&directory.path().join("relay.db"), &|| 0)
        .expect("a database");
    let mut keys = RecentKeys::load(&sql).expect("no keys");
    for commit in 0..100 {
        for at in (commit * 1_000..).take(3 * CHUNK) {
            keys.add((rand::random(), at));
        }
        keys.flush(&sql).expect("a flush");
        keys.committed(commit);
        assert!(keys.recent.len() < BUFFERED + 3 * CHUNK, "after {commit}");
    }
}

#[test]
fn a_key_that_was_used_again_names_the_newer_one_after_a_start_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut store, mut ids) = (open(&directory).0, Vec::new());
    for _ in 0..2 {
        let Accepted::New(id, _) = accept_within(&store, 1, Duration::ZERO) else {
            panic!("its window is over");
        };
        ids.push(id);
    }
    for _ in 0..2 {
        assert_eq!(
            accept(&store, 1),
            Accepted::Duplicate(Duplicate::of_same_body(ids[1]))
        );
        store.stop();
        store = open(&directory).0;
    }
    store.stop();
}

#[test]
fn new_intents_come_after_the_mark_of_flushed_keys() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory).0;
    let ahead = IntentId::first_row_at(2_500_000_000_000);
    let moved = Insert("e", move |tx: &Tx<'_>| {
        tx.sql
            .execute("UPDATE key_sweep SET swept_to = ?1", [ahead])?;
        Ok(())
    });
    store.write_blocking(moved).expect("moved");
    store.stop();
    let store = open(&directory).0;
    let Accepted::New(id, _) = accept(&store, 1) else {
        panic!("it is new");
    };
    store.stop();
    let store = open(&directory).0;
    assert_eq!(
        accept(&store, 1),
        Accepted::Duplicate(Duplicate::of_same_body(id))
    );
    store.stop();
}

#[test]
fn a_chunk_of_a_failed_transaction_is_flushed_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let sql = crate::store::sqlite::open::writer(&directory.path().join("relay.db"), &|| 0)
        .expect("a database");
    let mut keys = RecentKeys::load(&sql).expect("no keys");
    let all = i64::try_from(BUFFERED).expect("few");
    for row in 1..=all {
        sql.execute(
            "INSERT INTO intents (id, random, surface, created_at, label, idempotency_key,
                                  headers, body)
             VALUES (?1, 0, 1, 0, 's', 'k', x'', x'')",
            [row],
        )
        .expect("an intent");
        keys.add((row, row));
    }
    keys.committed(all);
    sql.execute_batch("BEGIN").expect("a transaction");
    keys.flush(&sql).expect("a flush");
    sql.execute_batch("ROLLBACK").expect("a failure");
    keys.rolled_back();
    keys.committed(all);
    for row in 1..=all {
        assert_eq!(keys.candidates(row), [row]);
    }
    keys.flush(&sql).expect("a flush");
    keys.committed(all);
    assert_eq!(keys.candidates(1), [0; 0]);
    let moved: i64 = sql
        .query_row("SELECT max(digest) FROM idempotency", [], |row| row.get(0))
        .expect("some");
    assert_eq!(moved, i64::try_from(CHUNK).expect("few"));
    assert_eq!(keys.candidates(moved + 1), [moved + 1]);
}
