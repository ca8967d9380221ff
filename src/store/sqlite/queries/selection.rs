//! The statements that find the deliveries, or the events, that a bulk operation selects.

use rusqlite::{CachedStatement, Connection, Row, Rows, named_params};

use crate::model::DeliveryState;
use crate::store::bulk::{
    Access, CountBudget, Cursor, LOOKS, Page, Selected, Selection, SelectionCount,
};
use crate::store::error::StoreError;
use crate::store::limits::MAX_HISTORY;
use crate::store::sqlite::columns::is_of_type;
use crate::store::sqlite::ops::payload::GONE;
use crate::store::types::{BulkAction, IntentRow, StateSet};

impl Selection {
    /// The columns, the rows and the order of a page, after the cursor.
    fn select(&self) -> String {
        let is_joined = self.source.is_some() || self.event_type.is_some() || self.reads_bytes();
        let (join, bytes) = if is_joined {
            (
                "JOIN intents i ON i.id = d.intent_id",
                "length(i.headers) + length(i.body)",
            )
        } else {
            ("", "0")
        };
        let of_intent = if is_joined {
            of_intent()
        } else {
            OF_ANY.to_owned()
        };
        let states = states(self.states);
        let delivery = format!(
            "d.intent_id, d.destination_id, d.state, d.updated_at,
             max(0, min(d.history, :entries)), {bytes},
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
                "SELECT {delivery} d.next_attempt_at, d.state, ({skipped}) IS TRUE,
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
                "SELECT {delivery} 0, d.destination_id, ({skipped}) IS TRUE,
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
                    ({skipped}) IS TRUE,
                    ({of_intent} AND {of_delivery} AND {surface}) IS TRUE
             FROM {intents}
             WHERE i.id > :intent AND i.id <= :last
               AND :first <= :last AND :since <= :until AND :at = 0 AND :more IS NOT NULL
               AND :entries IS NOT NULL AND :begun IS NOT NULL AND {of_ids}
             ORDER BY i.id LIMIT :looks",
            intents = self.from("intents i", "i.id"),
            of_ids = self.of_ids(),
            of_intent = of_intent(),
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
        if !self.is_of_deliveries() {
            return "(:destination IS NULL AND :reason IS NULL)".to_owned();
        }
        format!(
            "EXISTS (SELECT 1 FROM deliveries d WHERE d.intent_id = i.id
                     AND (:destination IS NULL OR d.destination_id = :destination)
                     AND d.discarded_at IS NULL AND {} AND {OF_REASON})",
            states(self.states)
        )
    }

    /// The next page.
    pub fn page_of(
        &self,
        sql: &Connection,
        after: Cursor,
        wanted: usize,
    ) -> Result<Page, StoreError> {
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
    fn query<'a>(
        &self,
        statement: &'a mut CachedStatement<'_>,
        after: Cursor,
        looks: i64,
    ) -> rusqlite::Result<Rows<'a>> {
        statement.query(named_params! {
            ":ids": ids_as_json(self),
            ":destination": self.destination,
            ":target": self.target,
            ":source": self.source,
            ":type": self.event_type,
            ":reason": self.reason,
            ":since": self.since,
            ":until": self.last_time(),
            ":first": self.first_intent(),
            ":last": self.last_intent(),
            ":begun": self.begun_at,
            ":at": after.at,
            ":intent": after.intent,
            ":more": after.more,
            ":entries": MAX_HISTORY,
            ":looks": looks,
        })
    }

    /// How many there are to act on, and how many to skip, as far as the budget goes.
    pub fn count_of(
        &self,
        sql: &Connection,
        budget: &mut CountBudget,
    ) -> Result<SelectionCount, StoreError> {
        let mut count = SelectionCount {
            is_exact: !budget.is_spent(),
            ..SelectionCount::default()
        };
        if budget.is_spent() {
            return Ok(count);
        }
        let mut statement = sql.prepare_cached(&self.select())?;
        let mut rows = self.query(&mut statement, self.start(), -1)?;
        while let Some(row) = rows.next()? {
            // One row more tells whether there are any.
            if budget.is_spent() {
                count.is_exact = false;
                break;
            }
            let (is_skipped, is_matching): (bool, bool) = (row.get(9)?, row.get(10)?);
            budget.looks -= 1;
            budget.matches -= i64::from(is_matching);
            count.found += i64::from(is_matching && !is_skipped);
            count.skipped += i64::from(is_matching && is_skipped);
        }
        Ok(count)
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

    /// Selected deliveries that are in flight. The index `claimed` has nine rows for each worker at
    /// most.
    pub fn in_flight_of(&self, sql: &Connection) -> Result<i64, StoreError> {
        let mut statement = sql.prepare_cached(&format!(
            "SELECT count(*) FROM deliveries d INDEXED BY claimed
                    JOIN intents i ON i.id = d.intent_id
             WHERE d.claim IS NOT NULL
               AND (:destination IS NULL OR d.destination_id = :destination)
               AND (:ids IS NULL OR d.intent_id IN (SELECT value FROM json_each(:ids)))
               AND d.intent_id BETWEEN :first AND :last AND {of_intent} AND {OF_REASON}",
            of_intent = of_intent(),
        ))?;
        Ok(statement.query_row(
            named_params! {
                ":ids": ids_as_json(self),
                ":destination": self.destination,
                ":source": self.source,
                ":type": self.event_type,
                ":reason": self.reason,
                ":first": self.first_intent(),
                ":last": self.last_intent(),
            },
            |row| row.get(0),
        )?)
    }
}

/// `BLOCKED` as SQL has it: behind another delivery in its line.
const BLOCKED_AT: &str = "9223372036854775807";

/// The conditions on an intent `i`.
fn of_intent() -> String {
    let of_type = is_of_type("iif(i.surface = 1, i.event_type, i.label)", ":type");
    format!("(:source IS NULL OR (i.surface = 1 AND i.label = :source)) AND {of_type}")
}

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

/// The rows of the only intents that are meant, as a JSON array; none if all are.
fn ids_as_json(selection: &Selection) -> Option<String> {
    let ids = selection.ids.as_ref()?;
    let rows: Vec<String> = ids.iter().map(|row| row.0.to_string()).collect();
    Some(format!("[{}]", rows.join(",")))
}
