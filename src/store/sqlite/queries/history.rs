//! Earlier attempts of a delivery.

use rusqlite::{Connection, params};

use crate::model::FailureKind;
use crate::store::error::StoreError;
use crate::store::sqlite::readers::Reader;
use crate::store::types::{DestinationId, IntentRow};

/// Whether an attempt of the delivery has failed so since its last replay (outcome 4).
fn has_failed_with(
    sql: &Connection,
    intent: IntentRow,
    destination: DestinationId,
    failure: FailureKind,
) -> Result<bool, StoreError> {
    let mut statement = sql.prepare_cached(
        "SELECT 1 FROM attempts
         WHERE intent_id = ?1 AND destination_id = ?2 AND failure = ?3
           AND entry > coalesce((SELECT max(entry) FROM attempts
                WHERE intent_id = ?1 AND destination_id = ?2 AND outcome = 4), 0)",
    )?;
    Ok(statement.exists(params![intent, destination, failure.name()])?)
}

impl Reader {
    /// Whether an attempt of the delivery has failed so since its last replay.
    pub fn has_failed_with(
        &self,
        intent: IntentRow,
        destination: DestinationId,
        failure: FailureKind,
    ) -> Result<bool, StoreError> {
        self.read(|sql| has_failed_with(sql, intent, destination, failure))
    }
}
