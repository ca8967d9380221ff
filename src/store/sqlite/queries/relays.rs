//! Relays, one or a page of them.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::model::IntentId;
use crate::store::error::StoreError;
use crate::store::sqlite::columns::{intent_id, maybe_text, text};
use crate::store::sqlite::handle::Sqlite;
use crate::store::types::{RelayCursor, RelaysPage, StoredRelay};

const COLUMNS: &str = "i.id, i.random, i.label, i.url, i.body, i.metadata, i.created_at,
                       d.state, d.updated_at, d.last_error";

/// The delivery `d` that stands for a relay `i`: the one to the origin of its URL. An operator may
/// have sent it to other destinations besides, or moved it to another one.
const ITS_DELIVERY: &str = "d.intent_id = i.id AND NOT EXISTS (
         SELECT 1 FROM deliveries o
                JOIN destinations p ON p.id = o.destination_id
                JOIN destinations t ON t.id = d.destination_id
         WHERE o.intent_id = i.id AND o.destination_id <> d.destination_id
           AND (instr(p.name, '://') = 0, o.destination_id)
             < (instr(t.name, '://') = 0, d.destination_id))";

/// The total size of payloads and metadata at which a page ends: a slow client keeps its page in
/// memory for as long as it reads.
const PAGE_BYTES: usize = 1024 * 1024;

/// A page of relays, by key and not by offset.
fn select_page() -> String {
    format!(
        "SELECT {COLUMNS} FROM intents i JOIN deliveries d ON {ITS_DELIVERY}
         WHERE i.surface = 0 AND i.id > ?1 ORDER BY i.id LIMIT ?2"
    )
}

fn find(sql: &Connection, id: IntentId) -> Result<Option<StoredRelay>, StoreError> {
    let mut statement = sql.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM intents i JOIN deliveries d ON {ITS_DELIVERY}
         WHERE i.id = ?1 AND i.random = ?2 AND i.surface = 0"
    ))?;
    Ok(statement
        .query_row(params![id.row(), id.random()], read)
        .optional()?)
}

/// Up to `limit` relays after the cursor. Large ones end a page early, at [`PAGE_BYTES`].
fn page(
    sql: &Connection,
    after: Option<RelayCursor>,
    limit: u32,
) -> Result<RelaysPage, StoreError> {
    let mut statement = sql.prepare_cached(&select_page())?;
    let after = after.map_or(-1, |cursor| cursor.0);
    // One more than asked for tells whether there is a next page.
    let rows = statement.query_map(params![after, limit + 1], read)?;
    let mut relays: Vec<StoredRelay> = Vec::new();
    let mut bytes = 0;
    for row in rows {
        if relays.len() == limit as usize || bytes >= PAGE_BYTES {
            let next = relays.last().map(|last| RelayCursor(last.id.row()));
            return Ok(RelaysPage { relays, next });
        }
        let relay = row?;
        bytes += relay.size();
        relays.push(relay);
    }
    Ok(RelaysPage { relays, next: None })
}

fn read(row: &Row<'_>) -> rusqlite::Result<StoredRelay> {
    Ok(StoredRelay {
        id: intent_id(row, 0)?,
        event_type: text(row, 2)?,
        url: text(row, 3)?,
        payload: row.get(4)?,
        metadata: maybe_text(row, 5)?,
        created_at: row.get(6)?,
        state: row.get(7)?,
        updated_at: row.get(8)?,
        last_error: maybe_text(row, 9)?,
    })
}

impl Sqlite {
    /// The relay of this id.
    pub async fn relay(&self, id: IntentId) -> Result<Option<StoredRelay>, StoreError> {
        self.read(move |sql| find(sql, id)).await
    }

    /// Up to `limit` relays after the cursor, oldest first.
    pub async fn relays_page(
        &self,
        after: Option<RelayCursor>,
        limit: u32,
    ) -> Result<RelaysPage, StoreError> {
        self.read(move |sql| page(sql, after, limit)).await
    }
}

#[cfg(test)]
mod tests;
