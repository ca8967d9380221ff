//! Idempotency keys that name an intent: those of the table, and those that a server would hold in
//! memory.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::store::move_error::MoveError;
use crate::store::sqlite::columns::{maybe_text, text};
use crate::store::types::{IdempotencyKey, MovedRow, MovedRows, MovedValue, OnRows, OwnerId};

/// Keys of the table, those of one digest together.
const STORED: &str = "SELECT k.digest, i.id, i.scope, i.label, i.idempotency_key, i.created_at
     FROM idempotency k JOIN intents i ON i.id = k.intent_id ORDER BY k.digest, k.intent_id";

/// Keys that no pass has moved into the table, or not yet.
const RECENT: &str = "SELECT NULL, id, scope, label, idempotency_key, created_at FROM intents
     WHERE id > (SELECT swept_to FROM key_sweep) AND idempotency_key IS NOT NULL ORDER BY id";

const IS_STORED: &str = "SELECT 1 FROM idempotency WHERE digest = ?1 AND intent_id = ?2";

/// A key that names an intent.
struct Key {
    digest: i64,
    intent: i64,
    created_at: i64,
    /// 128 bits, of which the first are `digest`. Of an erased event only those are left.
    whole: [u8; 16],
}

impl Key {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (scope, label): (Option<OwnerId>, String) = (row.get(2)?, text(row, 3)?);
        let key = maybe_text(row, 4)?;
        let stored: Option<i64> = row.get(0)?;
        let whole = match &key {
            Some(key) => IdempotencyKey::whole_digest_of(scope, &label, key),
            None => IdempotencyKey::erased_digest(stored.unwrap_or_default()),
        };
        let first = i64::from_be_bytes(*whole.first_chunk().expect("16 bytes hold 8"));
        Ok(Self {
            digest: stored.unwrap_or(first),
            intent: row.get(1)?,
            created_at: row.get(5)?,
            whole,
        })
    }

    fn into_row(self) -> MovedRow {
        vec![
            MovedValue::Number(self.digest),
            MovedValue::Number(self.intent),
            MovedValue::Bytes(self.whole.to_vec()),
            MovedValue::Number(self.created_at),
        ]
    }
}

/// Reads each key once. Of two intents with one key the newer one counts: the other is past its
/// window. After the columns a row has the 128 bits of the digest, and when the intent was
/// accepted.
pub fn read(sql: &Connection, name: &str, each: OnRows<'_>) -> Result<(), MoveError> {
    let failed = |source: rusqlite::Error| MoveError::of(name, source.to_string());
    let newest = newest_of_recent(sql).map_err(failed)?;
    let is_newest = |key: &Key| newest.get(&key.whole).is_none_or(|row| *row <= key.intent);
    let mut batch = MovedRows::default();
    let mut put = |key: Key| {
        batch.push(key.into_row());
        if batch.is_full() {
            return each(batch.take());
        }
        Ok(())
    };
    let mut stored = sql.prepare(STORED).map_err(failed)?;
    let mut rows = stored.query([]).map_err(failed)?;
    let mut before: Option<Key> = None;
    while let Some(row) = rows.next().map_err(failed)? {
        let key = Key::of(row).map_err(failed)?;
        let earlier = before.replace(key);
        let next = before.as_ref().map(|key| key.whole);
        if let Some(key) = earlier.filter(|key| Some(key.whole) != next && is_newest(key)) {
            put(key)?;
        }
    }
    if let Some(key) = before.filter(|key| is_newest(key)) {
        put(key)?;
    }
    let mut recent = sql.prepare(RECENT).map_err(failed)?;
    let mut rows = recent.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let key = Key::of(row).map_err(failed)?;
        if is_newest(&key) && !is_stored(sql, &key).map_err(failed)? {
            put(key)?;
        }
    }
    let rest = batch.take();
    if rest.is_empty() { Ok(()) } else { each(rest) }
}

/// The newest intent of each key that is not in the table: at most as many as a server holds in
/// memory.
fn newest_of_recent(sql: &Connection) -> rusqlite::Result<HashMap<[u8; 16], i64>> {
    let mut newest = HashMap::new();
    let mut statement = sql.prepare(RECENT)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let key = Key::of(row)?;
        newest.insert(key.whole, key.intent);
    }
    Ok(newest)
}

fn is_stored(sql: &Connection, key: &Key) -> rusqlite::Result<bool> {
    let mut statement = sql.prepare_cached(IS_STORED)?;
    let found = statement.query_row([key.digest, key.intent], |_| Ok(()));
    Ok(found.optional()?.is_some())
}
