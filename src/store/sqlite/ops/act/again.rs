//! Sends deliveries once more, or now.

use rusqlite::params;

use super::entry::{Entry, Found, due, insert_entry};
use crate::model::{DeliveryState, OrderKey};
use crate::store::bulk::wording;
use crate::store::error::StoreError;
use crate::store::sqlite::columns::BLOCKED;
use crate::store::sqlite::ops::line;
use crate::store::sqlite::tx::Tx;

/// Queues a finished delivery once more, with a fresh budget; whether it still was as found. A dead
/// letter that blocks keeps its place, any other one goes to the end of its line.
pub fn replay(tx: &Tx<'_>, found: &Found) -> Result<bool, StoreError> {
    let Found {
        intent,
        destination,
        state,
        updated_at,
    } = *found;
    let queued: Option<(i64, Option<OrderKey>, bool)> = tx.first(
        "UPDATE deliveries
         SET state = ?4, attempts = 0, interruptions = 0, history = history + 1,
             next_attempt_at = iif(?7, min(?5, max(updated_at,
                 (SELECT max(id) >> 12 FROM intents))), ?5),
             updated_at = ?5
         WHERE intent_id = ?1 AND destination_id = ?2 AND state = ?3 AND discarded_at IS NULL
           AND (?6 IS NULL OR updated_at = ?6)
         RETURNING history, order_key, place IS NOT NULL",
        params![
            intent,
            destination,
            state,
            DeliveryState::Queued,
            tx.now,
            updated_at,
            tx.is_operators(),
        ],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    let Some((number, key, blocked_others)) = queued else {
        return Ok(false);
    };
    let next = if state == DeliveryState::Delivered {
        wording::REPLAYED_DELIVERED
    } else {
        wording::REPLAYED_DEAD
    };
    let entry = Entry {
        number,
        attempt: 0,
        outcome: 4,
        failure: None,
        error: None,
        next,
    };
    insert_entry(tx, intent, destination, &entry)?;
    tx.moved(destination, state, DeliveryState::Queued);
    if blocked_others {
        tx.unblocked(destination);
    }
    if let Some(key) = key {
        line::enter_again(tx, intent, destination, key)?;
    }
    tx.notify_dispatcher(destination);
    Ok(true)
}

/// Makes a waiting delivery due now, and keeps its budget; whether it still waited for its time.
/// One that stands behind another in its line goes on to wait.
pub fn retry(tx: &Tx<'_>, found: &Found) -> Result<bool, StoreError> {
    let Found {
        intent,
        destination,
        state,
        updated_at,
    } = *found;
    let due: Option<(i64, i64)> = tx.first(
        "UPDATE deliveries
         SET next_attempt_at = ?4, history = history + 1, updated_at = ?5
         WHERE intent_id = ?1 AND destination_id = ?2 AND state = ?3
           AND next_attempt_at > ?5 AND next_attempt_at < ?7
           AND (?6 IS NULL OR updated_at = ?6)
         RETURNING history, attempts",
        params![
            intent,
            destination,
            state,
            due(tx)?,
            tx.now,
            updated_at,
            BLOCKED,
        ],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let Some((number, attempts)) = due else {
        return Ok(false);
    };
    let entry = Entry {
        number,
        attempt: attempts,
        outcome: 4,
        failure: None,
        error: None,
        next: &wording::retried(attempts + 1),
    };
    insert_entry(tx, intent, destination, &entry)?;
    tx.notify_dispatcher(destination);
    Ok(true)
}
