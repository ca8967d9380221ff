//! What `relay list` and `relay stats` show.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::StoreError;
use super::backlog::{KeepReason, Obstacles};
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

/// How the deliveries of a state are found. Which destination's is the parameter ?1, and ?2 the
/// first row that was accepted late enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// In the index `listed`, a destination at a time, the newest first.
    Attempted(DeliveryState),
    /// In the index `due`, a destination at a time, what became due last first. ?3 is the latest
    /// time to look at.
    Waiting,
    /// In the index `claimed`, which never holds more than nine rows for each worker.
    Claimed,
    /// From the newest delivery on, until enough are found. Of one destination if ?1 isn't null.
    Walk(Option<DeliveryState>),
}

/// How far beyond the present a delivery that was never attempted may be due: it is due when it is
/// accepted, or 250 ms after it was handed back. The rest allows for a command's clock that is
/// behind the server's.
const LATEST_DUE_MILLIS: i64 = 60_000;

/// The condition of the index `listed`, as it is written in schema.sql.
const ATTEMPTED: &str = "(d.state IN (2, 4) OR (d.state = 0 AND d.history > 0))";

impl Access {
    /// How the deliveries of a state are found, all ways together.
    fn of(state: Option<DeliveryState>) -> &'static [Self] {
        use DeliveryState::{DeadLettered, Delivered, Processing, Queued, Retrying};
        match state {
            Some(Queued) => &[Self::Attempted(Queued), Self::Waiting],
            Some(Processing) => &[Self::Claimed],
            Some(Retrying) => &[Self::Attempted(Retrying)],
            Some(DeadLettered) => &[Self::Attempted(DeadLettered)],
            Some(Delivered) => &[Self::Walk(Some(Delivered))],
            None => &[Self::Walk(None)],
        }
    }

    /// The deliveries: intent, destination, and in [`Access::Waiting`] when each is due. ?4 is the
    /// source whose events are wanted, or null.
    fn select(self) -> String {
        let (index, condition, due, order) = match self {
            Self::Attempted(state) => (
                "INDEXED BY listed",
                format!(
                    "{ATTEMPTED} AND d.state = {} AND d.destination_id = ?1",
                    state.number()
                ),
                "NULL",
                "d.intent_id DESC",
            ),
            Self::Waiting => (
                "INDEXED BY due",
                "d.destination_id = ?1 AND d.next_attempt_at >= (?2 >> 12)
                 AND d.next_attempt_at <= ?3 AND d.state = 0"
                    .to_owned(),
                "d.next_attempt_at",
                "d.next_attempt_at DESC",
            ),
            Self::Claimed => (
                "INDEXED BY claimed",
                "d.claim IS NOT NULL AND (?1 IS NULL OR d.destination_id = ?1)".to_owned(),
                "NULL",
                "d.intent_id DESC, d.destination_id",
            ),
            Self::Walk(state) => (
                "",
                format!(
                    "(?1 IS NULL OR d.destination_id = ?1) AND {}",
                    state.map_or_else(
                        || "1".to_owned(),
                        |state| format!("d.state = {}", state.number())
                    )
                ),
                "NULL",
                "d.intent_id DESC, d.destination_id",
            ),
        };
        format!(
            "SELECT d.intent_id, d.destination_id, {due} FROM deliveries d {index}
             WHERE {condition} AND d.intent_id >= ?2
               AND (?4 IS NULL OR EXISTS (SELECT 1 FROM intents i
                    WHERE i.id = d.intent_id AND i.surface = 1 AND i.label = ?4))
             ORDER BY {order}"
        )
    }

    /// The destinations that have any, from one to the next in the index; none if all are found at
    /// once.
    fn destinations(self) -> Option<String> {
        let (index, condition) = match self {
            Self::Attempted(state) => (
                "listed",
                format!("{ATTEMPTED} AND d.state = {}", state.number()),
            ),
            Self::Waiting => ("due", "d.next_attempt_at IS NOT NULL".to_owned()),
            Self::Claimed | Self::Walk(_) => return None,
        };
        Some(format!(
            "WITH RECURSIVE found(id) AS (
                 SELECT min(d.destination_id) FROM deliveries d INDEXED BY {index}
                 WHERE {condition}
                 UNION ALL
                 SELECT (SELECT min(d.destination_id) FROM deliveries d INDEXED BY {index}
                         WHERE {condition} AND d.destination_id > found.id)
                 FROM found WHERE found.id IS NOT NULL
             )
             SELECT id FROM found WHERE id IS NOT NULL"
        ))
    }
}

/// What is shown of one, found by its key.
const SELECT_ONE: &str =
    "SELECT i.id, i.random, i.surface, i.label, t.name, d.state, d.attempts, i.created_at,
            d.updated_at, d.next_attempt_at, d.last_error
     FROM deliveries d CROSS JOIN intents i ON i.id = d.intent_id
          CROSS JOIN destinations t ON t.id = d.destination_id
     WHERE d.intent_id = ?1 AND d.destination_id = ?2";

/// The newest deliveries found so far: by intent, and those of one intent by destination.
struct Newest {
    limit: usize,
    /// Intent and destination, so that the last one is shown first.
    keys: BTreeSet<(i64, Reverse<i64>)>,
}

