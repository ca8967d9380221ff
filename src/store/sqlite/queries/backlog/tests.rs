use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use rusqlite::params;

use super::*;
use crate::store::sqlite::counts::CountChanges;
use crate::store::types::DestinationId;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn database() -> Connection {
    let sql = crate::store::sqlite::tests::schema();
    sql.execute_batch(
        "INSERT INTO intents (id, random, surface, created_at, label, headers, body)
         VALUES (1, 0, 1, 0, 'a', x'', x'')",
    )
    .expect("an intent");
    sql
}

/// Inserts a destination with waiting deliveries, the first of them due since `due_ago`.
fn insert(sql: &Connection, counts: &mut CountChanges, name: &str, waiting: i64, due_ago: i64) {
    sql.execute("INSERT INTO destinations (name) VALUES (?1)", [name])
        .expect("a destination");
    let destination = DestinationId(sql.last_insert_rowid());
    for number in 0..waiting {
        sql.execute(
            "INSERT OR IGNORE INTO intents (id, random, surface, created_at, label, headers, body)
             SELECT ?1, 0, 1, 0, 'a', x'', x''",
            [number + 1],
        )
        .expect("an intent");
        sql.prepare_cached(
            "INSERT INTO deliveries (intent_id, destination_id, state, next_attempt_at, updated_at)
             VALUES (?1, ?2, 0, ?3, 0)",
        )
        .expect("good SQL")
        .execute(params![
            number + 1,
            destination,
            NOW.as_millis() - due_ago + number
        ])
        .expect("a delivery");
        counts.moved(destination, None, Some(DeliveryState::Queued));
    }
}

fn read(sql: &Connection, stored: &CountChanges) -> Backlog {
    let counts = Counts::default();
    counts.complete(stored);
    super::read(sql, &counts, false, NOW, |name| name != "gone").expect("it reads")
}

#[test]
fn kept_deliveries_are_unknown_until_they_are_counted() {
    let backlog = super::read(&database(), &Counts::default(), false, NOW, |_| true);
    assert_eq!(backlog.expect("it reads").kept, None);
}

#[test]
fn the_cost_does_not_depend_on_the_waiting_deliveries() {
    let cost = |waiting| {
        let sql = database();
        let mut counts = CountChanges::default();
        for name in ["a", "b", "gone"] {
            insert(&sql, &mut counts, name, waiting, 10);
        }
        let instructions = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&instructions);
        sql.progress_handler(
            1,
            Some(move || {
                counter.fetch_add(1, Ordering::Relaxed);
                false
            }),
        )
        .expect("a handler");
        let backlog = read(&sql, &counts);
        assert_eq!(backlog.kept.map(|kept| kept[0].1), Some(waiting));
        instructions.load(Ordering::Relaxed)
    };
    let (few, many) = (cost(10), cost(10_000));
    assert!(
        many <= few * 3 / 2,
        "{few} instructions, and {many} of many rows"
    );
}

#[test]
fn nothing_is_overdue_while_a_restored_database_is_held() {
    let sql = database();
    let mut stored = CountChanges::default();
    insert(&sql, &mut stored, "a", 3, 10);
    let counts = Counts::default();
    counts.complete(&stored);
    let oldest_due = |is_held| {
        let backlog = super::read(&sql, &counts, is_held, NOW, |_| true);
        backlog.expect("it reads").oldest_due
    };
    let due = Timestamp::from_millis(NOW.as_millis() - 10);
    assert_eq!((oldest_due(false), oldest_due(true)), (Some(due), None));
}
