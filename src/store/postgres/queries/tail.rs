//! The reads of a tail.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_postgres::Row;

use crate::clock::Timestamp;
use crate::model::{DeliveryState, Surface};
use crate::store::error::StoreError;
use crate::store::follow::{
    DUE_OF_EACH, DeliveryKey, FollowedIntent, FollowedState, MAX_DESTINATIONS, NewEntries,
    TailReads, Tracked, look,
};
use crate::store::postgres::columns::{Number, intent_id};
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::operator::Operator;
use crate::store::postgres::queries::claims::Claims;
use crate::store::postgres::queries::destinations::destination_id;
use crate::store::postgres::queries::intents::entry;
use crate::store::postgres::queries::others::UNSETTLED;
use crate::store::postgres::values::{limit, maybe_text, number, text};
use crate::store::types::{DestinationId, IntentRow, TailCursor, TailPage, TailQuery};

/// The reads of a look. They are no snapshot: the states are read before the histories, and the
/// intents before both, so that nothing is told twice or before its intent.
struct Reads<'a> {
    sql: &'a mut Connection,
    claims: Claims,
    /// Intents from here on may not be all there yet, while another node lives.
    before: IntentRow,
}

pub const SELECT_NEWEST: &str = "SELECT id FROM relay.intents
     WHERE id < $1 OR NOT EXISTS (SELECT 1 FROM relay.nodes OFFSET 1)
     ORDER BY id DESC LIMIT 1";

pub const SELECT_ACCEPTED: &str = "SELECT i.id, i.random, i.surface, i.label, i.event_type,
            i.created_at, length(i.body)
     FROM relay.intents i
     WHERE i.id > $1 AND (i.id < $2 OR NOT EXISTS (SELECT 1 FROM relay.nodes OFFSET 1))
     ORDER BY i.id LIMIT $3";

pub const SELECT_DELIVERIES: &str = "SELECT d.intent_id, d.destination_id, t.name
     FROM unnest($1::bigint[]) AS n(id) CROSS JOIN LATERAL (
              SELECT intent_id, destination_id FROM relay.waiting WHERE intent_id = n.id
              UNION ALL
              SELECT intent_id, destination_id FROM relay.ended WHERE intent_id = n.id) d
          CROSS JOIN LATERAL (
              SELECT name FROM relay.destinations x WHERE x.id = d.destination_id OFFSET 0) AS t
     WHERE $2::int IS NULL OR d.destination_id = $2
     ORDER BY d.intent_id, d.destination_id";

pub const SELECT_STATES: &str = "SELECT w.state, w.history, w.next_attempt_at > $3,
            e.state, e.history
     FROM unnest($1::bigint[], $2::int[]) WITH ORDINALITY AS n(intent_id, destination_id, place)
          LEFT JOIN relay.waiting w
               ON w.intent_id = n.intent_id AND w.destination_id = n.destination_id
          LEFT JOIN relay.ended e
               ON e.intent_id = n.intent_id AND e.destination_id = n.destination_id
     ORDER BY n.place";

pub const SELECT_ENTRIES: &str = "SELECT i.id, i.random, i.surface, i.label, i.event_type,
            i.created_at, length(i.body), t.name, a.attempt, a.started_at, a.duration_ms,
            a.outcome, a.status_code, a.error, a.response, a.failure, a.address, a.resolve_ms,
            a.connect_ms, a.first_byte_ms, a.next, a.tls_ms
     FROM relay.attempts a JOIN relay.intents i ON i.id = a.intent_id
          CROSS JOIN LATERAL (
              SELECT name FROM relay.destinations x WHERE x.id = a.destination_id OFFSET 0) AS t
     WHERE a.intent_id = $1 AND a.destination_id = $2 AND a.entry > $3 AND a.entry <= $4
     ORDER BY a.entry";

/// The destinations with waiting deliveries, from one to the next in the index.
pub const SELECT_WAITING: &str = "WITH RECURSIVE waiting(id) AS (
         (SELECT destination_id FROM relay.waiting ORDER BY destination_id LIMIT 1)
         UNION ALL
         SELECT (SELECT w.destination_id FROM relay.waiting w
                 WHERE w.destination_id > waiting.id ORDER BY w.destination_id LIMIT 1)
         FROM waiting WHERE waiting.id IS NOT NULL
     )
     SELECT id FROM waiting WHERE id IS NOT NULL LIMIT $1";

pub const SELECT_DUE: &str = "SELECT d.intent_id, d.destination_id, d.history
     FROM unnest($1::int[]) AS n(id) CROSS JOIN LATERAL (
              SELECT w.intent_id, w.destination_id, w.history FROM relay.waiting w
              WHERE w.destination_id = n.id AND w.next_attempt_at <= $2
              ORDER BY w.next_attempt_at, w.intent_id LIMIT $3) d
     LIMIT $4";

/// Due deliveries that a look finds, of all destinations: more than are tracked.
const MAX_DUE: usize = 10_000;

fn intent(row: &Row) -> Result<FollowedIntent, Failure> {
    Ok(FollowedIntent {
        id: intent_id(row, 0)?,
        surface: Surface::from_number(number(row, 2)?),
        label: text(row, 3)?,
        event_type: maybe_text(row, 4)?,
        created_at: row.try_get(5)?,
        bytes: number(row, 6)?,
    })
}

