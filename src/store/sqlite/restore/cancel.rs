//! Cancels the bulk operations that were under way when the backup was taken: the database that it
//! replaces has carried them on, so that they would be made twice.

use rusqlite::Connection;

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::sqlite::queries::bulk_under_way;
use crate::store::types::BulkOperation;

/// Cancels them as an operator would; returns how they stood.
pub fn cancel_bulk(sql: &Connection, now: Timestamp) -> Result<Vec<BulkOperation>, StoreError> {
    let under_way = bulk_under_way(sql)?;
    sql.execute(
        "UPDATE jobs SET ended_at = ?1, is_cancelled = 1 WHERE ended_at IS NULL",
        [now],
    )?;
    Ok(under_way)
}
