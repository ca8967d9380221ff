//! Deletes payloads, and keeps their events.

use rusqlite::params;

use crate::model::Surface;
use crate::store::error::StoreError;
use crate::store::sqlite::columns::{maybe_text, text};
use crate::store::sqlite::tx::Tx;
use crate::store::types::{GoneReason, IdempotencyKey, IntentRow, OwnerId};

/// Why the payload of an intent `i` is gone; NULL if it isn't. The columns behind a large body
/// cost the reading of all its pages, so that they are asked only once the body is empty: its
/// length is in the row's first bytes.
pub const GONE: &str = "iif(length(i.body) + length(i.headers) = 0, i.gone, NULL)";

/// Whether the payload of an intent was erased or shed.
pub fn is_gone(tx: &Tx<'_>, intent: IntentRow) -> Result<bool, StoreError> {
    let gone: Option<Option<GoneReason>> = tx.first(
        "SELECT iif(length(body) + length(headers) = 0, gone, NULL) FROM intents WHERE id = ?1",
        [intent],
        |row| row.get(0),
    )?;
    Ok(gone.flatten().is_some())
}

/// Deletes the payload and the history of a finished event, to make room. Its key is kept, and its
/// metadata. The id is set anew, since an update that leaves it alone leaves the row's page half
/// empty: this one deletes the row and inserts a smaller one, and pages that are hardly filled
/// become one.
pub fn shed(tx: &Tx<'_>, intent: IntentRow) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE intents
         SET id = ?1, body = x'', headers = x'', query = NULL, checksum = NULL, gone = ?2,
             gone_at = ?3
         WHERE id = ?1",
        params![intent, GoneReason::Shed, tx.now],
    )?;
    tx.execute("DELETE FROM attempts WHERE intent_id = ?1", [intent])?;
    Ok(())
}

/// Deletes everything of an event that a sender or a receiver has written, its key included, and
/// remembers that for backups. The key's digest still names the event.
pub fn erase(tx: &Tx<'_>, intent: IntentRow) -> Result<(), StoreError> {
    let key: Option<(Surface, Option<OwnerId>, String, Option<String>)> = tx.first(
        "SELECT surface, scope, label, idempotency_key FROM intents WHERE id = ?1",
        [intent],
        |row| {
            let surface = Surface::from_number(row.get(0)?);
            Ok((surface, row.get(1)?, text(row, 2)?, maybe_text(row, 3)?))
        },
    )?;
    if let Some((surface, scope, label, Some(key))) = key {
        // A start reads keys that are not in their table from their texts.
        let label = if surface == Surface::Event {
            &label
        } else {
            ""
        };
        tx.execute(
            "INSERT OR IGNORE INTO idempotency (digest, intent_id) VALUES (?1, ?2)",
            params![IdempotencyKey::digest_of(scope, label, &key), intent],
        )?;
    }
    tx.execute(
        "UPDATE intents
         SET body = x'', headers = x'', query = NULL, metadata = NULL, idempotency_key = NULL,
             checksum = NULL, gone = ?2, gone_at = ?3
         WHERE id = ?1",
        params![intent, GoneReason::Erased, tx.now],
    )?;
    tx.execute(
        "UPDATE attempts SET response = NULL, error = NULL
         WHERE intent_id = ?1 AND (response IS NOT NULL OR error IS NOT NULL)",
        [intent],
    )?;
    tx.execute(
        "INSERT INTO erasures (intent_id, at) VALUES (?1, ?2)
         ON CONFLICT DO UPDATE SET at = excluded.at",
        params![intent, tx.now],
    )?;
    Ok(())
}

/// Makes a change that overwrites with zeros what it deletes, whole pages too. They have to be
/// written for that, which other changes spare.
pub fn overwriting<T>(
    tx: &Tx<'_>,
    change: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    tx.sql.pragma_update(None, "secure_delete", "ON")?;
    let changed = change();
    tx.sql.pragma_update(None, "secure_delete", "FAST")?;
    changed
}
