//! Late entrants, and the plans of the statements.

use rusqlite::Connection;

use super::*;
use crate::store::sqlite::tests::schema;

const DESTINATION: DestinationId = DestinationId(1);

fn key() -> OrderKey {
    OrderKey::from_number(7)
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_000)
}

/// A new delivery of this event enters the line.
fn add(sql: &Connection, intent: i64) {
    sql.execute(
        "INSERT OR IGNORE INTO intents (id, random, surface, created_at, label, headers, body)
         VALUES (?1, 0, 1, 0, 's', x'', x'')",
        [intent],
    )
    .expect("an intent");
    let tx = Tx::of_operator(sql, now());
    let due = enter(&tx, IntentRow(intent), DESTINATION, key(), now()).expect("it enters");
    sql.execute(
        "INSERT INTO deliveries (intent_id, destination_id, state, next_attempt_at, updated_at,
                                 order_key, place)
         VALUES (?1, 1, 0, ?2, 0, 7, ?1)",
        params![intent, due],
    )
    .expect("a delivery");
}

fn finish(sql: &Connection, intent: i64) {
    leave(&Tx::of_operator(sql, now()), IntentRow(intent), DESTINATION).expect("it leaves");
    sql.execute(
        "UPDATE deliveries SET state = 3, next_attempt_at = NULL, claim = NULL
         WHERE intent_id = ?1",
        [intent],
    )
    .expect("finished");
}

/// The deliveries that aren't blocked.
fn free(sql: &Connection) -> Vec<i64> {
    let mut statement = sql
        .prepare(
            "SELECT intent_id FROM deliveries
             WHERE place IS NOT NULL AND next_attempt_at IS NOT ?1 ORDER BY intent_id",
        )
        .expect("good SQL");
    let rows = statement.query_map([BLOCKED], |row| row.get(0));
    rows.expect("rows")
        .collect::<Result<_, _>>()
        .expect("numbers")
}

#[test]
fn an_older_event_that_enters_late_goes_before_those_that_have_not_begun() {
    let sql = schema();
    for intent in [20, 30, 10, 5] {
        add(&sql, intent);
    }
    assert_eq!(free(&sql), [5]);
    for next in [10, 20, 30] {
        let head = free(&sql)[0];
        finish(&sql, head);
        assert_eq!(free(&sql), [next]);
    }
    finish(&sql, 30);
    assert!(free(&sql).is_empty());
}

#[test]
fn an_older_event_waits_behind_one_that_was_attempted_is_claimed_or_blocks() {
    for begun in [
        "state = 0, attempts = 1",
        "state = 1, claim = 9, next_attempt_at = NULL",
        "state = 2, attempts = 1",
        "state = 4, next_attempt_at = NULL, last_error = 'e'",
    ] {
        let sql = schema();
        add(&sql, 20);
        sql.execute(&format!("UPDATE deliveries SET {begun}"), [])
            .expect("begun");
        add(&sql, 10);
        // Another one finds it blocked, and is blocked, too.
        add(&sql, 5);
        assert_eq!(free(&sql), [20], "{begun}");
        finish(&sql, 20);
        assert_eq!(free(&sql), [5], "{begun}");
    }
}

#[test]
fn a_delivery_that_leaves_from_the_middle_releases_nobody() {
    let sql = schema();
    for intent in [10, 20, 30] {
        add(&sql, intent);
    }
    finish(&sql, 20);
    assert_eq!(free(&sql), [10]);
    finish(&sql, 10);
    assert_eq!(free(&sql), [30]);
    // Nor does one that leaves while the first in the line is blocked: the claimed one goes first.
    sql.execute(
        "UPDATE deliveries SET state = 1, claim = 9, next_attempt_at = NULL WHERE intent_id = 30",
        [],
    )
    .expect("claimed");
    for intent in [5, 40] {
        add(&sql, intent);
    }
    finish(&sql, 40);
    assert_eq!(free(&sql), [30]);
}

#[test]
fn a_line_is_crowded_only_while_it_moves() {
    let sql = schema();
    for intent in [10, 20, 30] {
        add(&sql, intent);
    }
    let is_crowded = |many| is_crowded(&sql, DESTINATION, key(), many).expect("an answer");
    assert!(is_crowded(3) && !is_crowded(4));
    sql.execute(
        "UPDATE deliveries SET state = 4, next_attempt_at = NULL, last_error = 'e'
         WHERE intent_id = 10",
        [],
    )
    .expect("dead");
    assert!(!is_crowded(3));
}

#[test]
fn each_statement_searches_one_line_however_long_it_is() {
    let sql = schema();
    let line = "SEARCH deliveries USING COVERING INDEX line \
                (destination_id=? AND order_key=? AND place>?)";
    let row = "SEARCH deliveries USING PRIMARY KEY (intent_id=? AND destination_id=?)";
    for (statement, expected) in [
        (SELECT_FIRST, vec![line]),
        (RELEASE_FIRST, vec![row, line]),
        (STEP_TO_THE_END, vec![row, line, line]),
    ] {
        let mut plan = sql
            .prepare(&format!("EXPLAIN QUERY PLAN {statement}"))
            .expect("good SQL");
        let steps = plan
            .raw_query()
            .mapped(|row| row.get::<_, String>(3))
            .collect::<Result<Vec<_>, _>>()
            .expect("a plan");
        let reads: Vec<_> = steps
            .iter()
            .filter(|step| step.starts_with("SEARCH") || step.starts_with("SCAN"))
            .filter(|step| !step.contains("intents"))
            .collect();
        assert_eq!(reads, expected, "{statement}");
        assert!(
            !steps.iter().any(|step| step.contains("TEMP B-TREE")),
            "{statement}: {steps:?}"
        );
    }
}
