//! An intent with its deliveries and their histories.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::model::{DeliveryState, IntentId, OrderKey, Surface};
use crate::store::error::StoreError;
use crate::store::sqlite::columns::{
    BLOCKED, gone_payload, intent_id, maybe_text, text, waits_until,
};
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::operator::Operator;
use crate::store::types::{
    DestinationId, InLine, IntentRow, StoredAttempt, StoredDelivery, StoredIntent,
};

/// The intent of this id; of one surface only, if given.
fn find(
    sql: &Connection,
    id: IntentId,
    of: Option<Surface>,
) -> Result<Option<StoredIntent>, StoreError> {
    // One snapshot, so that states and histories agree.
    let sql = &*sql.unchecked_transaction()?;
    let found = sql
        .prepare_cached(
            "SELECT id, random, surface, label, url, created_at, body, event_type,
                    unrouted IS NOT NULL, headers, query, gone, gone_at
             FROM intents WHERE id = ?1 AND random = ?2",
        )?
        .query_row(params![id.row(), id.random()], |row| {
            Ok(StoredIntent {
                id: intent_id(row, 0)?,
                surface: Surface::from_number(row.get(2)?),
                label: text(row, 3)?,
                url: maybe_text(row, 4)?,
                created_at: row.get(5)?,
                payload: row.get(6)?,
                event_type: maybe_text(row, 7)?,
                is_unrouted: row.get(8)?,
                headers: row.get(9)?,
                query: maybe_text(row, 10)?,
                gone: gone_payload(row, 11)?,
                deliveries: Vec::new(),
            })
        })
        .optional()?;
    let Some(mut intent) =
        found.filter(|intent| of.is_none_or(|surface| intent.surface == surface))
    else {
        return Ok(None);
    };
    intent.deliveries = deliveries(sql, id)?;
    Ok(Some(intent))
}

fn deliveries(sql: &Connection, id: IntentId) -> Result<Vec<StoredDelivery>, StoreError> {
    let mut statement = sql.prepare_cached(
        "SELECT t.name, d.state, d.attempts, d.next_attempt_at, d.updated_at, d.last_error,
                t.pause_reason, t.held_until, t.probe_at, d.destination_id,
                d.next_attempt_at = ?2, iif(d.place IS NULL, NULL, d.order_key),
                d.discarded_at
         FROM deliveries d JOIN destinations t ON t.id = d.destination_id
         WHERE d.intent_id = ?1 ORDER BY d.destination_id",
    )?;
    let rows = statement.query_map(params![id.row(), BLOCKED], |row| {
        let delivery = StoredDelivery {
            destination: text(row, 0)?,
            state: row.get(1)?,
            attempts: row.get(2)?,
            next_attempt_at: waits_until(row, 3)?,
            in_line: InLine::Free,
            updated_at: row.get(4)?,
            last_error: maybe_text(row, 5)?,
            paused: maybe_text(row, 6)?,
            held_until: row.get(7)?,
            probe_at: row.get(8)?,
            discarded_at: row.get(12)?,
            history: Vec::new(),
        };
        let is_blocked: Option<bool> = row.get(10)?;
        let place = (row.get(9)?, row.get(11)?, is_blocked.unwrap_or(false));
        Ok((place, delivery))
    })?;
    let mut deliveries = Vec::new();
    for row in rows {
        let ((destination, key, is_blocked), mut delivery) = row?;
        if let Some(key) = key {
            if is_blocked {
                delivery.in_line = InLine::Behind(first_in_line(sql, destination, key)?);
            } else if delivery.state == DeliveryState::DeadLettered {
                delivery.in_line = InLine::Blocks;
            }
        }
        delivery.history = history(sql, IntentRow::of(id), destination, 0)?;
        deliveries.push(delivery);
    }
    Ok(deliveries)
}

/// The deliveries of a line among which the one that isn't blocked is looked for. It is the first,
/// unless older events came late and wait behind an attempt that had begun.
const LOOKED_AT: i64 = 100;

/// The delivery that keeps the others of a line waiting.
fn first_in_line(
    sql: &Connection,
    destination: DestinationId,
    key: OrderKey,
) -> Result<Option<(IntentId, Surface)>, StoreError> {
    let mut statement = sql.prepare_cached(
        "SELECT i.id, i.random, i.surface
         FROM (SELECT intent_id, place, next_attempt_at FROM deliveries INDEXED BY line
               WHERE destination_id = ?1 AND order_key = ?2 AND place IS NOT NULL
               ORDER BY place, intent_id LIMIT ?4) d
              CROSS JOIN intents i ON i.id = d.intent_id
         ORDER BY d.next_attempt_at IS ?3, d.place LIMIT 1",
    )?;
    let found = statement.query_row(params![destination, key, BLOCKED, LOOKED_AT], |row| {
        Ok((intent_id(row, 0)?, Surface::from_number(row.get(2)?)))
    });
    Ok(found.optional()?)
}

/// The entries of a delivery's history after this one, oldest first.
pub fn history(
    sql: &Connection,
    intent: IntentRow,
    destination: DestinationId,
    after: i64,
) -> Result<Vec<StoredAttempt>, StoreError> {
    let mut statement = sql.prepare_cached(
        "SELECT attempt, started_at, duration_ms, outcome, status_code, error, response,
                failure, address, resolve_ms, connect_ms, first_byte_ms, next, tls_ms
         FROM attempts WHERE intent_id = ?1 AND destination_id = ?2 AND entry > ?3
         ORDER BY entry",
    )?;
    let rows = statement.query_map(params![intent, destination, after], |row| {
        Ok(StoredAttempt {
            attempt: row.get(0)?,
            started_at: row.get(1)?,
            duration_ms: row.get(2)?,
            outcome: StoredAttempt::outcome_of(row.get(3)?),
            status_code: row.get(4)?,
            error: maybe_text(row, 5)?,
            response: row.get(6)?,
            failure: maybe_text(row, 7)?,
            address: maybe_text(row, 8)?,
            resolve_ms: row.get(9)?,
            connect_ms: row.get(10)?,
            tls_ms: row.get(13)?,
            first_byte_ms: row.get(11)?,
            next: maybe_text(row, 12)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

impl Sqlite {
    /// A webhook event with its deliveries.
    pub async fn event(&self, id: IntentId) -> Result<Option<StoredIntent>, StoreError> {
        self.read(move |sql| find(sql, id, Some(Surface::Event)))
            .await
    }

    /// An intent with its deliveries, of either surface.
    pub async fn intent_of_any_surface(
        &self,
        id: IntentId,
    ) -> Result<Option<StoredIntent>, StoreError> {
        self.read(move |sql| find(sql, id, None)).await
    }
}

impl Operator {
    /// An intent with its deliveries.
    pub fn intent(&self, id: IntentId) -> Result<Option<StoredIntent>, StoreError> {
        self.read(|sql| find(sql, id, None))
    }
}

#[cfg(test)]
impl Sqlite {
    /// An intent with its deliveries.
    pub fn intent(&self, id: IntentId) -> Result<Option<StoredIntent>, StoreError> {
        self.read_blocking(|sql| find(sql, id, None))
    }
}
