//! Gives up deliveries for good.

use rusqlite::params;

use super::entry::{Entry, Found, insert_entry};
use crate::model::DeliveryState;
use crate::store::bulk::wording;
use crate::store::error::StoreError;
use crate::store::sqlite::ops::line;
use crate::store::sqlite::tx::Tx;

/// Gives up a waiting delivery or a dead letter for good; whether it still was as found. The row
/// stays until retention deletes it, so that the idempotency key names its event for as long as it
/// would have. The payload goes with the event's last delivery.
pub fn discard(tx: &Tx<'_>, found: &Found) -> Result<bool, StoreError> {
    let Found {
        intent,
        destination,
        state,
        updated_at,
    } = *found;
    let is_there = tx.first(
        "SELECT 1 FROM deliveries
         WHERE intent_id = ?1 AND destination_id = ?2 AND state = ?3 AND discarded_at IS NULL
           AND (?4 IS NULL OR updated_at = ?4)",
        params![intent, destination, state, updated_at],
        |_| Ok(()),
    )?;
    if is_there.is_none() {
        return Ok(false);
    }
    line::leave(tx, intent, destination)?;
    let number: Option<i64> = tx.first(
        "UPDATE deliveries
         SET state = ?3, next_attempt_at = NULL, updated_at = ?4, discarded_at = ?4,
             history = history + 1,
             last_error = ?5 || coalesce(last_error, ?6)
         WHERE intent_id = ?1 AND destination_id = ?2
         RETURNING history",
        params![
            intent,
            destination,
            DeliveryState::DeadLettered,
            tx.now,
            wording::DISCARDED_BEFORE,
            wording::NEVER_ATTEMPTED,
        ],
        |row| row.get(0),
    )?;
    tx.execute(
        "UPDATE attempts SET response = NULL
         WHERE intent_id = ?1 AND destination_id = ?2 AND response IS NOT NULL",
        params![intent, destination],
    )?;
    let entry = Entry {
        number: number.unwrap_or(1),
        attempt: 0,
        outcome: 2,
        failure: None,
        error: Some(wording::DISCARDED),
        next: wording::GIVEN_UP,
    };
    insert_entry(tx, intent, destination, &entry)?;
    // A discarded one isn't counted among the dead letters.
    tx.moved(destination, state, None);
    tx.execute(
        "UPDATE intents SET body = x'', headers = x'', query = NULL, metadata = NULL, checksum = NULL
         WHERE id = ?1 AND NOT EXISTS
             (SELECT 1 FROM deliveries WHERE intent_id = ?1 AND discarded_at IS NULL)",
        [intent],
    )?;
    Ok(true)
}
