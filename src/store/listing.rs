//! What `relay list` and `relay stats` show.

use rusqlite::{Connection, params};

use super::StoreError;
use super::relays::{intent_id, state, timestamp};
use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId, Surface};

/// Which deliveries to list.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub state: Option<DeliveryState>,
    pub destination: Option<String>,
    pub source: Option<String>,
    /// Accepted at this time or later.
    pub since: Option<Timestamp>,
    pub limit: u32,
}

/// A delivery in a list.
#[derive(Debug)]
pub(crate) struct Listed {
    pub id: IntentId,
    pub surface: Surface,
    pub label: String,
    pub destination: String,
    pub state: DeliveryState,
    pub attempts: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub next_attempt_at: Option<Timestamp>,
    pub last_error: Option<String>,
}

impl Listed {
    /// The latest of them, latest first.
    pub fn read(sql: &Connection, query: &Query) -> Result<Vec<Self>, StoreError> {
        // Written out, so that the partial index of the state can be used.
        let of_state = match query.state {
            None => "1",
            Some(DeliveryState::Queued) => "d.next_attempt_at IS NOT NULL AND d.state = 0",
            Some(DeliveryState::Processing) => "d.claim IS NOT NULL",
            Some(DeliveryState::Retrying) => "d.next_attempt_at IS NOT NULL AND d.state = 2",
            Some(DeliveryState::Delivered) => "d.state = 3",
            Some(DeliveryState::DeadLettered) => "d.state = 4",
        };
        let mut statement = sql.prepare(&format!(
            "SELECT i.id, i.random, i.surface, i.label, t.name, d.state, d.attempts, i.created_at,
                    d.updated_at, d.next_attempt_at, d.last_error
             FROM deliveries d JOIN intents i ON i.id = d.intent_id
                  JOIN destinations t ON t.id = d.destination_id
             WHERE {of_state} AND (?1 IS NULL OR t.name = ?1)
               AND (?2 IS NULL OR (i.surface = 1 AND i.label = ?2)) AND d.intent_id >= ?3
             ORDER BY d.intent_id DESC, d.destination_id LIMIT ?4"
        ))?;
        let first = query
            .since
            .map_or(0, |since| IntentId::first_row_at(since.as_millis()));
        let rows = statement.query_map(
            params![query.destination, query.source, first, query.limit],
            |row| {
                Ok(Self {
                    id: intent_id(row, 0)?,
                    surface: Surface::from_number(row.get(2)?),
                    label: row.get(3)?,
                    destination: row.get(4)?,
                    state: state(row, 5)?,
                    attempts: row.get(6)?,
                    created_at: timestamp(row, 7)?,
                    updated_at: timestamp(row, 8)?,
                    next_attempt_at: row.get::<_, Option<i64>>(9)?.map(Timestamp::from_millis),
                    last_error: row.get(10)?,
                })
            },
        )?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// How a destination stands.
#[derive(Debug)]
pub(crate) struct Stats {
    pub destination: String,
    pub waiting: i64,
    pub processing: i64,
    pub dead_lettered: i64,
    pub oldest_due: Option<Timestamp>,
    pub paused: Option<String>,
    pub held_until: Option<Timestamp>,
    pub probe_at: Option<Timestamp>,
}

impl Stats {
    /// All destinations that anything was ever meant for, by name. Delivered ones aren't counted: that
    /// would read them all.
    pub fn read(sql: &Connection) -> Result<Vec<Self>, StoreError> {
        let mut statement = sql.prepare(
            "SELECT t.name,
                    (SELECT count(*) FROM deliveries d
                     WHERE d.destination_id = t.id AND d.next_attempt_at IS NOT NULL),
                    (SELECT count(*) FROM deliveries d
                     WHERE d.claim IS NOT NULL AND d.destination_id = t.id),
                    (SELECT count(*) FROM deliveries d
                     WHERE d.destination_id = t.id AND d.state = 4),
                    (SELECT min(d.next_attempt_at) FROM deliveries d
                     WHERE d.destination_id = t.id AND d.next_attempt_at IS NOT NULL),
                    t.pause_reason, t.held_until, t.probe_at
             FROM destinations t ORDER BY t.name",
        )?;
        let rows = statement.query_map([], |row| {
            let time = |at| -> rusqlite::Result<Option<Timestamp>> {
                Ok(row.get::<_, Option<i64>>(at)?.map(Timestamp::from_millis))
            };
            Ok(Self {
                destination: row.get(0)?,
                waiting: row.get(1)?,
                processing: row.get(2)?,
                dead_lettered: row.get(3)?,
                oldest_due: time(4)?,
                paused: row.get(5)?,
                held_until: time(6)?,
                probe_at: time(7)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Whether anything was ever meant for a destination of this name.
pub(crate) fn is_destination(sql: &Connection, name: &str) -> Result<bool, StoreError> {
    Ok(sql
        .prepare("SELECT 1 FROM destinations WHERE name = ?1")?
        .exists([name])?)
}
