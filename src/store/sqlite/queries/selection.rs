//! The deliveries, or the events, that a bulk operation selects: found on a reader a page at a
//! time, so that the writer only changes them.

use std::time::Duration;

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Row, Rows, named_params};

use crate::clock::Timestamp;
use crate::model::{DeliveryState, OrderKey};
use crate::store::error::StoreError;
use crate::store::sqlite::columns::BLOCKED;
use crate::store::sqlite::limits::MAX_HISTORY;
use crate::store::sqlite::ops::payload::GONE;
use crate::store::types::{BulkAction, DestinationId, IntentRow, StateSet};

/// Rows that a page looks at: some 10 ms of a reader's time, and no less than a thousand pages for
/// ten million rows.
pub const LOOKS: usize = if cfg!(test) { 1_000 } else { 10_000 };

/// A selection, in the numbers of the database.
#[derive(Clone, Debug)]
pub struct Selection {
    pub action: BulkAction,
    pub states: StateSet,
    /// The rows of the only intents that are meant, as a JSON array.
    pub ids: Option<String>,
    pub destination: Option<DestinationId>,
    /// The destination of [`BulkAction::SendTo`] and [`BulkAction::Reroute`], once it is stored.
    pub target: Option<DestinationId>,
    pub source: Option<String>,
    pub event_type: Option<String>,
    pub reason: Option<String>,
    pub since: Timestamp,
    pub until: Timestamp,
    /// When the operation began: what was changed since then isn't selected, so that a delivery
    /// which fails anew never belongs to the operation again.
    pub begun_at: Timestamp,
}

/// How the selected ones are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// In the index `dead`, in the order in which they were given up.
    Dead,
    /// In the index `due`, in the order in which they are due.
    Waiting,
    /// All deliveries, or those of some intents, in the order of acceptance.
    Deliveries,
    /// All intents, or some, in the order of acceptance.
    Intents,
}

/// How far a selection has been read: the last row, by the columns of its order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// When it was given up, or is due; 0 for the orders of acceptance.
    pub at: i64,
    pub intent: i64,
    /// Its state among those that are due at the same time; its destination in the order of all
    /// deliveries.
    pub more: i64,
}

/// A selected delivery or, without a destination, an event.
#[derive(Clone, Debug)]
pub struct Selected {
    pub intent: IntentRow,
    pub destination: Option<DestinationId>,
    pub state: DeliveryState,
    pub updated_at: Timestamp,
    /// Entries of its history, and bytes of its intent.
    pub history: u32,
    pub bytes: u32,
    /// The line to whose end a replay takes it; none of a dead letter that blocks its line.
    pub line: Option<OrderKey>,
    /// Whether there is nothing to do: it is due already, or the target has the event.
    pub is_skipped: bool,
    /// Where the next page begins if this is the last one taken.
    pub cursor: Cursor,
}

/// Rows in the order of a selection, each with whether it matches.
pub struct Page {
    pub selected: Vec<Selected>,
    /// Rows that were looked at.
    pub looked: usize,
    /// After all of them.
    pub end: Cursor,
    /// Whether these are all.
    pub is_last: bool,
}

impl Selection {
    /// How the selected ones are found.
    pub fn access(&self) -> Access {
        if self.action.is_of_events() {
            Access::Intents
        } else if self.ids.is_some() || self.destination.is_none() {
            Access::Deliveries
        } else if self.states == StateSet::DEAD_LETTERED {
            Access::Dead
        } else if self.states.is_within(StateSet::WAITING) {
            Access::Waiting
        } else {
            Access::Deliveries
        }
    }

    /// Whether it may meet deliveries that are in flight, and come back to wait.
    pub fn is_of_waiting(&self) -> bool {
        !self.action.is_of_events() && self.states.is_within(StateSet::WAITING)
    }

    /// Whether what it makes goes to one destination only.
    pub fn is_of_one(&self) -> bool {
        let has_one = self.target.is_some() || self.destination.is_some();
        has_one && self.action != BulkAction::Route
    }

