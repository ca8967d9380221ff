//! How a transaction changes the counts.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use crate::model::DeliveryState;
use crate::store::types::{COUNTED_STATES, DestinationId};

/// Deliveries by state, in the order of [`COUNTED_STATES`].
pub(super) type ByState = [i64; COUNTED_STATES.len()];

/// The index of the dead letters. Any number of destinations for which nothing waits may have some,
/// so that they are kept apart.
pub(super) const DEAD: usize = 3;

/// The index of a state that is counted.
pub(super) fn index(state: DeliveryState) -> Option<usize> {
    COUNTED_STATES.iter().position(|&counted| counted == state)
}

/// By how much the deliveries of each destination change.
#[derive(Debug, Default)]
pub struct CountChanges {
    pub(super) by_state: HashMap<DestinationId, ByState>,
    /// Dead letters that block the deliveries behind them.
    pub(super) blocking: HashMap<DestinationId, i64>,
}

/// In `count_changes.state`: no state, but the dead letters that block.
const BLOCKING: i64 = 5;

impl CountChanges {
    /// A delivery changes its state; none: it is created or deleted.
    pub fn moved(
        &mut self,
        destination: DestinationId,
        from: Option<DeliveryState>,
        to: Option<DeliveryState>,
    ) {
        for (state, change) in [(from, -1), (to, 1)] {
            if let Some(state) = state {
                self.add(destination, state, change);
            }
        }
    }

    fn add(&mut self, destination: DestinationId, state: DeliveryState, change: i64) {
        if let Some(index) = index(state) {
            self.by_state.entry(destination).or_default()[index] += change;
        }
    }

    /// Changes the number of a destination's dead letters that block the deliveries behind them.
    pub fn blocking(&mut self, destination: DestinationId, change: i64) {
        *self.blocking.entry(destination).or_default() += change;
    }

    /// Whether nothing changes.
    pub(super) fn is_empty(&self) -> bool {
        self.by_state.is_empty() && self.blocking.is_empty()
    }

    /// In a command's transaction: leaves the changes for the server.
    pub fn leave(&self, sql: &Connection) -> rusqlite::Result<()> {
        let mut statement = sql.prepare_cached(
            "INSERT INTO count_changes (destination_id, state, change) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET change = change + excluded.change",
        )?;
        for (destination, changes) in &self.by_state {
            for (state, change) in COUNTED_STATES.iter().zip(changes) {
                if *change != 0 {
                    statement.execute(params![destination, state, change])?;
                }
            }
        }
        for (destination, change) in &self.blocking {
            statement.execute(params![destination, BLOCKING, change])?;
        }
        Ok(())
    }

    /// In the server's transaction: takes the changes that commands have left.
    pub fn take(&mut self, sql: &Connection) -> rusqlite::Result<()> {
        let mut statement =
            sql.prepare_cached("SELECT destination_id, state, change FROM count_changes")?;
        let mut rows = statement.query([])?;
        let mut is_empty = true;
        while let Some(row) = rows.next()? {
            is_empty = false;
            let state: i64 = row.get(1)?;
            if state == BLOCKING {
                self.blocking(row.get(0)?, row.get(2)?);
            } else if let Some(state) = DeliveryState::from_number(state) {
                self.add(row.get(0)?, state, row.get(2)?);
            }
        }
        if !is_empty {
            sql.execute("DELETE FROM count_changes", [])?;
        }
        Ok(())
    }

    /// Counts all stored deliveries, in the partial indexes.
    pub(super) fn of_all(sql: &Connection) -> rusqlite::Result<Self> {
        let mut counted = Self::default();
        for select in COUNT {
            let mut statement = sql.prepare(select)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let counts = counted.by_state.entry(row.get(0)?).or_default();
                for (place, count) in counts.iter_mut().enumerate() {
                    *count += row.get::<_, i64>(1 + place)?;
                }
            }
        }
        let mut statement = sql.prepare(COUNT_BLOCKING)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            counted.blocking(row.get(0)?, row.get(1)?);
        }
        Ok(counted)
    }
}

/// Counts the dead letters that block, by destination. Reads all dead letters of the destinations
/// that have a line, and nothing if none has one.
pub(super) const COUNT_BLOCKING: &str = "WITH RECURSIVE lines(id) AS (
         SELECT min(destination_id) FROM deliveries INDEXED BY line WHERE place IS NOT NULL
         UNION ALL
         SELECT (SELECT min(destination_id) FROM deliveries INDEXED BY line
                 WHERE place IS NOT NULL AND destination_id > lines.id)
         FROM lines WHERE lines.id IS NOT NULL
     )
     SELECT d.destination_id, count(*)
     FROM lines CROSS JOIN deliveries d INDEXED BY dead ON d.destination_id = lines.id
     WHERE d.state = 4 AND d.discarded_at IS NULL AND d.place IS NOT NULL GROUP BY d.destination_id";

/// Counts by destination, each in the order of its index: a destination, and its counts in the
/// order of [`COUNTED_STATES`].
pub(super) const COUNT: [&str; 3] = [
    "SELECT destination_id, sum(state = 0), 0, sum(state = 2), 0
     FROM deliveries INDEXED BY due WHERE next_attempt_at IS NOT NULL GROUP BY destination_id",
    "SELECT destination_id, 0, count(*), 0, 0
     FROM deliveries INDEXED BY claimed WHERE claim IS NOT NULL GROUP BY destination_id",
    "SELECT destination_id, 0, 0, 0, count(*)
     FROM deliveries INDEXED BY dead WHERE state = 4 AND discarded_at IS NULL
     GROUP BY destination_id",
];
