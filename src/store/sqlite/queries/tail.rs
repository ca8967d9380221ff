//! Follows accepted intents and attempts by their keys, a look at a time. No index has attempts by
//! time: instead the deliveries that may be attempted soon are looked at again. So following costs
//! accepting and delivering nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId, Surface};
use crate::store::error::StoreError;
use crate::store::sqlite::columns::intent_id;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::queries::intents::history;
use crate::store::types::{
    DestinationId, IntentRow, TailCursor, TailEntry, TailEvent, TailPage, TailQuery,
};

/// Intents of a look. A tail that is further behind looks again at once.
const MAX_INTENTS: usize = 1_000;
/// Deliveries that are looked at again: some 10 ms of a reader's time.
const MAX_TRACKED: usize = 5_000;
/// Deliveries of a destination that are found due in a look: more than it gets between two looks.
const DUE_OF_EACH: i64 = 250;
/// Destinations whose due deliveries are looked for.
const MAX_DESTINATIONS: usize = 1_000;
/// How far ahead a delivery is due that may be attempted before the next look.
const AHEAD: Duration = Duration::from_secs(2);
/// Destinations of an intent that its entry names.
const NAMED: usize = 20;

/// A delivery by its key, with the number of entries in its history.
type Tracked = ((IntentRow, DestinationId), i64);

struct Look<'a> {
    sql: &'a Connection,
    query: &'a TailQuery,
    /// The destination of the query; none: all, or one to which nothing was ever sent.
    destination: Option<DestinationId>,
    is_nobody: bool,
    cursor: &'a mut TailCursor,
    page: TailPage,
    now: Timestamp,
}

/// An intent as its entries show it.
struct Intent {
    id: IntentId,
    surface: Surface,
    label: String,
    event_type: Option<String>,
    created_at: Timestamp,
    bytes: i64,
}

const INTENT: &str = "i.id, i.random, i.surface, i.label, i.event_type, i.created_at,
     length(i.body)";

impl Intent {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: intent_id(row, 0)?,
            surface: Surface::from_number(row.get(2)?),
            label: row.get(3)?,
            event_type: row.get(4)?,
            created_at: row.get(5)?,
            bytes: row.get(6)?,
        })
    }

    fn is_wanted(&self, query: &TailQuery) -> bool {
        let is_event = self.surface == Surface::Event;
        let own_type = if is_event {
            self.event_type.as_deref()
        } else {
            Some(self.label.as_str())
        };
        let is_of_source = query
            .source
            .as_ref()
            .is_none_or(|source| is_event && *source == self.label);
        is_of_source
            && query.event_type.as_deref().is_none_or(|wanted| {
                own_type.is_some_and(|own| match wanted.strip_suffix('*') {
                    Some(beginning) => own.starts_with(beginning),
                    None => own == wanted,
                })
            })
    }

    fn entry(self, at: Timestamp, what: TailEvent) -> TailEntry {
        TailEntry {
            at,
            id: self.id,
            surface: self.surface,
            label: self.label,
            event_type: self.event_type,
            what,
        }
    }
}

