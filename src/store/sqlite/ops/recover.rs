//! Recovery at the start. Claims that are still there belong to a process that died: sole ownership
//! makes that certain, so recovery need not wait for them to expire.

use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use crate::clock::Timestamp;
use crate::model::DeliveryState;
use crate::store::error::StoreError;
use crate::store::sqlite::columns::BLOCKED;
use crate::store::types::IntentRow;

/// Waits for transactions that began before, so that later reads see their changes. Another server
/// writes only if its lock file was removed, and notices that within each later transaction (see
/// `lock_file::lock`).
pub fn wait_for_others(connection: &Connection) -> Result<(), StoreError> {
    Ok(connection.execute_batch("BEGIN IMMEDIATE; COMMIT")?)
}

/// Interruptions in a row after which a delivery is given up: a delivery that kills the process
/// must not do so for ever. A decision: few enough that a crash loop ends within a minute under any
/// supervisor, many enough that a series of power cuts gives up nothing.
const MAX_INTERRUPTIONS: i64 = 5;

/// Deliveries that are interrupted together a second time are due one after the other, this far
/// apart: a delivery that kills the process is then alone, and the others, settled before, are not
/// given up with it.
const STAGGER_MILLIS: i64 = 250;

/// Names the index, because `SQLite` would otherwise read all deliveries to get them in order.
const RELEASE: &str = "UPDATE deliveries
         SET state = ?1, claim = NULL, updated_at = ?2, history = history + 1,
             next_attempt_at = ?2 + iif(interruptions = 0, 0, ?3 * nth),
             interruptions = interruptions + 1,
             last_error = 'interrupted: the process ended before the outcome was known'
         FROM (SELECT intent_id AS i, destination_id AS d,
                      row_number() OVER (ORDER BY intent_id, destination_id) - 1 AS nth
               FROM deliveries INDEXED BY claimed WHERE claim IS NOT NULL)
         WHERE intent_id = i AND destination_id = d";

/// Releases every claimed delivery, and returns how many. The attempt that was in flight stays
/// counted, and is recorded as interrupted: its outcome is unknown.
pub fn run(
    connection: &Connection,
    now: Timestamp,
    longest_wait: Duration,
) -> Result<usize, StoreError> {
    let tx = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    // Prefetched deliveries had most likely not begun: they are due again as before, and before all
    // others. A prefetched delivery that kills the process is then among the first to be claimed,
    // when nothing is prefetched yet, and its interruptions count.
    let untouched = tx.execute(
        "UPDATE deliveries
         SET state = ?1, claim = NULL, updated_at = ?2, next_attempt_at = min(?2, intent_id >> 12),
             attempts = attempts - 1
         WHERE claim < 0",
        params![DeliveryState::Queued, now],
    )?;
    let brought_forward = bring_forward(&tx, now, longest_wait)?;
    tx.execute(
        "INSERT OR REPLACE INTO attempts
                (intent_id, destination_id, entry, attempt, started_at, duration_ms, outcome, error)
         SELECT intent_id, destination_id, history + 1, attempts, updated_at, 0, 3,
                'interrupted: the process ended before the outcome was known'
         FROM deliveries WHERE claim IS NOT NULL",
        [],
    )?;
    // One with an order keeps its place, as a dead letter that blocks: the database doesn't say
    // what its destination wants. If it is to be skipped, maintenance lets it leave the line.
    let given_up = tx.execute(
        "UPDATE deliveries
         SET state = ?1, claim = NULL, updated_at = ?2, history = history + 1,
             interruptions = interruptions + 1,
             last_error = 'interrupted ' || (interruptions + 1)
                 || ' times in a row: the process ended during each attempt'
         WHERE claim IS NOT NULL AND interruptions + 1 >= ?3",
        params![DeliveryState::DeadLettered, now, MAX_INTERRUPTIONS],
    )?;
    let handed_back = tx.execute(RELEASE, params![DeliveryState::Queued, now, STAGGER_MILLIS])?;
    tx.commit()?;
    if handed_back + given_up + untouched > 0 {
        log::warn!(
            handed_back, given_up, untouched;
            "deliveries were interrupted when the process before this one ended"
        );
    }
    if brought_forward > 0 {
        log::warn!(
            brought_forward;
            "deliveries waited for times that are far off: the system's clock was set back"
        );
    }
    Ok(handed_back + given_up)
}

/// Brings times forward that a clock which was ahead has written. For the case that the lock file,
/// and with it the clock's offset, is lost: otherwise deliveries would wait until this clock is
/// there.
fn bring_forward(
    sql: &Connection,
    now: Timestamp,
    longest_wait: Duration,
) -> Result<usize, StoreError> {
    let latest = now.plus(longest_wait);
    // A delivery accepted in the future is due, unless an attempt was made. Found by the primary
    // key: there are none, mostly.
    let queued = sql.execute(
        "UPDATE deliveries SET next_attempt_at = ?1
         WHERE intent_id >= ?2 AND state = ?3 AND next_attempt_at > ?1 AND next_attempt_at < ?4
           AND updated_at > ?1",
        params![
            now,
            IntentRow::first_at(now),
            DeliveryState::Queued,
            BLOCKED
        ],
    )?;
    let waiting = sql.execute(
        "UPDATE deliveries SET next_attempt_at = ?1
         WHERE (intent_id, destination_id) IN
               (SELECT d.intent_id, d.destination_id FROM destinations t
                CROSS JOIN deliveries d INDEXED BY due
                ON d.destination_id = t.id AND d.next_attempt_at > ?1
                   AND d.next_attempt_at < ?2)",
        [latest, BLOCKED],
    )?;
    sql.execute(
        "UPDATE destinations SET held_until = ?1 WHERE held_until > ?1",
        [latest],
    )?;
    sql.execute(
        "UPDATE destinations SET probe_at = ?1 + probe_wait WHERE probe_at > ?1 + probe_wait",
        [now],
    )?;
    Ok(queued + waiting)
}

#[cfg(test)]
mod tests;