    /// Where its first page begins.
    pub fn start(&self) -> Cursor {
        let (at, intent) = match self.access() {
            Access::Dead => (self.since.as_millis(), 0),
            Access::Waiting => (i64::MIN, 0),
            Access::Deliveries | Access::Intents => (0, IntentRow::first_at(self.since).0 - 1),
        };
        Cursor {
            at,
            intent,
            more: i64::MAX,
        }
    }

    /// The columns, the rows and the order of a page, after the cursor.
    pub fn select(&self) -> String {
        let is_joined = self.source.is_some() || self.event_type.is_some() || self.reads_bytes();
        let (join, bytes) = if is_joined {
            (
                "JOIN intents i ON i.id = d.intent_id",
                "length(i.headers) + length(i.body)",
            )
        } else {
            ("", "0")
        };
        let of_intent = if is_joined { OF_INTENT } else { OF_ANY };
        let states = states(self.states);
        let delivery = format!(
            "d.intent_id, d.destination_id, d.state, d.updated_at, min(d.history, :entries), {bytes},
             iif(d.place IS NULL, d.order_key, NULL),"
        );
        match self.access() {
            Access::Dead => format!(
                "SELECT {delivery} d.updated_at, 0, 0,
                        (d.updated_at >= :since AND {of_intent} AND {OF_REASON}) IS TRUE
                 FROM deliveries d INDEXED BY dead {join}
                 WHERE d.state = 4 AND d.discarded_at IS NULL AND d.destination_id = :destination
                   AND (d.updated_at, d.intent_id) > (:at, :intent) AND d.updated_at <= :until
                   AND :first <= :last AND :more IS NOT NULL AND :target IS NULL
                   AND :begun IS NOT NULL AND :ids IS NULL
                 ORDER BY d.updated_at, d.intent_id LIMIT :looks"
            ),
            Access::Waiting => format!(
                "SELECT {delivery} d.next_attempt_at, d.state, {skipped},
                        (d.intent_id BETWEEN :first AND :last AND {states}
                         AND {of_intent} AND {OF_REASON} AND {unchanged}) IS TRUE
                 FROM deliveries d INDEXED BY due {join}
                 WHERE d.destination_id = :destination AND d.next_attempt_at IS NOT NULL
                   AND (d.next_attempt_at, d.state, d.intent_id) > (:at, :more, :intent)
                   AND :since <= :until AND :ids IS NULL
                 ORDER BY d.next_attempt_at, d.state, d.intent_id LIMIT :looks",
                skipped = self.skipped(),
                unchanged = self.unchanged(),
            ),
            Access::Deliveries => format!(
                "SELECT {delivery} 0, d.destination_id, {skipped},
                        ((:destination IS NULL OR d.destination_id = :destination)
                         AND d.discarded_at IS NULL AND {states}
                         AND {of_intent} AND {OF_REASON} AND {unchanged}) IS TRUE
                 FROM {deliveries} {join}
                 WHERE (d.intent_id, d.destination_id) > (:intent, :more) AND d.intent_id <= :last
                   AND :first <= :last AND :since <= :until AND :at = 0 AND {of_ids}
                 ORDER BY d.intent_id, d.destination_id LIMIT :looks",
                deliveries = self.from("deliveries d", "d.intent_id"),
                of_ids = self.of_ids(),
                skipped = self.skipped(),
                unchanged = self.unchanged(),
            ),
            Access::Intents => self.select_intents(),
        }
    }