/// The entries since the look before.
fn look(
    sql: &Connection,
    query: &TailQuery,
    cursor: &mut TailCursor,
    now: Timestamp,
) -> Result<TailPage, StoreError> {
    // One snapshot: an attempt isn't told before its intent.
    let sql = &*sql.unchecked_transaction()?;
    let destination: Option<DestinationId> = match &query.destination {
        Some(name) => sql
            .prepare_cached("SELECT id FROM destinations WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()?,
        None => None,
    };
    let is_first = cursor.last.is_none();
    let mut look = Look {
        sql,
        query,
        destination,
        is_nobody: query.destination.is_some() && destination.is_none(),
        cursor,
        page: TailPage::default(),
        now,
    };
    if is_first {
        look.begin()?;
    }
    if query.since.is_some() || !is_first {
        look.accepted()?;
    }
    if !look.is_nobody {
        look.attempted()?;
        look.track_waiting()?;
    }
    let mut page = look.page;
    page.entries.sort_by_key(|entry| entry.at);
    Ok(page)
}

impl Look<'_> {
    fn begin(&mut self) -> Result<(), StoreError> {
        let last = if let Some(since) = self.query.since {
            IntentRow(IntentRow::first_at(since).0 - 1)
        } else {
            let newest: Option<IntentRow> = self
                .sql
                .prepare_cached("SELECT max(id) FROM intents")?
                .query_row([], |row| row.get(0))?;
            newest.unwrap_or(IntentRow(0))
        };
        self.cursor.last = Some(last);
        Ok(())
    }

    /// Intents that were accepted since the look before; their deliveries are tracked.
    fn accepted(&mut self) -> Result<(), StoreError> {
        let mut statement = self.sql.prepare_cached(&format!(
            "SELECT {INTENT} FROM intents i WHERE i.id > ?1 ORDER BY i.id LIMIT ?2"
        ))?;
        let after = self.cursor.last.unwrap_or(IntentRow(0));
        let limit = i64::try_from(MAX_INTENTS).unwrap_or(i64::MAX);
        let found = statement.query_map(params![after, limit], Intent::read)?;
        let found: Vec<Intent> = found.collect::<Result<_, _>>()?;
        self.page.has_more = found.len() == MAX_INTENTS;
        for intent in found {
            let row = IntentRow::of(intent.id);
            self.cursor.last = Some(row);
            if self.is_nobody || !intent.is_wanted(self.query) {
                continue;
            }
            let destinations = self.track_deliveries(row)?;
            let is_to_destination = self.query.destination.is_none() || !destinations.is_empty();
            if self.query.status.is_none() && is_to_destination {
                let (at, bytes) = (intent.created_at, intent.bytes);
                let what = TailEvent::Accepted {
                    bytes,
                    destinations,
                };
                self.page.entries.push(intent.entry(at, what));
            }
        }
        Ok(())
    }

    /// Tracks the deliveries of a new intent from their first entry on. Returns some of the names
    /// of their destinations.
    fn track_deliveries(&mut self, intent: IntentRow) -> Result<Vec<String>, StoreError> {
        let mut statement = self.sql.prepare_cached(
            "SELECT d.destination_id, t.name
             FROM deliveries d JOIN destinations t ON t.id = d.destination_id
             WHERE d.intent_id = ?1 AND (?2 IS NULL OR d.destination_id = ?2)
             ORDER BY d.destination_id",
        )?;
        let mut rows = statement.query(params![intent, self.destination])?;
        let mut names = Vec::new();
        while let Some(row) = rows.next()? {
            if names.len() < NAMED {
                names.push(row.get(1)?);
            }
            let key = (intent, row.get(0)?);
            if self.cursor.tracked.len() < MAX_TRACKED {
                self.cursor.tracked.insert(key, 0);
            } else {
                self.page.has_gap = true;
            }
        }
        Ok(names)
    }

    /// The new entries in the histories of tracked deliveries. A delivery that won't be attempted
    /// soon is not tracked any more.
    fn attempted(&mut self) -> Result<(), StoreError> {
        let mut statement = self.sql.prepare_cached(
            "SELECT state, history, coalesce(next_attempt_at > ?3, 0) FROM deliveries
             WHERE intent_id = ?1 AND destination_id = ?2",
        )?;
        let soon = self.now.plus(AHEAD);
        let tracked: Vec<Tracked> = self.cursor.tracked.iter().map(|(k, v)| (*k, *v)).collect();
        for (key, seen) in tracked {
            let found: Option<(DeliveryState, i64, bool)> = statement
                .query_row(params![key.0, key.1, soon], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()?;
            let Some((state, history, is_later)) = found else {
                self.cursor.tracked.remove(&key);
                continue;
            };
            if history > seen {
                self.page.has_gap |= self.cursor.edges.contains(&key);
                self.tell(key, (state, seen))?;
            }
            let is_over = matches!(
                state,
                DeliveryState::Delivered | DeliveryState::DeadLettered
            );
            if is_over || is_later {
                self.cursor.tracked.remove(&key);
            } else {
                self.cursor.tracked.insert(key, history);
            }
        }
        self.cursor.edges.clear();
        Ok(())
    }

    /// Adds the entries of a delivery's history after those that were seen.
    fn tell(
        &mut self,
        (row, destination): (IntentRow, DestinationId),
        (state, seen): (DeliveryState, i64),
    ) -> Result<(), StoreError> {
        if self.query.status.is_some_and(|status| status != state) {
            return Ok(());
        }
        let mut statement = self.sql.prepare_cached(&format!(
            "SELECT {INTENT}, t.name FROM intents i JOIN destinations t
             WHERE i.id = ?1 AND t.id = ?2"
        ))?;
        let find = |row: &Row<'_>| -> rusqlite::Result<_> {
            Ok((Intent::read(row)?, row.get::<_, String>(7)?))
        };
        for entry in history(self.sql, row, destination, seen)? {
            let found = statement.query_row(params![row, destination], find);
            let Some((intent, destination)) = found.optional()? else {
                return Ok(());
            };
            if !intent.is_wanted(self.query) {
                return Ok(());
            }
            let took = u64::try_from(entry.duration_ms).unwrap_or(0);
            let at = entry.started_at.plus(Duration::from_millis(took));
            let what = TailEvent::Attempt {
                destination,
                state,
                entry: Box::new(entry),
            };
            self.page.entries.push(intent.entry(at, what));
        }
        Ok(())
    }

    /// Tracks the deliveries that are under way, and those that are due before the next look.
    fn track_waiting(&mut self) -> Result<(), StoreError> {
        let mut statement = self.sql.prepare_cached(
            "SELECT intent_id, destination_id, history FROM deliveries INDEXED BY claimed
             WHERE claim IS NOT NULL AND (?1 IS NULL OR destination_id = ?1)",
        )?;
        let claimed = statement.query_map([self.destination], key_and_history)?;
        for found in claimed {
            self.track(found?);
        }
        for destination in self.waiting()? {
            let mut statement = self.sql.prepare_cached(
                "SELECT intent_id, destination_id, history FROM deliveries INDEXED BY due
                 WHERE destination_id = ?1 AND next_attempt_at <= ?2
                 ORDER BY next_attempt_at, state LIMIT ?3",
            )?;
            let soon = self.now.plus(AHEAD);
            let due =
                statement.query_map(params![destination, soon, DUE_OF_EACH], key_and_history)?;
            let due: Vec<Tracked> = due.collect::<Result<_, _>>()?;
            let is_cut = i64::try_from(due.len()).is_ok_and(|found| found == DUE_OF_EACH);
            if let Some((last, _)) = due.last().filter(|_| is_cut) {
                self.cursor.edges.insert(*last);
            }
            for found in due {
                self.track(found);
            }
        }
        Ok(())
    }

    fn track(&mut self, (key, history): Tracked) {
        if self.cursor.tracked.len() < MAX_TRACKED {
            self.cursor.tracked.entry(key).or_insert(history);
        }
    }

    /// The destinations with waiting deliveries, from one to the next in the index.
    fn waiting(&self) -> Result<Vec<DestinationId>, StoreError> {
        if let Some(destination) = self.destination {
            return Ok(vec![destination]);
        }
        let mut statement = self.sql.prepare_cached(
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
}

fn key_and_history(row: &Row<'_>) -> rusqlite::Result<Tracked> {
    Ok(((row.get(0)?, row.get(1)?), row.get(2)?))
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
            look(sql, &query, &mut cursor, now)
        })
        .await
    }
}

impl Operator {
    /// The entries since the look before.
    pub fn tail(&self, query: &TailQuery, cursor: &mut TailCursor) -> Result<TailPage, StoreError> {
        let now = self.now();
        self.read(|sql| look(sql, query, cursor, now))
    }
}
