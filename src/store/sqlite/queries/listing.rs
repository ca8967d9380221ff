//! The latest deliveries, filtered: `relay list`.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::clock::Timestamp;
use crate::model::{DeliveryState, Surface};
use crate::store::error::StoreError;
use crate::store::sqlite::columns::{BLOCKED, intent_id, waits_until};
use crate::store::sqlite::operator::Operator;
use crate::store::types::{DestinationId, IntentRow, ListQuery, ListedDelivery};

/// How the deliveries of a state are found. The parameter ?1 is the destination, and ?2 the first
/// row that was accepted late enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// In the index `listed`, a destination at a time, the newest first.
    Attempted(DeliveryState),
    /// In the index `due`, a destination at a time, the latest due first. ?3 is the latest time to
    /// look at.
    Waiting,
    /// In the index `due`, a destination at a time, the newest first: those that wait behind others
    /// in their lines. ?3 is the time that marks them.
    Blocked,
    /// In the index `claimed`, which never holds more than nine rows for each worker.
    Claimed,
    /// From the newest delivery on, until enough are found; of one destination if ?1 isn't null.
    Walk(Option<DeliveryState>),
}

/// How far in the future a delivery that was never attempted may be due: it is due when it is
/// accepted, or 250 ms after it was released. The rest allows for a command's clock that is behind
/// the server's.
const LATEST_DUE_MILLIS: i64 = 60_000;

/// The condition of the index `listed`, as schema.sql has it.
const ATTEMPTED: &str = "(d.state IN (2, 4) OR (d.state = 0 AND d.history > 0))";

