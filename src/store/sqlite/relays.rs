use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::StoreError;
use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId};

/// A relay as it is shown.
pub(crate) struct RelayRow {
    pub id: IntentId,
    pub event_type: String,
    pub url: String,
    pub payload: Vec<u8>,
    pub metadata: Option<String>,
    pub created_at: Timestamp,
    pub state: DeliveryState,
    /// When the state last changed.
    pub updated_at: Timestamp,
    pub last_error: Option<String>,
}

const COLUMNS: &str = "i.id, i.random, i.label, i.url, i.body, i.metadata, i.created_at,
                       d.state, d.updated_at, d.last_error";

/// What the payloads and metadata of a page may sum up to before it ends: a client that reads slowly
/// keeps its page in our memory for as long as it may take.
const PAGE_BYTES: usize = 1024 * 1024;

/// A page of relays, by key and not by offset.
fn select_page() -> String {
    format!(
        "SELECT {COLUMNS} FROM intents i JOIN deliveries d ON d.intent_id = i.id
         WHERE i.surface = 0 AND i.id > ?1 ORDER BY i.id LIMIT ?2"
    )
}

impl RelayRow {
    /// The relay of this id.
    pub fn find(sql: &Connection, id: IntentId) -> Result<Option<Self>, StoreError> {
        let mut statement = sql.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM intents i JOIN deliveries d ON d.intent_id = i.id
             WHERE i.id = ?1 AND i.random = ?2 AND i.surface = 0"
        ))?;
        Ok(statement
            .query_row(params![id.row(), id.random()], Self::read)
            .optional()?)
    }

    /// Up to `limit` relays accepted after the one in row `after`, oldest first, and whether there
    /// are more. Large ones end a page early, at [`PAGE_BYTES`].
    pub fn page(sql: &Connection, after: i64, limit: u32) -> Result<(Vec<Self>, bool), StoreError> {
        let mut statement = sql.prepare_cached(&select_page())?;
        // One more than asked for tells whether there is a next page.
        let rows = statement.query_map(params![after, limit + 1], Self::read)?;
        let mut page = Vec::new();
        let mut bytes = 0;
        for row in rows {
            if page.len() == limit as usize || bytes >= PAGE_BYTES {
                return Ok((page, true));
            }
            let row = row?;
            bytes += row.size();
            page.push(row);
        }
        Ok((page, false))
    }

    /// Bytes of its payload and metadata.
    pub fn size(&self) -> usize {
        self.payload.len() + self.metadata.as_ref().map_or(0, String::len)
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: intent_id(row, 0)?,
            event_type: row.get(2)?,
            url: row.get(3)?,
            payload: row.get(4)?,
            metadata: row.get(5)?,
            created_at: timestamp(row, 6)?,
            state: state(row, 7)?,
            updated_at: timestamp(row, 8)?,
            last_error: row.get(9)?,
        })
    }
}

/// The id in the columns `at` (row) and `at + 1` (random bits).
pub(super) fn intent_id(row: &Row<'_>, at: usize) -> rusqlite::Result<IntentId> {
    let random: i64 = row.get(at + 1)?;
    Ok(IntentId::new(row.get(at)?, random.cast_unsigned()))
}

pub(super) fn timestamp(row: &Row<'_>, at: usize) -> rusqlite::Result<Timestamp> {
    row.get(at).map(Timestamp::from_millis)
}

pub(super) fn state(row: &Row<'_>, at: usize) -> rusqlite::Result<DeliveryState> {
    let number = row.get(at)?;
    DeliveryState::from_number(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(at, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_found_by_its_key_and_never_sorted() {
        let sql = Connection::open_in_memory().expect("a database");
        sql.execute_batch(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/schema.sql"
        )))
        .expect("the schema");
        let mut statement = sql
            .prepare(&format!("EXPLAIN QUERY PLAN {}", select_page()))
            .expect("good SQL");
        let steps: Vec<String> = statement
            .query_map(params![1, 1], |row| row.get(3))
            .expect("a plan")
            .collect::<Result<_, _>>()
            .expect("text");
        assert_eq!(
            steps,
            [
                "SEARCH i USING INDEX relays (surface=? AND rowid>?)",
                "SEARCH d USING PRIMARY KEY (intent_id=?)"
            ]
        );
    }
}
