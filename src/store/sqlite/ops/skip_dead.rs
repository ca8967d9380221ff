//! Lets dead letters that block leave their lines, once their destination skips them.

use crate::model::DeliveryState;
use crate::store::error::StoreError;
use crate::store::limits::STEP_ROWS;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::ops::line;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::WriteOp;
use crate::store::types::BlockingLetters;

/// One that was replayed or discarded since it was found stays as it is.
impl WriteOp for BlockingLetters {
    type Out = ();

    fn apply(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        for intent in &self.intents {
            let blocks = tx.first(
                "SELECT 1 FROM deliveries
                 WHERE intent_id = ?1 AND destination_id = ?2 AND state = ?3
                   AND place IS NOT NULL",
                rusqlite::params![intent, self.destination, DeliveryState::DeadLettered],
                |_| Ok(()),
            )?;
            if blocks.is_some() {
                line::leave(tx, *intent, self.destination)?;
            }
        }
        Ok(())
    }

    fn rows(&self) -> usize {
        STEP_ROWS
    }
}

impl Sqlite {
    /// Lets these dead letters leave their lines. Blocks.
    pub fn skip_dead(&self, letters: BlockingLetters) -> Result<(), StoreError> {
        self.write_blocking(letters)
    }
}
