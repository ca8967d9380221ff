//! Events that no route wanted: they have no delivery. Found by an index that holds no others.

use tokio_postgres::Row;

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::postgres::columns::intent_id;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::operator::Operator;
use crate::store::postgres::text::Text;
use crate::store::postgres::values::{limit, maybe_text, number, text, wanted_type};
use crate::store::types::{
    DeliveryCount, DeliveryCursor, DestinationId, IntentRow, UnroutedEvent, UnroutedPage,
    UnroutedQuery,
};

/// The next events from the newest on, each with whether it is wanted: a source and a type have no
/// index.
pub const SELECT: &str = "SELECT id, random, label, event_type, created_at,
            (($3::bytea IS NULL OR label = $3) AND ($4::bytea IS NULL OR event_type = $4)
             AND ($5::bytea IS NULL OR substring(event_type FROM 1 FOR length($5)) = $5)) IS TRUE
     FROM relay.intents
     WHERE unrouted = 1 AND id >= $1 AND id < $2
     ORDER BY id DESC LIMIT $6";

pub const COUNT: &str = "SELECT count(*) FROM relay.intents WHERE unrouted = 1";

/// Events that are read at once.
const CHUNK: usize = 1_000;

/// Where a search ended before the last event.
struct Stop {
    /// The last event that was looked at.
    at: IntentRow,
    /// Whether as many were found as were wanted; otherwise the bound on the rows ended it.
    is_full: bool,
}

/// Hands the events that match to `take`, latest first, until it has `most` of them.
fn search(
    sql: &mut Connection,
    query: &UnroutedQuery,
    most: usize,
    mut take: impl FnMut(&Row) -> Result<(), Failure>,
) -> Result<Option<Stop>, Failure> {
    let first = query.since.map_or(IntentRow(0), IntentRow::first_at);
    let until = query.until.map(|until| {
        let after = Timestamp::from_millis(until.as_millis().saturating_add(1));
        IntentRow::first_at(after)
    });
    let after = query.after.map(|cursor| cursor.intent);
    let before = until.into_iter().chain(after).min();
    let mut before = before.unwrap_or(IntentRow(i64::MAX));
    let source = query.source.as_ref().map(Text::from);
    let (whole, beginning) = wanted_type(query.event_type.as_deref());
    let is_filtered = source.is_some() || query.event_type.is_some();
    let max_rows = query.max_rows.unwrap_or(usize::MAX);
    let (mut read, mut found) = (0, 0);
    loop {
        let chunk = if is_filtered {
            CHUNK
        } else {
            CHUNK.min(most - found)
        };
        let rows = sql.rows(
            SELECT,
            &[&first, &before, &source, &whole, &beginning, &limit(chunk)],
        )?;
        for row in &rows {
            let at = row.try_get(0)?;
            if row.try_get(5)? {
                take(row)?;
                found += 1;
            }
            read += 1;
            let is_full = found == most;
            if is_full || read >= max_rows {
                return Ok(Some(Stop { at, is_full }));
            }
            before = at;
        }
        if rows.len() < chunk {
            return Ok(None);
        }
    }
}

/// A page of the events that match, latest first.
fn page(sql: &mut Connection, query: &UnroutedQuery) -> Result<UnroutedPage, Failure> {
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    // One more than the page holds tells whether there is a next one.
    let stop = search(sql, query, limit.saturating_add(1), |row| {
        found.push(UnroutedEvent {
            id: intent_id(row, 0)?,
            source: text(row, 2)?,
            event_type: maybe_text(row, 3)?,
            created_at: row.try_get(4)?,
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
    sql: &mut Connection,
    query: &UnroutedQuery,
    most: usize,
) -> Result<DeliveryCount, Failure> {
    let mut number = 0;
    let stop = search(sql, query, most.saturating_add(1), |_| {
        number += 1;
        Ok(())
    })?;
    Ok(DeliveryCount {
        number: number.min(most),
        is_exact: stop.is_none(),
    })
}

impl Postgres {
    /// A page of the unrouted events that match, latest first.
    pub async fn unrouted_page(&self, query: UnroutedQuery) -> Result<UnroutedPage, StoreError> {
        self.read_async(move |sql| page(sql, &query)).await
    }

    /// Counts the unrouted events that match, up to `most`.
    #[allow(dead_code, reason = "a build without the console counts none")]
    pub async fn count_unrouted_events(
        &self,
        query: UnroutedQuery,
        most: usize,
    ) -> Result<DeliveryCount, StoreError> {
        self.read_async(move |sql| count_matching(sql, &query, most))
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
        self.read(|sql| number(&sql.one(COUNT, &[])?, 0))
    }
}