    fn select_intents(&self) -> String {
        // Only events have a source, and so routes.
        let surface = if self.action == BulkAction::Route {
            "i.surface = 1"
        } else {
            "1"
        };
        let skipped = if self.action == BulkAction::Erase {
            // Erased already.
            format!("(:target IS NULL AND {GONE} IS 1)")
        } else {
            "EXISTS (SELECT 1 FROM deliveries d
                     WHERE d.intent_id = i.id AND d.destination_id = :target)"
                .to_owned()
        };
        format!(
            "SELECT i.id, 0, 0, i.created_at, 0, length(i.headers) + length(i.body), NULL, 0, 0,
                    {skipped},
                    ({OF_INTENT} AND {of_delivery} AND {surface}) IS TRUE
             FROM {intents}
             WHERE i.id > :intent AND i.id <= :last
               AND :first <= :last AND :since <= :until AND :at = 0 AND :more IS NOT NULL
               AND :entries IS NOT NULL AND :begun IS NOT NULL AND {of_ids}
             ORDER BY i.id LIMIT :looks",
            intents = self.from("intents i", "i.id"),
            of_ids = self.of_ids(),
            of_delivery = self.of_delivery(),
        )
    }

    /// A table, or its rows of the intents that are meant.
    fn from(&self, table: &str, intent: &str) -> String {
        if self.ids.is_some() {
            format!("json_each(:ids) j CROSS JOIN {table} ON {intent} = j.value")
        } else {
            table.to_owned()
        }
    }

    /// Names the parameter where [`Self::from`] doesn't.
    fn of_ids(&self) -> &'static str {
        if self.ids.is_some() {
            "1"
        } else {
            ":ids IS NULL"
        }
    }

    fn reads_bytes(&self) -> bool {
        self.action == BulkAction::Discard
    }

    /// Whether there is nothing to do for a delivery.
    fn skipped(&self) -> &'static str {
        match self.action {
            BulkAction::Retry => "d.next_attempt_at <= :begun AND :target IS NULL",
            BulkAction::Reroute => {
                "EXISTS (SELECT 1 FROM deliveries o
                         WHERE o.intent_id = d.intent_id AND o.destination_id = :target)"
            }
            _ => ":target IS NOT NULL",
        }
    }

    /// Whether a delivery is as it was when the operation began. Waiting ones are discarded and
    /// moved also if an attempt has failed since: then they are as unwanted as before.
    fn unchanged(&self) -> String {
        match self.action {
            BulkAction::Retry => {
                format!("d.updated_at <= :begun AND d.next_attempt_at < {BLOCKED_AT}")
            }
            BulkAction::Discard | BulkAction::Reroute => ":begun IS NOT NULL".to_owned(),
            _ => "d.updated_at < :begun".to_owned(),
        }
    }

    /// Whether an event has a delivery that the filter asks for.
    fn of_delivery(&self) -> String {
        if self.states == StateSet::ANY && self.destination.is_none() && self.reason.is_none() {
            return "(:destination IS NULL AND :reason IS NULL)".to_owned();
        }
        format!(
            "EXISTS (SELECT 1 FROM deliveries d WHERE d.intent_id = i.id
                     AND (:destination IS NULL OR d.destination_id = :destination)
                     AND d.discarded_at IS NULL AND {} AND {OF_REASON})",
            states(self.states)
        )
    }

    /// The next page. Once `wanted` are selected, or [`LOOKS`] rows looked at, it is full.
    pub fn page(&self, sql: &Connection, after: Cursor, wanted: usize) -> Result<Page, StoreError> {
        let mut statement = sql.prepare_cached(&self.select())?;
        let looks = i64::try_from(LOOKS).unwrap_or(i64::MAX);
        let mut rows = self.query(&mut statement, after, looks)?;
        let mut page = Page {
            selected: Vec::new(),
            looked: 0,
            end: after,
            is_last: false,
        };
        while let Some(row) = rows.next()? {
            // One row more tells whether there are any.
            if page.selected.len() == wanted {
                return Ok(page);
            }
            page.looked += 1;
            let selected = self.read(row)?;
            page.end = selected.cursor;
            if row.get(10)? {
                page.selected.push(selected);
            }
        }
        page.is_last = page.looked < LOOKS;
        Ok(page)
    }

    /// The rows after the cursor, `looks` at most unless it is negative.
    pub fn query<'a>(
        &self,
        statement: &'a mut CachedStatement<'_>,
        after: Cursor,
        looks: i64,
    ) -> rusqlite::Result<Rows<'a>> {
        let before = self.begun_at.minus(Duration::from_millis(1));
        statement.query(named_params! {
            ":ids": self.ids,
            ":destination": self.destination,
            ":target": self.target,
            ":source": self.source,
            ":type": self.event_type,
            ":reason": self.reason,
            ":since": self.since,
            ":until": self.until.min(before),
            ":first": IntentRow::first_at(self.since),
            ":last": self.last_intent(),
            ":begun": self.begun_at,
            ":at": after.at,
            ":intent": after.intent,
            ":more": after.more,
            ":entries": MAX_HISTORY,
            ":looks": looks,
        })
    }

    /// The last row that may have been accepted before the operation began.
    fn last_intent(&self) -> i64 {
        let end = self
            .until
            .min(self.begun_at.minus(Duration::from_millis(1)));
        IntentRow::first_at(end.plus(Duration::from_millis(1))).0 - 1
    }

    fn read(&self, row: &Row<'_>) -> rusqlite::Result<Selected> {
        let intent: IntentRow = row.get(0)?;
        let is_of_events = self.action.is_of_events();
        let destination = if is_of_events {
            None
        } else {
            Some(row.get(1)?)
        };
        Ok(Selected {
            intent,
            destination,
            state: row.get(2)?,
            updated_at: row.get(3)?,
            history: row.get(4)?,
            bytes: row.get(5)?,
            line: row.get(6)?,
            is_skipped: row.get(9)?,
            cursor: Cursor {
                at: row.get(7)?,
                intent: intent.0,
                more: row.get(8)?,
            },
        })
    }

    /// Selected deliveries that are in flight, prefetched ones included. The index `claimed` has
    /// nine rows for each worker at most.
    pub fn in_flight(&self, sql: &Connection) -> Result<i64, StoreError> {
        let mut statement = sql.prepare_cached(&format!(
            "SELECT count(*) FROM deliveries d INDEXED BY claimed
                    JOIN intents i ON i.id = d.intent_id
             WHERE d.claim IS NOT NULL
               AND (:destination IS NULL OR d.destination_id = :destination)
               AND (:ids IS NULL OR d.intent_id IN (SELECT value FROM json_each(:ids)))
               AND d.intent_id BETWEEN :first AND :last AND {OF_INTENT} AND {OF_REASON}"
        ))?;
        Ok(statement.query_row(
            named_params! {
                ":ids": self.ids,
                ":destination": self.destination,
                ":source": self.source,
                ":type": self.event_type,
                ":reason": self.reason,
                ":first": IntentRow::first_at(self.since),
                ":last": self.last_intent(),
            },
            |row| row.get(0),
        )?)
    }
}

