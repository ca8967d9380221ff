//! Dead rows, and the transaction that keeps them.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Stopwatch;
use crate::store::postgres::tests::nodes::{open, until, until_shared};
use crate::store::postgres::tests::support::{Database, database, empty_database};
use crate::store::postgres::upkeep::{HorizonWatch, OldestTransaction, Vacuum, oldest_transaction};

#[test]
fn an_idle_transaction_is_named_as_the_oldest() {
    let Some((database, mut connection)) = database() else {
        return;
    };
    let oldest = oldest_transaction(&mut connection).expect("a read");
    assert_eq!(oldest, None, "nobody is in a transaction");
    let mut other = database.connection();
    other
        .batch(
            "SET application_name = 'report'; COMMIT;
             BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class",
        )
        .expect("it stays open");
    let oldest = oldest_transaction(&mut connection).expect("a read");
    let oldest = oldest.expect("it is seen");
    assert_eq!(oldest.application, "report");
    assert_eq!(oldest.state, "idle in transaction");
    assert!(oldest.pid > 0 && oldest.seconds >= 0.0, "{oldest:?}");
    other.batch("COMMIT").expect("it ends");
    let oldest = oldest_transaction(&mut connection).expect("a read");
    assert_eq!(oldest, None);
}

#[test]
fn a_transaction_that_stays_open_is_told_once() {
    let Some((database, mut connection)) = database() else {
        return;
    };
    let mut other = database.connection();
    other
        .batch("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class")
        .expect("it stays open");
    let mut watch = HorizonWatch::new(0.3);
    let clock = Stopwatch::start();
    let (mut looks, mut told) = (0, 0);
    while clock.elapsed() < Duration::from_millis(900) {
        let oldest = oldest_transaction(&mut connection).expect("a read");
        looks += 1;
        told += u32::from(watch.look(oldest.as_ref()));
    }
    assert!(told == 1 && looks > 10, "{told} times in {looks} looks");
    other.batch("COMMIT").expect("it ends");
    let oldest = oldest_transaction(&mut connection).expect("a read");
    assert!(watch.look(oldest.as_ref()), "its end is told");
    assert!(!watch.look(None));
}

/// How often a table was vacuumed, but by the server itself.
fn vacuums(database: &Database, table: &str) -> i64 {
    let count = format!(
        "SELECT vacuum_count FROM pg_stat_user_tables
         WHERE schemaname = 'relay' AND relname = '{table}'"
    );
    let count = database.psql(&count);
    count.trim().parse().expect("a number")
}

#[test]
fn the_leading_node_vacuums_hot_tables_and_big_ones_with_many_dead_rows() {
    let Some(database) = empty_database() else {
        return;
    };
    let (first, second) = (open(&database, "first"), open(&database, "second"));
    until_shared(&database, &first, &second);
    let led = [&first, &second].map(|node| node.shared().leads());
    assert_eq!(led.iter().filter(|leads| **leads).count(), 1, "{led:?}");
    let other = if led[0] { &second } else { &first };
    let mut idle = Vacuum::new(Arc::clone(other.shared()));
    database.psql(
        "INSERT INTO relay.waiting (destination_id, next_attempt_at, intent_id, updated_at)
             SELECT 1, 9223372036854775806, n, 0 FROM generate_series(1, 100) n;
         DELETE FROM relay.waiting;
         INSERT INTO relay.attempts (intent_id, destination_id, entry, attempt, started_at,
                                     duration_ms, outcome)
             SELECT n, 1, 1, 1, 0, 1, 0 FROM generate_series(1, 120000) n;
         DELETE FROM relay.attempts;
         INSERT INTO relay.idempotency (digest, intent_id, created_at)
             SELECT gen_random_uuid(), n, 0 FROM generate_series(1, 1000) n;
         DELETE FROM relay.idempotency",
    );
    assert_eq!(idle.run_once().expect("a look"), 0, "it doesn't lead");
    for table in ["waiting", "attempts"] {
        until(&database, table, || vacuums(&database, table) > 0);
    }
    assert_eq!(
        vacuums(&database, "idempotency"),
        0,
        "a thousand are no reason"
    );
}

#[test]
fn an_old_transaction_is_told_once_and_so_is_its_end() {
    let aged = |seconds| OldestTransaction {
        pid: 7,
        application: "report".to_owned(),
        state: "idle in transaction".to_owned(),
        seconds,
    };
    let mut watch = HorizonWatch::new(60.0);
    let looks = [Some(30.0), Some(61.0), Some(70.0), None, None, Some(90.0)];
    let changes = looks.map(|seconds| watch.look(seconds.map(aged).as_ref()));
    assert_eq!(changes, [false, true, false, true, false, true]);
}
