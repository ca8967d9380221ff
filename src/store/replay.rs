use rusqlite::params;

use super::{StoreError, Tx, WriteOp};
use crate::model::{DeliveryState, IntentId};

/// Sends an intent's dead letters once more, each with a fresh budget of attempts; the history
/// says so. Returns how many there were.
pub(crate) struct Replay(pub IntentId);

impl WriteOp for Replay {
    type Out = usize;

    fn apply(&self, tx: &Tx<'_>) -> Result<usize, StoreError> {
        let dead = DeliveryState::DeadLettered.number();
        let id = self.0;
        tx.sql
            .prepare_cached(
                "INSERT INTO attempts (intent_id, destination_id, entry, attempt, started_at, duration_ms, outcome)
                 SELECT d.intent_id, d.destination_id, d.history + 1, 0, ?4, 0, 4
                 FROM deliveries d JOIN intents i ON i.id = d.intent_id
                 WHERE i.id = ?1 AND i.random = ?2 AND d.state = ?3",
            )?
            .execute(params![id.row(), id.random(), dead, tx.now.as_millis()])?;
        let replayed = tx
            .sql
            .prepare_cached(
                "UPDATE deliveries
                 SET state = ?4, attempts = 0, interruptions = 0, history = history + 1,
                     next_attempt_at = ?5, updated_at = ?5
                 WHERE intent_id = ?1 AND state = ?3
                   AND EXISTS (SELECT 1 FROM intents WHERE id = ?1 AND random = ?2)",
            )?
            .execute(params![
                id.row(),
                id.random(),
                dead,
                DeliveryState::Queued.number(),
                tx.now.as_millis(),
            ])?;
        if replayed > 0 {
            tx.made_due();
        }
        Ok(replayed)
    }
}
