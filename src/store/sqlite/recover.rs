//! At the start, what is still claimed belongs to a process that died: sole ownership makes that
//! certain, and so recovery is instant.

use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior, params};

use super::StoreError;
use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId};

/// Ends once no transaction that began before is under way: what it changed is there for whoever reads
/// from now on. Another server writes only if its lock file was removed, and notices that within each
/// later transaction ([`super::lock`]).
pub(super) fn wait_for_others(connection: &Connection) -> Result<(), StoreError> {
    Ok(connection.execute_batch("BEGIN IMMEDIATE; COMMIT")?)
}

/// Interruptions in a row after which a delivery is given up: one whose processing kills the
/// process must not do so for ever. A decision: few enough that a crash loop ends within a minute
/// under any supervisor, many enough that a run of power cuts gives up nothing.
const MAX_INTERRUPTIONS: i64 = 5;

/// The second time that deliveries are interrupted together, they come back one after the other, so
/// far apart: then one that kills the process is alone when it does, and the others, long settled,
/// aren't given up with it.
const STAGGER_MILLIS: i64 = 250;

/// The index is named because the order would otherwise be had by reading all deliveries there are.
const HAND_BACK: &str = "UPDATE deliveries
         SET state = ?1, claim = NULL, updated_at = ?2, history = history + 1,
             next_attempt_at = ?2 + iif(interruptions = 0, 0, ?3 * place),
             interruptions = interruptions + 1,
             last_error = 'interrupted: the process ended before the outcome was known'
         FROM (SELECT intent_id AS i, destination_id AS d,
                      row_number() OVER (ORDER BY intent_id, destination_id) - 1 AS place
               FROM deliveries INDEXED BY claimed WHERE claim IS NOT NULL)
         WHERE intent_id = i AND destination_id = d";

/// Hands back every claimed delivery, and returns how many. The attempt that was under way stays
/// counted, and is recorded as interrupted: its outcome is unknown.
pub(super) fn run(
    connection: &Connection,
    now: Timestamp,
    longest_wait: Duration,
) -> Result<usize, StoreError> {
    let tx = rusqlite::Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    // These were claimed ahead, and had most likely not begun: they are due again as if nothing had been,
    // and before all others. One that kills the process is then among the first to be claimed, when
    // nothing is claimed ahead yet, and counts.
    let untouched = tx.execute(
        "UPDATE deliveries
         SET state = ?1, claim = NULL, updated_at = ?2, next_attempt_at = min(?2, intent_id >> 12),
             attempts = attempts - 1
         WHERE claim < 0",
        params![DeliveryState::Queued.number(), now.as_millis()],
    )?;
    let brought_forward = bring_forward(&tx, now, longest_wait)?;
    tx.execute(
        "INSERT INTO attempts (intent_id, destination_id, entry, attempt, started_at, duration_ms, outcome, error)
         SELECT intent_id, destination_id, history + 1, attempts, updated_at, 0, 3,
                'interrupted: the process ended before the outcome was known'
         FROM deliveries WHERE claim IS NOT NULL",
        [],
    )?;
    let given_up = tx.execute(
        "UPDATE deliveries
         SET state = ?1, claim = NULL, updated_at = ?2, history = history + 1,
             interruptions = interruptions + 1,
             last_error = 'interrupted ' || (interruptions + 1) || ' times in a row: the process ended during each attempt'
         WHERE claim IS NOT NULL AND interruptions + 1 >= ?3",
        params![DeliveryState::DeadLettered.number(), now.as_millis(), MAX_INTERRUPTIONS],
    )?;
    let handed_back = tx.execute(
        HAND_BACK,
        params![
            DeliveryState::Queued.number(),
            now.as_millis(),
            STAGGER_MILLIS
        ],
    )?;
    tx.commit()?;
    if handed_back + given_up + untouched > 0 {
        log::warn!(handed_back, given_up, untouched; "deliveries were interrupted when the process before this one ended");
    }
    if brought_forward > 0 {
        log::warn!(brought_forward; "deliveries waited for times that are far off: the system's clock was set back");
    }
    Ok(handed_back + given_up)
}

