//! Relays and events, whole.

use std::collections::HashMap;

use tokio_postgres::Row;

use crate::model::{DeliveryState, IntentId, OrderKey, Surface};
use crate::store::error::StoreError;
use crate::store::postgres::columns::{BLOCKED, gone_payload, intent_id};
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::operator::Operator;
use crate::store::postgres::values::{maybe_number, maybe_text, number, text};
use crate::store::types::{
    DestinationId, InLine, IntentRow, StoredAttempt, StoredDelivery, StoredIntent,
};

const SELECT_INTENT: &str = "SELECT id, random, surface, label, url, created_at, body, event_type,
            unrouted IS NOT NULL, headers, query, gone, gone_at
     FROM relay.intents WHERE id = $1 AND random = $2";

/// The deliveries of an intent, each with its claim if it is under way.
const SELECT_DELIVERIES: &str = "SELECT x.destination_id, t.name, x.state, x.attempts,
            x.next_attempt_at, x.updated_at, x.last_error, t.pause_reason, t.held_until,
            t.probe_at, CASE WHEN x.place IS NULL THEN NULL ELSE x.order_key END,
            x.discarded_at, c.attempt, c.made_at
     FROM (SELECT destination_id, state, attempts, history, next_attempt_at, updated_at, last_error,
                  order_key, place, NULL::bigint AS discarded_at
           FROM relay.waiting WHERE intent_id = $1
           UNION ALL
           SELECT destination_id, state, attempts, history, NULL, updated_at, last_error,
                  order_key, place, discarded_at
           FROM relay.ended WHERE intent_id = $1) x
          CROSS JOIN LATERAL (
              SELECT * FROM relay.destinations o WHERE o.id = x.destination_id OFFSET 0) AS t
          CROSS JOIN LATERAL (
              SELECT max(u.attempt) AS attempt, max(u.made_at) AS made_at
              FROM relay.claimed u
              WHERE u.intent_id = $1 AND u.destination_id = x.destination_id
                AND u.history = x.history AND x.next_attempt_at IS NOT NULL) c
     ORDER BY x.destination_id";

const SELECT_HISTORIES: &str = "SELECT destination_id, attempt, started_at, duration_ms, outcome,
            status_code, error, response, failure, address, resolve_ms, connect_ms, first_byte_ms,
            next, tls_ms
     FROM relay.attempts WHERE intent_id = $1 ORDER BY destination_id, entry";

/// The delivery that keeps the others of a line waiting: a dead letter that blocks, or the only one
/// of those that wait which has a time.
const SELECT_FIRST_IN_LINE: &str = "SELECT i.id, i.random, i.surface
     FROM ((SELECT intent_id, place FROM relay.ended
            WHERE destination_id = $1 AND order_key = $2 AND place IS NOT NULL
            ORDER BY place LIMIT 1)
           UNION ALL
           (SELECT intent_id, place FROM relay.waiting
            WHERE destination_id = $1 AND order_key = $2 AND place IS NOT NULL
              AND next_attempt_at < 9223372036854775807
            LIMIT 1)) d
          JOIN relay.intents i ON i.id = d.intent_id
     ORDER BY d.place LIMIT 1";

/// The intent of this id; of one surface only, if given.
fn find(
    sql: &mut Connection,
    id: IntentId,
    of: Option<Surface>,
) -> Result<Option<StoredIntent>, Failure> {
    // One snapshot, so that states and histories agree.
    let (row, random) = (id.row(), id.random());
    let mut found = sql
        .snapshot(&[
            (SELECT_INTENT, &[&row, &random]),
            (SELECT_DELIVERIES, &[&row]),
            (SELECT_HISTORIES, &[&row]),
        ])?
        .into_iter();
    let mut next = || found.next().unwrap_or_default();
    let (intents, deliveries, histories) = (next(), next(), next());
    let Some(row) = intents.first() else {
        return Ok(None);
    };
    let mut intent = stored(row)?;
    if of.is_some_and(|surface| surface != intent.surface) {
        return Ok(None);
    }
    let mut histories = by_destination(&histories)?;
    for row in &deliveries {
        let (destination, mut delivery) = delivery(sql, row)?;
        delivery.history = histories.remove(&destination).unwrap_or_default();
        intent.deliveries.push(delivery);
    }
    Ok(Some(intent))
}

fn stored(row: &Row) -> Result<StoredIntent, Failure> {
    Ok(StoredIntent {
        id: intent_id(row, 0)?,
        surface: Surface::from_number(number(row, 2)?),
        label: text(row, 3)?,
        url: row.try_get(4)?,
        created_at: row.try_get(5)?,
        payload: row.try_get(6)?,
        event_type: maybe_text(row, 7)?,
        is_unrouted: row.try_get(8)?,
        headers: row.try_get(9)?,
        query: maybe_text(row, 10)?,
        gone: gone_payload(row, 11)?,
        deliveries: Vec::new(),
    })
}

