//! Events that no route wanted: they have no delivery. Found by an index that holds no others.

use rusqlite::{Connection, params};

use crate::store::error::StoreError;
use crate::store::sqlite::columns::intent_id;
use crate::store::sqlite::operator::Operator;
use crate::store::types::{IntentRow, UnroutedEvent, UnroutedQuery};

/// The latest ones that match, latest first. A source has no index: all are read until enough are
/// found.
const SELECT: &str = "SELECT id, random, label, event_type, created_at
     FROM intents INDEXED BY unrouted
     WHERE unrouted = 1 AND id >= ?1 AND (?2 IS NULL OR label = ?2)
     ORDER BY id DESC LIMIT ?3";

fn list(sql: &Connection, query: &UnroutedQuery) -> Result<Vec<UnroutedEvent>, StoreError> {
    let first = query.since.map_or(IntentRow(0), IntentRow::first_at);
    let mut statement = sql.prepare_cached(SELECT)?;
    let rows = statement.query_map(params![first, query.source, query.limit], |row| {
        Ok(UnroutedEvent {
            id: intent_id(row, 0)?,
            source: row.get(2)?,
            event_type: row.get(3)?,
            created_at: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn count(sql: &Connection) -> Result<i64, StoreError> {
    let count = "SELECT count(*) FROM intents INDEXED BY unrouted WHERE unrouted = 1";
    Ok(sql.prepare_cached(count)?.query_row([], |row| row.get(0))?)
}

impl Operator {
    /// The latest unrouted events that match, latest first.
    pub fn unrouted(&self, query: &UnroutedQuery) -> Result<Vec<UnroutedEvent>, StoreError> {
        self.read(|sql| list(sql, query))
    }

    /// How many events no route wanted, of those that are still kept.
    pub fn count_unrouted(&self) -> Result<i64, StoreError> {
        self.read(count)
    }
}