impl TailReads for Reads<'_> {
    type Error = Failure;

    fn destination(&mut self, name: &str) -> Result<Option<DestinationId>, Failure> {
        destination_id(self.sql, name)
    }

    fn newest(&mut self) -> Result<Option<IntentRow>, Failure> {
        let found = self.sql.first(SELECT_NEWEST, &[&self.before])?;
        Ok(found.map(|row| row.try_get(0)).transpose()?)
    }

    fn accepted(&mut self, after: IntentRow, most: usize) -> Result<Vec<FollowedIntent>, Failure> {
        let rows = self
            .sql
            .rows(SELECT_ACCEPTED, &[&after, &self.before, &limit(most)])?;
        rows.iter().map(intent).collect()
    }

    fn deliveries(
        &mut self,
        intents: &[IntentRow],
        to: Option<DestinationId>,
    ) -> Result<Vec<(DeliveryKey, String)>, Failure> {
        let rows = self.sql.rows(SELECT_DELIVERIES, &[&intents, &to])?;
        let found = |row: &Row| Ok(((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?));
        rows.iter().map(found).collect()
    }

    fn states(
        &mut self,
        keys: &[DeliveryKey],
        soon: Timestamp,
    ) -> Result<Vec<Option<FollowedState>>, Failure> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.claims = Claims::read(self.sql)?;
        let (intents, destinations): (Vec<_>, Vec<_>) = keys.iter().copied().unzip();
        let rows = self
            .sql
            .rows(SELECT_STATES, &[&intents, &destinations, &soon])?;
        let found = rows.iter().zip(keys).map(|(row, key)| {
            let ended: Option<DeliveryState> = row.try_get(3)?;
            if let Some(state) = ended {
                return Ok(Some(FollowedState {
                    state,
                    history: number(row, 4)?,
                    is_later: false,
                }));
            }
            let waiting: Option<DeliveryState> = row.try_get(0)?;
            let Some(state) = waiting else {
                return Ok(None);
            };
            let history = number(row, 1)?;
            let is_claimed = self.claims.of(key.0, key.1, history).is_some();
            Ok(Some(FollowedState {
                state: if is_claimed {
                    DeliveryState::Processing
                } else {
                    state
                },
                history,
                is_later: row.try_get::<_, bool>(2)? && !is_claimed,
            }))
        });
        found.collect()
    }

    fn entries(
        &mut self,
        key: DeliveryKey,
        seen: i64,
        last: i64,
    ) -> Result<Option<NewEntries>, Failure> {
        let rows = self.sql.rows(
            SELECT_ENTRIES,
            &[&key.0, &key.1, &Number(seen), &Number(last)],
        )?;
        let Some(first) = rows.first() else {
            return Ok(None);
        };
        let entries = rows.iter().map(|row| entry(row, 8));
        let entries = entries.collect::<Result<_, _>>()?;
        Ok(Some((intent(first)?, first.try_get(7)?, entries)))
    }

    fn claimed(&mut self, to: Option<DestinationId>) -> Result<Vec<Tracked>, Failure> {
        self.claims = Claims::read(self.sql)?;
        let claimed = self.claims.all();
        let wanted = claimed.filter(|((_, destination), _)| to.is_none_or(|to| to == *destination));
        Ok(wanted.collect())
    }

    fn due(
        &mut self,
        to: Option<DestinationId>,
        soon: Timestamp,
    ) -> Result<Vec<Vec<Tracked>>, Failure> {
        let destinations: Vec<DestinationId> = if let Some(destination) = to {
            vec![destination]
        } else {
            let rows = self.sql.rows(SELECT_WAITING, &[&limit(MAX_DESTINATIONS)])?;
            let ids = rows.iter().map(|row| row.try_get(0));
            ids.collect::<Result<_, _>>()?
        };
        let rows = self.sql.rows(
            SELECT_DUE,
            &[&destinations, &soon, &limit(DUE_OF_EACH), &limit(MAX_DUE)],
        )?;
        let mut found: Vec<Vec<Tracked>> = Vec::new();
        for row in &rows {
            let tracked: Tracked = ((row.try_get(0)?, row.try_get(1)?), number(row, 2)?);
            match found.last_mut().filter(|last| last[0].0.1 == tracked.0.1) {
                Some(of_one) => of_one.push(tracked),
                None => found.push(vec![tracked]),
            }
        }
        Ok(found)
    }
}

/// A look on a copy of the cursor, which a look that fails leaves as it was.
fn read(
    sql: &mut Connection,
    query: &TailQuery,
    cursor: &mut TailCursor,
    now: Timestamp,
) -> Result<TailPage, Failure> {
    let reads = Reads {
        sql,
        claims: Claims::default(),
        before: IntentRow::first_at(now.minus(UNSETTLED)),
    };
    let mut next = cursor.clone();
    let page = look(reads, query, &mut next, now)?;
    *cursor = next;
    Ok(page)
}

impl Postgres {
    /// The entries of a tail since the look before. The cursor is the caller's alone. While another
    /// node lives, intents are told two seconds after they were accepted.
    pub async fn tail(
        &self,
        query: TailQuery,
        cursor: Arc<Mutex<TailCursor>>,
    ) -> Result<TailPage, StoreError> {
        let now = self.shared().clock.now();
        self.read_async(move |sql| {
            let mut cursor = cursor.lock().unwrap_or_else(PoisonError::into_inner);
            read(sql, &query, &mut cursor, now)
        })
        .await
    }
}

impl Operator {
    /// The entries of a tail since the look before.
    pub fn tail(&self, query: &TailQuery, cursor: &mut TailCursor) -> Result<TailPage, StoreError> {
        let now = self.now();
        self.read(|sql| read(sql, query, cursor, now))
    }
}
