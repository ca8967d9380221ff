//! Events that no route wanted: they have no delivery. Found by an index that holds no others.

use rusqlite::{Connection, Row, params};

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::sqlite::columns::{intent_id, is_of_type, maybe_text, text};
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::operator::Operator;
use crate::store::types::{
    DeliveryCount, DeliveryCursor, DestinationId, IntentRow, UnroutedEvent, UnroutedPage,
    UnroutedQuery,
};

/// Selects the events from the newest on: the id, whether the event is wanted, and these columns. A
/// source and a type have no index: all events are read until enough are found. Without any of
/// these columns, and without a source and a type, the index alone is read.
fn select(columns: &str) -> String {
    let of_type = is_of_type("event_type", "?4");
    format!(
        "SELECT id, (?3 IS NULL OR label = ?3) AND {of_type} IS TRUE{columns}
         FROM intents INDEXED BY unrouted
         WHERE unrouted = 1 AND id >= ?1 AND id < ?2
         ORDER BY id DESC"
    )
}

/// Where a search ended before the last event.
struct Stop {
    /// The last event that was looked at.
    at: IntentRow,
    /// Whether as many were found as were wanted; otherwise the bound on the rows ended it.
    is_full: bool,
}

/// Hands the events that match to `take`, latest first, until it has `limit` of them.
fn search(
    sql: &Connection,
    query: &UnroutedQuery,
    columns: &str,
    limit: usize,
    mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> Result<Option<Stop>, StoreError> {
    let first = query.since.map_or(IntentRow(0), IntentRow::first_at);
    let until = query.until.map(|until| {
        let after = Timestamp::from_millis(until.as_millis().saturating_add(1));
        IntentRow::first_at(after)
    });
    let after = query.after.map(|cursor| cursor.intent);
    let before = until.into_iter().chain(after).min();
    let before = before.unwrap_or(IntentRow(i64::MAX));
    let mut statement = sql.prepare_cached(&select(columns))?;
    let mut rows = statement.query(params![first, before, query.source, query.event_type])?;
    let (mut read, mut found) = (0, 0);
    while let Some(row) = rows.next()? {
        if row.get(1)? {
            take(row)?;
            found += 1;
        }
        read += 1;
        let is_full = found == limit;
        if is_full || query.max_rows.is_some_and(|most| read >= most) {
            let at = row.get(0)?;
            return Ok(Some(Stop { at, is_full }));
        }
    }
    Ok(None)
}

/// A page of the events that match, latest first.
fn page(sql: &Connection, query: &UnroutedQuery) -> Result<UnroutedPage, StoreError> {
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    let columns = ", id, random, label, event_type, created_at";
    // One more than the page holds tells whether there is a next one.
    let stop = search(sql, query, columns, limit.saturating_add(1), |row| {
        found.push(UnroutedEvent {
            id: intent_id(row, 2)?,
            source: text(row, 4)?,
            event_type: maybe_text(row, 5)?,
            created_at: row.get(6)?,
        });
        Ok(())
    })?;
    found.truncate(limit);
    let last = found.last().map(|last| IntentRow(last.id.row()));
    let (next, searched_to) = match stop {
        Some(stop) if stop.is_full => (last, None),
        Some(stop) => (Some(stop.at), Some(stop.at.accepted_at())),
        None => (None, None),
    };
    Ok(UnroutedPage {
        found,
        next: next.map(|intent| DeliveryCursor {
            intent,
            destination: DestinationId::default(),
        }),
        searched_to,
    })
}

/// Counts the events that match, up to `most`.
fn count_matching(
    sql: &Connection,
    query: &UnroutedQuery,
    most: usize,
) -> Result<DeliveryCount, StoreError> {
    let mut number = 0;
    let stop = search(sql, query, "", most.saturating_add(1), |_| {
        number += 1;
        Ok(())
    })?;
    Ok(DeliveryCount {
        number: number.min(most),
        is_exact: stop.is_none(),
    })
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

    /// Counts the unrouted events that match, up to `most`.
    pub async fn count_unrouted_events(
        &self,
        query: UnroutedQuery,
        most: usize,
    ) -> Result<DeliveryCount, StoreError> {
        self.read(move |sql| count_matching(sql, &query, most))
            .await
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