fn delivery(sql: &mut Connection, row: &Row) -> Result<(DestinationId, StoredDelivery), Failure> {
    let destination = row.try_get(0)?;
    let due: Option<crate::clock::Timestamp> = row.try_get(4)?;
    let mut delivery = StoredDelivery {
        destination: row.try_get(1)?,
        state: row.try_get(2)?,
        attempts: number(row, 3)?,
        next_attempt_at: due.filter(|due| *due != BLOCKED),
        in_line: InLine::Free,
        updated_at: row.try_get(5)?,
        last_error: maybe_text(row, 6)?,
        paused: maybe_text(row, 7)?,
        held_until: row.try_get(8)?,
        probe_at: row.try_get(9)?,
        discarded_at: row.try_get(11)?,
        history: Vec::new(),
    };
    if let Some(attempt) = maybe_number(row, 12)? {
        delivery.state = DeliveryState::Processing;
        delivery.attempts = attempt;
        delivery.next_attempt_at = None;
        delivery.updated_at = row.try_get(13)?;
    }
    let key: Option<OrderKey> = row.try_get(10)?;
    if let Some(key) = key {
        if due == Some(BLOCKED) {
            delivery.in_line = InLine::Behind(first_in_line(sql, destination, key)?);
        } else if delivery.state == DeliveryState::DeadLettered {
            delivery.in_line = InLine::Blocks;
        }
    }
    Ok((destination, delivery))
}

fn first_in_line(
    sql: &mut Connection,
    destination: DestinationId,
    key: OrderKey,
) -> Result<Option<(IntentId, Surface)>, Failure> {
    let found = sql.first(SELECT_FIRST_IN_LINE, &[&destination, &key])?;
    let first = found.map(|row| Ok((intent_id(&row, 0)?, Surface::from_number(number(&row, 2)?))));
    first.transpose()
}

/// The entries of histories, oldest first.
fn by_destination(rows: &[Row]) -> Result<HashMap<DestinationId, Vec<StoredAttempt>>, Failure> {
    let mut histories: HashMap<DestinationId, Vec<StoredAttempt>> = HashMap::new();
    for row in rows {
        let history = histories.entry(row.try_get(0)?).or_default();
        history.push(entry(row, 1)?);
    }
    Ok(histories)
}

/// An entry of a history, from the column `at` on.
pub fn entry(row: &Row, at: usize) -> Result<StoredAttempt, Failure> {
    Ok(StoredAttempt {
        attempt: number(row, at)?,
        started_at: row.try_get(at + 1)?,
        duration_ms: row.try_get(at + 2)?,
        outcome: StoredAttempt::outcome_of(number(row, at + 3)?),
        status_code: maybe_number(row, at + 4)?,
        error: maybe_text(row, at + 5)?,
        response: row.try_get(at + 6)?,
        failure: row.try_get(at + 7)?,
        address: row.try_get(at + 8)?,
        resolve_ms: row.try_get(at + 9)?,
        connect_ms: row.try_get(at + 10)?,
        first_byte_ms: row.try_get(at + 11)?,
        next: maybe_text(row, at + 12)?,
        tls_ms: row.try_get(at + 13)?,
    })
}

/// The first of these ids that names nothing.
fn first_unknown(sql: &mut Connection, ids: &[IntentId]) -> Result<Option<IntentId>, Failure> {
    let rows: Vec<i64> = ids.iter().map(|id| id.row()).collect();
    let known = sql.rows(
        "SELECT id, random FROM relay.intents WHERE id = ANY($1)",
        &[&rows],
    )?;
    let known = known.iter().map(|row| intent_id(row, 0));
    let known = known.collect::<Result<Vec<IntentId>, Failure>>()?;
    Ok(ids.iter().find(|id| !known.contains(id)).copied())
}

fn row_of(sql: &mut Connection, id: IntentId) -> Result<Option<IntentRow>, Failure> {
    let select = "SELECT id FROM relay.intents WHERE id = $1 AND random = $2";
    let found = sql.first(select, &[&id.row(), &id.random()])?;
    Ok(found.map(|row| row.try_get(0)).transpose()?)
}

impl Postgres {
    /// The webhook event of this id, with its deliveries and their histories.
    pub async fn event(&self, id: IntentId) -> Result<Option<StoredIntent>, StoreError> {
        self.read_async(move |sql| find(sql, id, Some(Surface::Event)))
            .await
    }

    /// The relay or event of this id, with its deliveries and their histories.
    pub async fn intent_of_any_surface(
        &self,
        id: IntentId,
    ) -> Result<Option<StoredIntent>, StoreError> {
        self.read_async(move |sql| find(sql, id, None)).await
    }

    /// The first of these ids that names no relay and no event.
    pub async fn first_unknown(&self, ids: Vec<IntentId>) -> Result<Option<IntentId>, StoreError> {
        if ids.is_empty() {
            return Ok(None);
        }
        self.read_async(move |sql| first_unknown(sql, &ids)).await
    }
}

impl Operator {
    /// The row of an id; none if there is no such relay or event.
    pub fn row_of(&self, id: IntentId) -> Result<Option<IntentRow>, StoreError> {
        self.read(|sql| row_of(sql, id))
    }

    /// The relay or event of this id, with its deliveries and their histories.
    pub fn intent(&self, id: IntentId) -> Result<Option<StoredIntent>, StoreError> {
        self.read(|sql| find(sql, id, None))
    }
}

#[cfg(test)]
impl Postgres {
    /// The relay or event of this id, with its deliveries and their histories.
    pub fn intent(&self, id: IntentId) -> Result<Option<StoredIntent>, StoreError> {
        self.read(|sql| find(sql, id, None))
    }
}
