//! Ends a `Retry-After`: the deliveries that it kept are due now.

use rusqlite::params;

use crate::model::DeliveryState;
use crate::store::error::StoreError;
use crate::store::limits::MAX_ROWS;
use crate::store::sqlite::ops::act::due;
use crate::store::sqlite::tx::Tx;

/// An answer with a `Retry-After` puts its own delivery off as well. These come forward once the
/// hold is lifted: a change that lifts one calls this first, in the same transaction, and notifies
/// the dispatcher. Returns whether all have come forward: if some are left, the hold stays, and
/// the change is made again.
pub fn end_hold(tx: &Tx<'_>, destination: &str) -> Result<bool, StoreError> {
    // One that is blocked in its line is queued.
    let moved = tx.execute(
        "UPDATE deliveries SET next_attempt_at = ?2
         WHERE (intent_id, destination_id) IN
               (SELECT d.intent_id, d.destination_id FROM destinations t
                CROSS JOIN deliveries d INDEXED BY due
                ON d.destination_id = t.id AND d.next_attempt_at > ?2
                   AND d.next_attempt_at <= t.held_until AND d.state = ?3
                WHERE t.name = ?1 ORDER BY d.next_attempt_at DESC LIMIT 1024)",
        params![destination, due(tx)?, DeliveryState::Retrying],
    )?;
    Ok(moved < MAX_ROWS)
}

const _: () = assert!(MAX_ROWS == 1024);
