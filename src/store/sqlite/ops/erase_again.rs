use rusqlite::params;

use crate::clock::Timestamp;
use crate::model::DeliveryState;
use crate::store::error::StoreError;
use crate::store::sqlite::ops::line;
use crate::store::sqlite::tx::Tx;
use crate::store::types::{DestinationId, IntentRow};

/// Erases an event of a restored backup that was erased after it; whether the backup has it. The
/// erasure is remembered in either case: an older backup may be restored next.
pub fn erase_again(tx: &Tx<'_>, intent: IntentRow, at: Timestamp) -> Result<bool, StoreError> {
    let is_there = tx.first("SELECT 1 FROM intents WHERE id = ?1", [intent], |_| Ok(()))?;
    if is_there.is_some() {
        tx.execute(
            "UPDATE intents SET body = x'', headers = x'', query = NULL, metadata = NULL, gone = 1,
                    gone_at = ?2 WHERE id = ?1",
            params![intent, at],
        )?;
        let waiting: Vec<DestinationId> = tx.rows(
            "SELECT destination_id FROM deliveries WHERE intent_id = ?1 AND state < 3",
            [intent],
            |row| row.get(0),
        )?;
        for destination in waiting {
            line::leave(tx, intent, destination)?;
            tx.execute(
                "UPDATE deliveries SET state = ?3, claim = NULL, next_attempt_at = NULL,
                        last_error = 'payload_erased'
                 WHERE intent_id = ?1 AND destination_id = ?2",
                params![intent, destination, DeliveryState::DeadLettered],
            )?;
        }
    }
    tx.execute(
        "INSERT OR REPLACE INTO erasures (intent_id, at) VALUES (?1, ?2)",
        params![intent, at],
    )?;
    Ok(is_there.is_some())
}
