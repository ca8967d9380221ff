use rusqlite::{Connection, params};

use crate::model::FailureKind;
use crate::store::StoreError;

/// Whether an earlier attempt of a delivery has failed so, since its last replay (outcome 4).
pub(in crate::delivery) fn has_failed_with(
    sql: &Connection,
    intent: i64,
    destination: i64,
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
