use rusqlite::params;

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::sqlite::ops::act::erase;
use crate::store::sqlite::tx::Tx;
use crate::store::types::IntentRow;

/// Erases an event of a restored backup that was erased after it; whether the backup has it. The
/// erasure is remembered in either case: an older backup may be restored next.
pub fn erase_again(tx: &Tx<'_>, intent: IntentRow, at: Timestamp) -> Result<bool, StoreError> {
    let is_there = tx.first("SELECT 1 FROM intents WHERE id = ?1", [intent], |_| Ok(()))?;
    if is_there.is_some() {
        // The claims in it are those of a process that is no more.
        erase(tx, intent, false)?;
        tx.execute(
            "UPDATE intents SET gone_at = ?2 WHERE id = ?1",
            params![intent, at],
        )?;
    }
    tx.execute(
        "INSERT OR REPLACE INTO erasures (intent_id, at) VALUES (?1, ?2)",
        params![intent, at],
    )?;
    Ok(is_there.is_some())
}