/// [`BLOCKED`] as SQL has it: behind another delivery in its line.
const BLOCKED_AT: &str = "9223372036854775807";

const _: () = assert!(BLOCKED.as_millis() == i64::MAX);

/// The conditions on an intent `i`; that on its type is as `is_of_type` has it.
const OF_INTENT: &str = "(:source IS NULL OR (i.surface = 1 AND i.label = :source))
     AND (:type IS NULL
          OR iif(substr(:type, -1) = '*',
                 substr(iif(i.surface = 1, i.event_type, i.label), 1, length(:type) - 1)
                     = substr(:type, 1, length(:type) - 1),
                 iif(i.surface = 1, i.event_type, i.label) = :type))";
/// The same if there are none.
const OF_ANY: &str = "(:source IS NULL AND :type IS NULL)";
/// The condition on a delivery's last error.
const OF_REASON: &str = "(:reason IS NULL OR instr(d.last_error, :reason) > 0)";

/// The condition on a delivery's state.
fn states(states: StateSet) -> String {
    let numbers: Vec<String> = DeliveryState::ALL
        .into_iter()
        .filter(|state| states.holds(*state))
        .map(|state| state.number().to_string())
        .collect();
    format!("d.state IN ({})", numbers.join(", "))
}

/// The id of a destination, if anything was ever sent there.
pub fn destination_id(sql: &Connection, name: &str) -> Result<Option<DestinationId>, StoreError> {
    Ok(sql
        .prepare_cached("SELECT id FROM destinations WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?)
}
