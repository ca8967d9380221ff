//! The reads of a tail.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::clock::Timestamp;
use crate::model::Surface;
use crate::store::error::StoreError;
use crate::store::follow::{
    DUE_OF_EACH, DeliveryKey, FollowedIntent, FollowedState, MAX_DESTINATIONS, NewEntries,
    TailReads, Tracked, look,
};
use crate::store::sqlite::columns::{intent_id, maybe_text, text};
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::queries::bulk_reads::destination_id;
use crate::store::sqlite::queries::intents::history;
use crate::store::types::{DestinationId, IntentRow, TailCursor, TailPage, TailQuery};

/// The reads of a look, in one snapshot: an attempt isn't told before its intent.
struct Reads<'a>(&'a Connection);

const INTENT: &str = "i.id, i.random, i.surface, i.label, i.event_type, i.created_at,
     length(i.body)";

fn intent(row: &Row<'_>) -> rusqlite::Result<FollowedIntent> {
    Ok(FollowedIntent {
        id: intent_id(row, 0)?,
        surface: Surface::from_number(row.get(2)?),
        label: text(row, 3)?,
        event_type: maybe_text(row, 4)?,
        created_at: row.get(5)?,
        bytes: row.get(6)?,
    })
}

fn key_and_history(row: &Row<'_>) -> rusqlite::Result<Tracked> {
    Ok(((row.get(0)?, row.get(1)?), row.get(2)?))
}

impl TailReads for Reads<'_> {
    type Error = StoreError;

    fn destination(&mut self, name: &str) -> Result<Option<DestinationId>, StoreError> {
        destination_id(self.0, name)
    }

    fn newest(&mut self) -> Result<Option<IntentRow>, StoreError> {
        let mut statement = self.0.prepare_cached("SELECT max(id) FROM intents")?;
        Ok(statement.query_row([], |row| row.get(0))?)
    }

    fn accepted(
        &mut self,
        after: IntentRow,
        limit: usize,
    ) -> Result<Vec<FollowedIntent>, StoreError> {
        let mut statement = self.0.prepare_cached(&format!(
            "SELECT {INTENT} FROM intents i WHERE i.id > ?1 ORDER BY i.id LIMIT ?2"
        ))?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = statement.query_map(params![after, limit], intent)?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    fn deliveries(
        &mut self,
        intents: &[IntentRow],
        to: Option<DestinationId>,
    ) -> Result<Vec<(DeliveryKey, String)>, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT d.destination_id, t.name
             FROM deliveries d JOIN destinations t ON t.id = d.destination_id
             WHERE d.intent_id = ?1 AND (?2 IS NULL OR d.destination_id = ?2)
             ORDER BY d.destination_id",
        )?;
        let mut found = Vec::new();
        for intent in intents {
            let mut rows = statement.query(params![intent, to])?;
            while let Some(row) = rows.next()? {
                found.push(((*intent, row.get(0)?), text(row, 1)?));
            }
        }
        Ok(found)
    }

    fn states(
        &mut self,
        keys: &[DeliveryKey],
        soon: Timestamp,
    ) -> Result<Vec<Option<FollowedState>>, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT state, history, coalesce(next_attempt_at > ?3, 0) FROM deliveries
             WHERE intent_id = ?1 AND destination_id = ?2",
        )?;
        let mut read = |key: &DeliveryKey| {
            let found = statement.query_row(params![key.0, key.1, soon], |row| {
                Ok(FollowedState {
                    state: row.get(0)?,
                    history: row.get(1)?,
                    is_later: row.get(2)?,
                })
            });
            Ok(found.optional()?)
        };
        keys.iter().map(&mut read).collect()
    }

    fn entries(
        &mut self,
        key: DeliveryKey,
        seen: i64,
        _last: i64,
    ) -> Result<Option<NewEntries>, StoreError> {
        let mut statement = self.0.prepare_cached(&format!(
            "SELECT {INTENT}, t.name FROM intents i JOIN destinations t
             WHERE i.id = ?1 AND t.id = ?2"
        ))?;
        let found = statement.query_row(params![key.0, key.1], |row| {
            Ok((intent(row)?, text(row, 7)?))
        });
        let Some((intent, name)) = found.optional()? else {
            return Ok(None);
        };
        Ok(Some((intent, name, history(self.0, key.0, key.1, seen)?)))
    }

    fn claimed(&mut self, to: Option<DestinationId>) -> Result<Vec<Tracked>, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT intent_id, destination_id, history FROM deliveries INDEXED BY claimed
             WHERE claim IS NOT NULL AND (?1 IS NULL OR destination_id = ?1)",
        )?;
        let claimed = statement.query_map([to], key_and_history)?;
        Ok(claimed.collect::<Result<_, _>>()?)
    }

    fn due(
        &mut self,
        to: Option<DestinationId>,
        soon: Timestamp,
    ) -> Result<Vec<Vec<Tracked>>, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT intent_id, destination_id, history FROM deliveries INDEXED BY due
             WHERE destination_id = ?1 AND next_attempt_at <= ?2
             ORDER BY next_attempt_at, state LIMIT ?3",
        )?;
        let most = i64::try_from(DUE_OF_EACH).unwrap_or(i64::MAX);
        let of = |destination| -> Result<Vec<Tracked>, StoreError> {
            let due = statement.query_map(params![destination, soon, most], key_and_history)?;
            Ok(due.collect::<Result<_, _>>()?)
        };
        waiting(self.0, to)?.into_iter().map(of).collect()
    }
}

/// The destinations with waiting deliveries, from one to the next in the index.
fn waiting(sql: &Connection, to: Option<DestinationId>) -> Result<Vec<DestinationId>, StoreError> {
    if let Some(destination) = to {
        return Ok(vec![destination]);
    }
    let mut statement = sql.prepare_cached(
        "SELECT min(destination_id) FROM deliveries INDEXED BY due
         WHERE destination_id > ?1 AND next_attempt_at IS NOT NULL",
    )?;
    let (mut found, mut last) = (Vec::new(), DestinationId::default());
    while found.len() < MAX_DESTINATIONS
        && let Some(next) = statement.query_row([last], |row| row.get(0))?
    {
        found.push(next);
        last = next;
    }
    Ok(found)
}

fn read(
    sql: &Connection,
    query: &TailQuery,
    cursor: &mut TailCursor,
    now: Timestamp,
) -> Result<TailPage, StoreError> {
    let sql = &*sql.unchecked_transaction()?;
    look(Reads(sql), query, cursor, now)
}

impl Sqlite {
    /// The entries since the look before. The cursor is the caller's alone.
    pub async fn tail(
        &self,
        query: TailQuery,
        cursor: Arc<Mutex<TailCursor>>,
    ) -> Result<TailPage, StoreError> {
        let now = self.shared().clock.now();
        self.read(move |sql| {
            let mut cursor = cursor.lock().unwrap_or_else(PoisonError::into_inner);
            read(sql, &query, &mut cursor, now)
        })
        .await
    }
}

impl Operator {
    /// The entries since the look before.
    pub fn tail(&self, query: &TailQuery, cursor: &mut TailCursor) -> Result<TailPage, StoreError> {
        let now = self.now();
        self.read(|sql| read(sql, query, cursor, now))
    }
}