/// What was written by a clock that was ahead must not wait until this one is there: for when the lock
/// file, and with it the clock's place, is lost.
fn bring_forward(
    sql: &Connection,
    now: Timestamp,
    longest_wait: Duration,
) -> Result<usize, StoreError> {
    let latest = now.plus(longest_wait).as_millis();
    // Who was accepted in what is the future now is due, unless an attempt was made. Found by the
    // primary key: there are none, mostly.
    let queued = sql.execute(
        "UPDATE deliveries SET next_attempt_at = ?1
         WHERE intent_id >= ?2 AND state = ?3 AND next_attempt_at > ?1 AND updated_at > ?1",
        params![
            now.as_millis(),
            IntentId::first_row_at(now.as_millis()),
            DeliveryState::Queued.number()
        ],
    )?;
    let waiting = sql.execute(
        "UPDATE deliveries SET next_attempt_at = ?1
         WHERE (intent_id, destination_id) IN
               (SELECT d.intent_id, d.destination_id FROM destinations t
                CROSS JOIN deliveries d INDEXED BY due
                ON d.destination_id = t.id AND d.next_attempt_at > ?1)",
        [latest],
    )?;
    sql.execute(
        "UPDATE destinations SET held_until = ?1 WHERE held_until > ?1",
        [latest],
    )?;
    sql.execute(
        "UPDATE destinations SET probe_at = ?1 + probe_wait WHERE probe_at > ?1 + probe_wait",
        [now.as_millis()],
    )?;
    Ok(queued + waiting)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A start takes as long with ten million deliveries as with none.
    #[test]
    fn what_is_claimed_is_found_by_its_index() {
        let sql = Connection::open_in_memory().expect("a database");
        sql.execute_batch(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/schema.sql"
        )))
        .expect("the schema");
        let mut statement = sql
            .prepare(&format!("EXPLAIN QUERY PLAN {HAND_BACK}"))
            .expect("good SQL");
        let steps = statement
            .query_map(params![1, 1, 1], |row| row.get::<_, String>(3))
            .expect("a plan");
        let steps: Vec<String> = steps.map(|step| step.expect("text")).collect();
        let read: Vec<&String> = steps
            .iter()
            .filter(|step| step.contains("deliveries"))
            .collect();
        assert_eq!(
            read,
            [
                "SEARCH deliveries USING COVERING INDEX claimed (claim>?)",
                "SEARCH deliveries USING PRIMARY KEY (intent_id=? AND destination_id=?)",
            ]
        );
    }

    #[test]
    fn what_only_waited_was_not_interrupted() {
        let directory = tempfile::tempdir().expect("a directory");
        let sql = crate::store::sqlite::open::writer(&directory.path().join("relay.db"), &|| 0)
            .expect("a database");
        sql.execute_batch(
            "INSERT INTO destinations (name) VALUES ('a');
             INSERT INTO intents VALUES (1, 0, 1, 0, 's', NULL, NULL, NULL, NULL, NULL, x'', x'');
             INSERT INTO intents VALUES (2, 0, 1, 0, 's', NULL, NULL, NULL, NULL, NULL, x'', x'');
             INSERT INTO deliveries (intent_id, destination_id, state, attempts, claim, updated_at)
             VALUES (1, 1, 1, 3, 7, 0), (2, 1, 1, 3, -7, 0);",
        )
        .expect("rows");
        for _ in 0..2 * MAX_INTERRUPTIONS {
            let now = Timestamp::from_millis(10);
            run(&sql, now, Duration::from_secs(1)).expect("recovered");
            sql.execute(
                "UPDATE deliveries SET state = 1, claim = -7, next_attempt_at = NULL, attempts = attempts + 1
                 WHERE intent_id = 2 AND state = 0",
                [],
            )
            .expect("claimed ahead once more");
        }
        run(&sql, Timestamp::from_millis(10), Duration::from_secs(1)).expect("recovered");
        let mut statement = sql
            .prepare("SELECT state, attempts, interruptions, history FROM deliveries")
            .expect("good SQL");
        let rows = statement.query_map([], |row| {
            Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?])
        });
        let rows: Vec<[i64; 4]> = rows
            .expect("rows")
            .collect::<Result<_, _>>()
            .expect("numbers");
        assert_eq!(rows, [[0, 3, 1, 1], [0, 2, 0, 0]]);
    }
}
