use rusqlite::{Connection, OptionalExtension as _, params};

use super::StoreError;
use super::relays::{intent_id, state, timestamp};
use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId, Surface};

/// An intent as it is shown, with its deliveries.
pub(crate) struct IntentRow {
    pub id: IntentId,
    pub surface: Surface,
    /// An event's source, a relay's event type.
    pub label: String,
    /// A relay's URL.
    pub url: Option<String>,
    pub created_at: Timestamp,
    pub payload: Vec<u8>,
    /// In a fixed order.
    pub deliveries: Vec<DeliveryRow>,
}

/// One of its deliveries.
pub(crate) struct DeliveryRow {
    pub destination: String,
    pub state: DeliveryState,
    pub attempts: u32,
    pub next_attempt_at: Option<Timestamp>,
    pub updated_at: Timestamp,
    pub last_error: Option<String>,
    /// The destination is paused, and why.
    pub paused: Option<String>,
    /// The destination asked to be left alone until then.
    pub held_until: Option<Timestamp>,
    /// Its circuit breaker is open: nothing but a probe goes, from then on.
    pub probe_at: Option<Timestamp>,
    /// Oldest first.
    pub history: Vec<AttemptRow>,
}

/// One entry of a delivery's history.
pub(crate) struct AttemptRow {
    pub attempt: u32,
    pub started_at: Timestamp,
    pub duration_ms: i64,
    pub outcome: &'static str,
    pub status_code: Option<u16>,
    pub error: Option<String>,
    pub response: Option<Vec<u8>>,
    /// What kind of failure it was.
    pub failure: Option<String>,
    /// What the name resolved to.
    pub address: Option<String>,
    pub resolve_ms: Option<i64>,
    pub connect_ms: Option<i64>,
    pub first_byte_ms: Option<i64>,
    /// What follows, and why.
    pub next: Option<String>,
}

/// The names of `attempts.outcome`, by number.
const OUTCOMES: [&str; 5] = [
    "delivered",
    "transient",
    "permanent",
    "interrupted",
    "replayed",
];

impl IntentRow {
    /// Bytes of its payload and of the answers in its deliveries' histories.
    pub fn size(&self) -> usize {
        let entries = self.deliveries.iter().flat_map(|one| &one.history);
        let answers = entries.filter_map(|entry| entry.response.as_ref());
        self.payload.len() + answers.map(Vec::len).sum::<usize>()
    }

    /// The intent of this id, with its deliveries and their histories; of one surface only, if told.
    pub fn find(
        sql: &Connection,
        id: IntentId,
        of: Option<Surface>,
    ) -> Result<Option<Self>, StoreError> {
        // One snapshot, so that states and histories agree.
        let sql = &*sql.unchecked_transaction()?;
        let found = sql
            .prepare_cached(
                "SELECT id, random, surface, label, url, created_at, body FROM intents
                 WHERE id = ?1 AND random = ?2",
            )?
            .query_row(params![id.row(), id.random()], |row| {
                Ok(Self {
                    id: intent_id(row, 0)?,
                    surface: Surface::from_number(row.get(2)?),
                    label: row.get(3)?,
                    url: row.get(4)?,
                    created_at: timestamp(row, 5)?,
                    payload: row.get(6)?,
                    deliveries: Vec::new(),
                })
            })
            .optional()?;
        let Some(mut intent) =
            found.filter(|intent| of.is_none_or(|surface| intent.surface == surface))
        else {
            return Ok(None);
        };
        let mut statement = sql.prepare_cached(
            "SELECT t.name, d.state, d.attempts, d.next_attempt_at, d.updated_at, d.last_error,
                    t.pause_reason, t.held_until, t.probe_at, d.destination_id
             FROM deliveries d JOIN destinations t ON t.id = d.destination_id
             WHERE d.intent_id = ?1 ORDER BY d.destination_id",
        )?;
        let rows = statement.query_map([id.row()], |row| {
            let delivery = DeliveryRow {
                destination: row.get(0)?,
                state: state(row, 1)?,
                attempts: row.get(2)?,
                next_attempt_at: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_millis),
                updated_at: timestamp(row, 4)?,
                last_error: row.get(5)?,
                paused: row.get(6)?,
                held_until: row.get::<_, Option<i64>>(7)?.map(Timestamp::from_millis),
                probe_at: row.get::<_, Option<i64>>(8)?.map(Timestamp::from_millis),
                history: Vec::new(),
            };
            Ok((row.get::<_, i64>(9)?, delivery))
        })?;
        for row in rows {
            let (destination_id, mut delivery) = row?;
            delivery.history = history(sql, id, destination_id)?;
            intent.deliveries.push(delivery);
        }
        Ok(Some(intent))
    }
}

fn history(
    sql: &Connection,
    id: IntentId,
    destination_id: i64,
) -> Result<Vec<AttemptRow>, StoreError> {
    let mut statement = sql.prepare_cached(
        "SELECT attempt, started_at, duration_ms, outcome, status_code, error, response,
                failure, address, resolve_ms, connect_ms, first_byte_ms, next
         FROM attempts WHERE intent_id = ?1 AND destination_id = ?2 ORDER BY entry",
    )?;
    let rows = statement.query_map(params![id.row(), destination_id], |row| {
        let outcome: u8 = row.get(3)?;
        Ok(AttemptRow {
            attempt: row.get(0)?,
            started_at: timestamp(row, 1)?,
            duration_ms: row.get(2)?,
            outcome: OUTCOMES
                .get(usize::from(outcome))
                .copied()
                .unwrap_or("unknown"),
            status_code: row.get(4)?,
            error: row.get(5)?,
            response: row.get(6)?,
            failure: row.get(7)?,
            address: row.get(8)?,
            resolve_ms: row.get(9)?,
            connect_ms: row.get(10)?,
            first_byte_ms: row.get(11)?,
            next: row.get(12)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
