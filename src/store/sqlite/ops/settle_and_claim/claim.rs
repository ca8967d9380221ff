//! Claims due deliveries.

use rusqlite::params;

use crate::clock::Timestamp;
use crate::model::DeliveryState;
use crate::store::error::StoreError;
use crate::store::sqlite::tx::Tx;
use crate::store::types::{ClaimId, ClaimRequest, Claimed, IntentRow};

/// The due deliveries of a destination, the longest due first. Reads the index `due` alone.
pub const SELECT_DUE: &str = "SELECT intent_id, next_attempt_at, state FROM deliveries
     WHERE destination_id = ?1 AND next_attempt_at <= ?2
     ORDER BY next_attempt_at LIMIT ?3";

/// Claims due deliveries of a destination.
pub fn claim(
    request: &ClaimRequest,
    claim: ClaimId,
    claimed: &mut Vec<Claimed>,
    tx: &Tx<'_>,
) -> Result<(), StoreError> {
    let destination = request.destination;
    // A hold or a pause that this very transaction, or another process, has written counts already.
    let may_go = tx.first(
        "SELECT 1 FROM destinations
         WHERE id = ?1 AND paused_at IS NULL AND (held_until IS NULL OR held_until <= ?2)",
        params![destination, tx.now],
        |_| Ok(()),
    )?;
    if may_go.is_none() {
        return Ok(());
    }
    // Reads first and then updates row by row: the update moves rows out of the very index that is
    // being read.
    let at_most = i64::try_from(request.begin + request.prefetch).unwrap_or(i64::MAX);
    let due: Vec<(IntentRow, Timestamp, DeliveryState)> =
        tx.rows(SELECT_DUE, params![destination, tx.now, at_most], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    let mut begun = 0;
    for (intent, due, state) in due {
        let id = if begun < request.begin {
            claim
        } else {
            claim.prefetched()
        };
        let counted = tx.first(
            "UPDATE deliveries
             SET state = ?1, claim = ?2, next_attempt_at = NULL, updated_at = ?3,
                 attempts = attempts + 1
             WHERE intent_id = ?4 AND destination_id = ?5 AND next_attempt_at IS NOT NULL
             RETURNING attempts, history",
            params![DeliveryState::Processing, id, tx.now, intent, destination],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        if let Some((attempt, history)) = counted {
            begun += usize::from(!id.is_prefetched());
            tx.moved(destination, state, DeliveryState::Processing);
            claimed.push(Claimed {
                intent,
                destination,
                claim: id,
                due,
                attempt,
                history,
            });
        }
    }
    Ok(())
}