impl Newest {
    fn add(&mut self, intent: i64, destination: i64) {
        self.keys.insert((intent, Reverse(destination)));
        if self.keys.len() > self.limit {
            self.keys.pop_first();
        }
    }

    /// Whether an intent is too old to be among them.
    fn is_too_old(&self, intent: i64) -> bool {
        self.keys.len() == self.limit && self.keys.first().is_some_and(|(last, _)| intent < *last)
    }

    /// Adds what is found in one way of one destination, or of all. Stops at the first one after
    /// which all are too old: that is what makes it cost as much as the list is long.
    fn find(
        &mut self,
        sql: &Connection,
        access: Access,
        destination: Option<i64>,
        query: &Query,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut statement = sql.prepare_cached(&access.select())?;
        let first = query
            .since
            .map_or(0, |since| IntentId::first_row_at(since.as_millis()));
        let latest = now.as_millis().saturating_add(LATEST_DUE_MILLIS);
        let mut rows = statement.query(params![destination, first, latest, query.source])?;
        while let Some(row) = rows.next()? {
            let (intent, destination): (i64, i64) = (row.get(0)?, row.get(1)?);
            // A delivery becomes due when it is accepted, or later. So none of those that became
            // due earlier than this one was accepted later than that.
            let newest_left = match row.get::<_, Option<i64>>(2)? {
                Some(due) => IntentId::first_row_at(due.saturating_add(1)) - 1,
                None => intent,
            };
            if self.is_too_old(newest_left) {
                break;
            }
            self.add(intent, destination);
            if matches!(access, Access::Walk(_) | Access::Claimed) && self.keys.len() == self.limit
            {
                break;
            }
        }
        Ok(())
    }
}

impl Listed {
    /// The latest of them, latest first.
    ///
    /// The cost is bounded by the limit and by how many destinations have deliveries in the state,
    /// whatever is stored. Three filters have no index, and read from the newest on until enough are
    /// found: delivered ones, a destination without a state, and a source.
    pub fn read(sql: &Connection, query: &Query, now: Timestamp) -> Result<Vec<Self>, StoreError> {
        // One snapshot: what is found first is there to be shown.
        let sql = &*sql.unchecked_transaction()?;
        let destination: Option<i64> = match &query.destination {
            None => None,
            Some(name) => {
                let found = sql
                    .prepare_cached("SELECT id FROM destinations WHERE name = ?1")?
                    .query_row([name], |row| row.get(0))
                    .optional()?;
                if found.is_none() {
                    return Ok(Vec::new());
                }
                found
            }
        };
        let mut newest = Newest {
            limit: usize::try_from(query.limit).unwrap_or(usize::MAX),
            keys: BTreeSet::new(),
        };
        for access in Access::of(query.state) {
            match (destination, access.destinations()) {
                (None, Some(select)) => {
                    let mut statement = sql.prepare_cached(&select)?;
                    let mut ids = statement.query([])?;
                    while let Some(row) = ids.next()? {
                        newest.find(sql, *access, Some(row.get(0)?), query, now)?;
                    }
                }
                _ => newest.find(sql, *access, destination, query, now)?,
            }
        }
        let mut statement = sql.prepare_cached(SELECT_ONE)?;
        newest
            .keys
            .iter()
            .rev()
            .map(|(intent, Reverse(destination))| {
                Ok(statement.query_row([intent, destination], |row| {
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
                })?)
            })
            .collect()
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
    /// All destinations that anything was ever meant for, by name. Waiting deliveries and dead
    /// letters are counted one by one, in the partial indexes; delivered ones aren't counted, since
    /// that would read them all.
    pub fn read(sql: &Connection) -> Result<Vec<Self>, StoreError> {
        let mut statement = sql.prepare(SELECT_STATS)?;
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

impl Stats {
    /// Why nothing goes out to it at `now`; none if it should.
    pub fn keep_reason(&self, is_deliverable: bool, now: Timestamp) -> Option<KeepReason> {
        let obstacles = Obstacles {
            is_paused: self.paused.is_some(),
            held_until: self.held_until,
            probe_at: self.probe_at,
        };
        obstacles.reason(is_deliverable, now)
    }
}

/// The claimed ones are few, and counted once for all destinations.
const SELECT_STATS: &str = "WITH claims AS MATERIALIZED (
         SELECT d.destination_id, count(*) AS number FROM deliveries d INDEXED BY claimed
         WHERE d.claim IS NOT NULL GROUP BY d.destination_id
     )
     SELECT t.name,
            (SELECT count(*) FROM deliveries d
             WHERE d.destination_id = t.id AND d.next_attempt_at IS NOT NULL),
            coalesce(c.number, 0),
            (SELECT count(*) FROM deliveries d
             WHERE d.destination_id = t.id AND d.state = 4),
            (SELECT min(d.next_attempt_at) FROM deliveries d
             WHERE d.destination_id = t.id AND d.next_attempt_at IS NOT NULL),
            t.pause_reason, t.held_until, t.probe_at
     FROM destinations t LEFT JOIN claims c ON c.destination_id = t.id ORDER BY t.name";

/// Whether anything was ever meant for a destination of this name.
pub(crate) fn is_destination(sql: &Connection, name: &str) -> Result<bool, StoreError> {
    Ok(sql
        .prepare("SELECT 1 FROM destinations WHERE name = ?1")?
        .exists([name])?)
}

#[cfg(test)]
mod tests;
