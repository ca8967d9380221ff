//! Erases events: their payloads and all that was said about them go, their rows stay.

use rusqlite::params;

use super::entry::{Entry, insert_entry};
use crate::model::{DeliveryState, FailureKind};
use crate::store::bulk::{IN_FLIGHT, SKIPPED, done, wording};
use crate::store::error::StoreError;
use crate::store::sqlite::ops::{line, payload};
use crate::store::sqlite::tx::Tx;
use crate::store::types::{BulkTally, DestinationId, GoneReason, IntentRow};

/// Erases an event. Its waiting deliveries are given up first. If `waits` is set, an attempt under
/// way ends before: its answer would be written later. Otherwise its process is dead.
pub fn erase(tx: &Tx<'_>, intent: IntentRow, waits: bool) -> Result<BulkTally, StoreError> {
    let found: Option<Option<GoneReason>> = tx.first(
        "SELECT iif(length(body) + length(headers) = 0, gone, NULL) FROM intents WHERE id = ?1",
        [intent],
        |row| row.get(0),
    )?;
    match found {
        None => return Ok(BulkTally::default()),
        Some(Some(GoneReason::Erased)) => return Ok(SKIPPED),
        Some(_) => {}
    }
    let deliveries: Vec<(DestinationId, DeliveryState, bool)> = tx.rows(
        "SELECT destination_id, state, place IS NOT NULL FROM deliveries WHERE intent_id = ?1",
        [intent],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    let is_in_flight = |(_, state, _): &(_, DeliveryState, _)| *state == DeliveryState::Processing;
    if waits && deliveries.iter().any(is_in_flight) {
        return Ok(IN_FLIGHT);
    }
    payload::overwriting(tx, || {
        payload::erase(tx, intent)?;
        erase_reasons(tx, intent)?;
        for (destination, state, has_place) in deliveries {
            if has_place {
                // Nobody can replay it, so none waits for it.
                line::leave(tx, intent, destination)?;
            }
            if !state.is_final() {
                give_up(tx, intent, destination, state)?;
            }
        }
        Ok(())
    })?;
    Ok(done(true))
}

/// Answers may be quoted in the last error. A dead letter has to have one.
fn erase_reasons(tx: &Tx<'_>, intent: IntentRow) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE deliveries
         SET last_error = CASE WHEN state <> 4 THEN NULL
                               WHEN discarded_at IS NOT NULL THEN ?2 ELSE ?3 END
         WHERE intent_id = ?1 AND last_error IS NOT NULL",
        params![
            intent,
            wording::DISCARDED_REASON_ERASED,
            wording::REASON_ERASED
        ],
    )?;
    Ok(())
}

fn give_up(
    tx: &Tx<'_>,
    intent: IntentRow,
    destination: DestinationId,
    state: DeliveryState,
) -> Result<(), StoreError> {
    let number: Option<i64> = tx.first(
        "UPDATE deliveries
         SET state = ?3, claim = NULL, next_attempt_at = NULL, updated_at = ?4,
             history = history + 1,
             last_error = ?6
         WHERE intent_id = ?1 AND destination_id = ?2 AND state = ?5
         RETURNING history",
        params![
            intent,
            destination,
            DeliveryState::DeadLettered,
            tx.now,
            state,
            wording::ERASED,
        ],
        |row| row.get(0),
    )?;
    let entry = Entry {
        number: number.unwrap_or(1),
        attempt: 0,
        outcome: 2,
        failure: Some(FailureKind::PayloadErased),
        error: Some(wording::ERASED),
        next: wording::NOTHING_TO_SEND,
    };
    insert_entry(tx, intent, destination, &entry)?;
    tx.moved(destination, state, DeliveryState::DeadLettered);
    Ok(())
}
