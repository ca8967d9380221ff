//! The lines: the unfinished deliveries of one ordering key of one destination stand in a line, by
//! place, and so does a dead letter that blocks.
//!
//! Invariant: of the deliveries in a line exactly one is not [`BLOCKED`]: it waits for its attempt,
//! is claimed, or is a dead letter that blocks. A delivered one stands in no line.
//!
//! A delivery enters a line when it is made or replayed, and leaves it in the transaction that
//! finishes or deletes it: a kill finds either n unfinished and n + 1 blocked, or n finished and
//! n + 1 due. A claim, a retry and a release change neither the line nor a place in it, since none
//! of them meets a blocked delivery.
//!
//! A delivery without an order key costs nothing here.

use rusqlite::{Connection, params};

use crate::clock::Timestamp;
use crate::model::{DeliveryState, OrderKey};
use crate::store::error::StoreError;
use crate::store::sqlite::columns::BLOCKED;
use crate::store::sqlite::tx::Tx;
use crate::store::types::{DestinationId, IntentRow};

/// The first delivery of a line. Reads the index `line` alone.
pub const SELECT_FIRST: &str = "SELECT place, intent_id FROM deliveries INDEXED BY line
     WHERE destination_id = ?1 AND order_key = ?2 AND place IS NOT NULL
     ORDER BY place, intent_id LIMIT 1";

/// Makes the first delivery of a line due, unless it is the one that is not blocked.
pub const RELEASE_FIRST: &str = "UPDATE deliveries
     SET next_attempt_at = iif(?5, min(?4, (SELECT max(id) >> 12 FROM intents)), ?4)
     WHERE destination_id = ?1 AND next_attempt_at = ?3
       AND intent_id = (SELECT intent_id FROM deliveries INDEXED BY line
                        WHERE destination_id = ?1 AND order_key = ?2 AND place IS NOT NULL
                        ORDER BY place, intent_id LIMIT 1)";

/// The place at the end of a line, and whether the line has anybody in it.
pub const STEP_TO_THE_END: &str = "UPDATE deliveries
     SET place = max(intent_id, 1 + coalesce(
             (SELECT place FROM deliveries INDEXED BY line
              WHERE destination_id = ?2 AND order_key = ?3 AND place IS NOT NULL
              ORDER BY place DESC LIMIT 1), 0)),
         next_attempt_at = iif(
             EXISTS (SELECT 1 FROM deliveries INDEXED BY line
                     WHERE destination_id = ?2 AND order_key = ?3 AND place IS NOT NULL),
             ?4, next_attempt_at)
     WHERE intent_id = ?1 AND destination_id = ?2 AND place IS NULL";

/// A new delivery enters the line of its key: its place is the row of its intent, also if it is
/// made later than those of newer intents. Returns when it is due: at `due`, or [`BLOCKED`].
///
/// The caller inserts it as queued, with this key and this place, in the same transaction.
pub fn enter(
    tx: &Tx<'_>,
    intent: IntentRow,
    destination: DestinationId,
    key: OrderKey,
    due: Timestamp,
) -> Result<Timestamp, StoreError> {
    let first: Option<(i64, IntentRow)> =
        tx.first(SELECT_FIRST, params![destination, key], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let Some((place, first)) = first else {
        return Ok(due);
    };
    if (place, first.0) < (intent.0, intent.0) {
        return Ok(BLOCKED);
    }
    // An older event comes late. One that is due and was never attempted makes room for it; what
    // has begun is not taken back, and a dead letter that blocks goes on to block.
    let makes_room = tx.execute(
        "UPDATE deliveries SET next_attempt_at = ?3
         WHERE intent_id = ?1 AND destination_id = ?2 AND state = ?4 AND attempts = 0
           AND next_attempt_at < ?3",
        params![first, destination, BLOCKED, DeliveryState::Queued],
    )?;
    Ok(if makes_room > 0 { due } else { BLOCKED })
}

/// A delivery that was queued anew goes to the end of the line of its key. If it has a place still,
/// it is the dead letter that blocked: it keeps the place, and is the one that may go.
///
/// The caller has queued it, due, in the same transaction.
pub fn enter_again(
    tx: &Tx<'_>,
    intent: IntentRow,
    destination: DestinationId,
    key: OrderKey,
) -> Result<(), StoreError> {
    tx.execute(STEP_TO_THE_END, params![intent, destination, key, BLOCKED])?;
    Ok(())
}

/// A delivery leaves its line, if it stands in one: call this before the statement that finishes or
/// deletes it, in the same transaction. The next in the line is due, unless this one waited behind
/// another itself.
pub fn leave(tx: &Tx<'_>, intent: IntentRow, destination: DestinationId) -> Result<(), StoreError> {
    let found: Option<(OrderKey, DeliveryState, Option<Timestamp>)> = tx.first(
        "SELECT order_key, state, next_attempt_at FROM deliveries
         WHERE intent_id = ?1 AND destination_id = ?2 AND place IS NOT NULL",
        params![intent, destination],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    let Some((key, state, next_attempt_at)) = found else {
        return Ok(());
    };
    if state == DeliveryState::DeadLettered {
        tx.unblocked(destination);
    }
    if next_attempt_at == Some(BLOCKED) {
        return take_off(tx, intent, destination);
    }
    leave_first(tx, intent, destination, key)
}

/// The same for a delivery of this key that is known to stand in its line, and not to be blocked:
/// an attempt of it has ended.
pub fn leave_first(
    tx: &Tx<'_>,
    intent: IntentRow,
    destination: DestinationId,
    key: OrderKey,
) -> Result<(), StoreError> {
    take_off(tx, intent, destination)?;
    let released = tx.execute(
        RELEASE_FIRST,
        params![destination, key, BLOCKED, tx.now, tx.is_operators()],
    )?;
    if released > 0 {
        tx.notify_dispatcher(destination);
    }
    Ok(())
}

/// Whether this many deliveries stand in a line, and will have their turns: the line of a dead
/// letter that blocks stands still, and waiting for it could last for ever.
pub fn is_crowded(
    sql: &Connection,
    destination: DestinationId,
    key: OrderKey,
    many: i64,
) -> Result<bool, StoreError> {
    let standing: i64 = sql
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM deliveries INDEXED BY line
             WHERE destination_id = ?1 AND order_key = ?2 AND place IS NOT NULL LIMIT ?3)",
        )?
        .query_row(params![destination, key, many], |row| row.get(0))?;
    if standing < many {
        return Ok(false);
    }
    let has_dead = sql
        .prepare_cached(
            "SELECT 1 FROM (SELECT state FROM deliveries INDEXED BY line
             WHERE destination_id = ?1 AND order_key = ?2 AND place IS NOT NULL
             ORDER BY place, intent_id LIMIT ?3)
             WHERE state = 4",
        )?
        .exists(params![destination, key, many])?;
    Ok(!has_dead)
}

fn take_off(tx: &Tx<'_>, intent: IntentRow, destination: DestinationId) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE deliveries SET place = NULL WHERE intent_id = ?1 AND destination_id = ?2",
        params![intent, destination],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests;
