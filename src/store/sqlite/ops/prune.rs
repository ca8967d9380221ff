//! Deletes expired intents and idempotency keys, in steps.

use crate::clock::Timestamp;
use crate::model::DeliveryState;
use crate::store::error::StoreError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::{LongWrite, WriteOp};
use crate::store::types::{DestinationId, IntentRow, Prune, PrunePart, StoredKey};

impl LongWrite for Prune {
    type Step = PruneStep;

    fn next_step(&mut self, _rows: usize) -> Option<PruneStep> {
        self.next_parts().map(|parts| PruneStep { parts })
    }

    fn committed(&mut self, deleted: usize) {
        Self::committed(self, deleted);
    }
}

/// One transaction's share of a [`Prune`]. Returns how many intents were deleted.
pub struct PruneStep {
    parts: Vec<PrunePart>,
}

impl WriteOp for PruneStep {
    type Out = usize;

    fn apply(&self, tx: &Tx<'_>) -> Result<usize, StoreError> {
        let mut deleted = 0;
        for part in &self.parts {
            match *part {
                PrunePart::History {
                    intent,
                    ended,
                    destination,
                    ..
                } => delete_history(intent, ended, destination, tx)?,
                PrunePart::Intent { intent, ended, .. } => {
                    deleted += usize::from(delete_intent(intent, ended, tx)?);
                }
                PrunePart::Key(StoredKey { digest, intent }) => {
                    tx.execute(
                        "DELETE FROM idempotency WHERE digest = ?1 AND intent_id = ?2",
                        [digest, intent.0],
                    )?;
                }
            }
        }
        Ok(deleted)
    }

    fn rows(&self) -> usize {
        self.parts.iter().map(PrunePart::rows).sum()
    }
}

fn delete_history(
    intent: IntentRow,
    ended: Timestamp,
    destination: DestinationId,
    tx: &Tx<'_>,
) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM attempts WHERE intent_id = ?1 AND destination_id = ?3
         AND NOT EXISTS (SELECT 1 FROM deliveries WHERE intent_id = ?1
                         AND (state < 3 OR updated_at > ?2 OR place IS NOT NULL))",
        rusqlite::params![intent, ended, destination],
    )?;
    Ok(())
}

/// Deletes an intent, unless one of its deliveries was replayed, or stands in a line: whether it
/// did. A dead letter that blocks stays until somebody replays or discards it.
pub fn delete_intent(intent: IntentRow, ended: Timestamp, tx: &Tx<'_>) -> Result<bool, StoreError> {
    // They are deleted with the intent, by a cascade.
    let dead_letters: Vec<DestinationId> = tx.rows(
        "SELECT destination_id FROM deliveries
         WHERE intent_id = ?1 AND state = 4 AND discarded_at IS NULL",
        [intent],
        |row| row.get(0),
    )?;
    let deleted = tx.execute(
        "DELETE FROM intents WHERE id = ?1
         AND NOT EXISTS (SELECT 1 FROM deliveries WHERE intent_id = ?1
                         AND (state < 3 OR updated_at > ?2 OR place IS NOT NULL))",
        rusqlite::params![intent, ended],
    )?;
    if deleted > 0 {
        for destination in dead_letters {
            tx.moved(destination, DeliveryState::DeadLettered, None);
        }
    }
    tx.deleted(intent);
    Ok(deleted > 0)
}

impl Sqlite {
    /// Deletes the next part of the expired intents and keys; false if there is none left. Blocks.
    pub fn prune(&self, prune: &mut Prune) -> Result<bool, StoreError> {
        self.write_step(prune)
    }
}