impl Access {
    /// All ways in which the deliveries of a state are found.
    fn of(state: Option<DeliveryState>) -> &'static [Self] {
        use DeliveryState::{DeadLettered, Delivered, Processing, Queued, Retrying};
        match state {
            Some(Queued) => &[Self::Attempted(Queued), Self::Waiting, Self::Blocked],
            Some(Processing) => &[Self::Claimed],
            Some(Retrying) => &[Self::Attempted(Retrying)],
            Some(DeadLettered) => &[Self::Attempted(DeadLettered)],
            Some(Delivered) => &[Self::Walk(Some(Delivered))],
            None => &[Self::Walk(None)],
        }
    }

    /// Selects the deliveries: intent, destination, and in [`Access::Waiting`] when each is due. ?4
    /// is the source of the wanted events, or null.
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
            Self::Blocked => (
                "INDEXED BY due",
                "d.destination_id = ?1 AND d.next_attempt_at = ?3 AND d.state = 0".to_owned(),
                "NULL",
                "d.intent_id DESC",
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

    /// Selects the destinations that have such deliveries, from one to the next in the index; none
    /// if the deliveries of all are found at once.
    fn destinations(self) -> Option<String> {
        let (index, condition) = match self {
            Self::Attempted(state) => (
                "listed",
                format!("{ATTEMPTED} AND d.state = {}", state.number()),
            ),
            Self::Waiting | Self::Blocked => ("due", "d.next_attempt_at IS NOT NULL".to_owned()),
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

/// Selects a delivery as it is shown, by its key.
const SELECT_ONE: &str =
    "SELECT i.id, i.random, i.surface, i.label, t.name, d.state, d.attempts, i.created_at,
            d.updated_at, d.next_attempt_at, d.last_error
     FROM deliveries d CROSS JOIN intents i ON i.id = d.intent_id
          CROSS JOIN destinations t ON t.id = d.destination_id
     WHERE d.intent_id = ?1 AND d.destination_id = ?2";

/// The newest deliveries found so far: by intent, and those of one intent by destination.
struct Newest {
    limit: usize,
    /// The last one is shown first.
    keys: BTreeSet<(IntentRow, Reverse<DestinationId>)>,
}

impl Newest {
    fn add(&mut self, intent: IntentRow, destination: DestinationId) {
        self.keys.insert((intent, Reverse(destination)));
        if self.keys.len() > self.limit {
            self.keys.pop_first();
        }
    }

    /// Whether an intent is too old to be among them.
    fn is_too_old(&self, intent: IntentRow) -> bool {
        self.keys.len() == self.limit && self.keys.first().is_some_and(|(last, _)| intent < *last)
    }

    /// Adds the deliveries of one destination, or of all, that one way of access finds. Stops at
    /// the first delivery after which all are too old: so the cost is that of the list's length.
    fn find(
        &mut self,
        sql: &Connection,
        access: Access,
        destination: Option<DestinationId>,
        query: &ListQuery,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut statement = sql.prepare_cached(&access.select())?;
        let first = query.since.map_or(IntentRow(0), IntentRow::first_at);
        let latest = match access {
            Access::Blocked => BLOCKED.as_millis(),
            _ => now.as_millis().saturating_add(LATEST_DUE_MILLIS),
        };
        let mut rows = statement.query(params![destination, first, latest, query.source])?;
        while let Some(row) = rows.next()? {
            let (intent, destination) = (row.get(0)?, row.get(1)?);
            // A delivery becomes due when it is accepted, or later. So every delivery that became
            // due earlier than this one was accepted before this one was due.
            let newest_left = match row.get::<_, Option<i64>>(2)? {
                Some(due) => {
                    let after = Timestamp::from_millis(due.saturating_add(1));
                    IntentRow(IntentRow::first_at(after).0 - 1)
                }
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

/// The latest deliveries that match, latest first.
///
/// The cost is bounded by the limit and by the number of destinations with deliveries in the
/// state, however many are stored. Three filters have no index, and read from the newest delivery
/// on until enough are found: delivered ones, a destination without a state, and a source.
fn read(
    sql: &Connection,
    query: &ListQuery,
    now: Timestamp,
) -> Result<Vec<ListedDelivery>, StoreError> {
    // One snapshot, so that each delivery found exists when it is read.
    let sql = &*sql.unchecked_transaction()?;
    let destination: Option<DestinationId> = match &query.destination {
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
    let accesses = if query.is_blocked {
        &[Access::Blocked]
    } else {
        Access::of(query.state)
    };
    for access in accesses {
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
            Ok(statement.query_row(params![intent, destination], |row| {
                Ok(ListedDelivery {
                    id: intent_id(row, 0)?,
                    surface: Surface::from_number(row.get(2)?),
                    label: row.get(3)?,
                    destination: row.get(4)?,
                    state: row.get(5)?,
                    attempts: row.get(6)?,
                    created_at: row.get(7)?,
                    updated_at: row.get(8)?,
                    next_attempt_at: waits_until(row, 9)?,
                    last_error: row.get(10)?,
                })
            })?)
        })
        .collect()
}

/// Whether anything was ever sent to a destination of this name.
fn is_destination(sql: &Connection, name: &str) -> Result<bool, StoreError> {
    Ok(sql
        .prepare("SELECT 1 FROM destinations WHERE name = ?1")?
        .exists([name])?)
}

impl Operator {
    /// The latest deliveries that match, latest first.
    pub fn list(&self, query: &ListQuery) -> Result<Vec<ListedDelivery>, StoreError> {
        let now = self.now();
        self.read(|sql| read(sql, query, now))
    }

    /// Whether anything was ever sent to a destination of this name.
    pub fn is_destination(&self, name: &str) -> Result<bool, StoreError> {
        self.read(|sql| is_destination(sql, name))
    }
}

#[cfg(test)]
impl crate::store::sqlite::Sqlite {
    /// The latest deliveries that match, latest first.
    pub fn list(&self, query: &ListQuery) -> Result<Vec<ListedDelivery>, StoreError> {
        let now = self.shared().clock.now();
        self.read_blocking(|sql| read(sql, query, now))
    }
}

#[cfg(test)]
mod tests;
