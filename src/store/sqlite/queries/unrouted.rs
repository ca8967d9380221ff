//! Events that no route wanted: they have no delivery. Found by an index that holds no others.

use rusqlite::{Connection, params};

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::sqlite::columns::intent_id;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::operator::Operator;
use crate::store::types::{
    DeliveryCursor, DestinationId, IntentRow, UnroutedEvent, UnroutedPage, UnroutedQuery,
};

/// From the newest on. A source and a type have no index: all are read until enough are found.
const SELECT: &str = "SELECT id, random, label, event_type, created_at,
            (?3 IS NULL OR label = ?3) AND (?4 IS NULL OR event_type = ?4) IS TRUE
     FROM intents INDEXED BY unrouted
     WHERE unrouted = 1 AND id >= ?1 AND id < ?2
     ORDER BY id DESC";

/// A page of the events that match, latest first.
fn page(sql: &Connection, query: &UnroutedQuery) -> Result<UnroutedPage, StoreError> {
    let first = query.since.map_or(IntentRow(0), IntentRow::first_at);
    let until = query.until.map(|until| {
        let after = Timestamp::from_millis(until.as_millis().saturating_add(1));
        IntentRow::first_at(after)
    });
    let after = query.after.map(|cursor| cursor.intent);
    let before = until.into_iter().chain(after).min();
    let before = before.unwrap_or(IntentRow(i64::MAX));
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let mut statement = sql.prepare_cached(SELECT)?;
    let mut rows = statement.query(params![first, before, query.source, query.event_type])?;
    let mut page = UnroutedPage {
        found: Vec::new(),
        next: None,
        searched_to: None,
    };
    let mut read = 0;
    while let Some(row) = rows.next()? {
        let id = intent_id(row, 0)?;
        if row.get(5)? {
            page.found.push(UnroutedEvent {
                id,
                source: row.get(2)?,
                event_type: row.get(3)?,
                created_at: row.get(4)?,
            });
        }
        read += 1;
        let is_bound = query.max_rows.is_some_and(|most| read >= most);
        if page.found.len() == limit || is_bound {
            let intent = IntentRow::of(id);
            page.next = Some(DeliveryCursor {
                intent,
                destination: DestinationId::default(),
            });
            page.searched_to = (page.found.len() < limit).then(|| intent.accepted_at());
            break;
        }
    }
    Ok(page)
}

fn count(sql: &Connection) -> Result<i64, StoreError> {
    let count = "SELECT count(*) FROM intents INDEXED BY unrouted WHERE unrouted = 1";
    Ok(sql.prepare_cached(count)?.query_row([], |row| row.get(0))?)
}

impl Sqlite {
    /// A page of the unrouted events that match, latest first.
    pub async fn unrouted_page(&self, query: UnroutedQuery) -> Result<UnroutedPage, StoreError> {
        self.read(move |sql| page(sql, &query)).await
    }
}

impl Operator {
    /// The latest unrouted events that match, latest first.
    pub fn unrouted(&self, query: &UnroutedQuery) -> Result<Vec<UnroutedEvent>, StoreError> {
        Ok(self.read(|sql| page(sql, query))?.found)
    }

    /// How many events no route wanted, of those that are still kept.
    pub fn count_unrouted(&self) -> Result<i64, StoreError> {
        self.read(count)
    }
}
