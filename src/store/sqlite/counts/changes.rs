//! How a transaction changes the counts.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use crate::model::DeliveryState;
use crate::store::types::{COUNTED_STATES, DestinationId};

/// Deliveries by state, in the order of [`COUNTED_STATES`].
pub(super) type ByState = [i64; COUNTED_STATES.len()];

/// The index of the dead letters, which are counted in total only: any number of destinations for
/// which nothing waits may have some.
pub(super) const DEAD: usize = 3;

fn index(state: DeliveryState) -> Option<usize> {
    COUNTED_STATES.iter().position(|&counted| counted == state)
}

/// By how much the deliveries of each destination change.
#[derive(Debug, Default)]
pub struct CountChanges(pub(super) HashMap<DestinationId, ByState>);

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
            self.0.entry(destination).or_default()[index] += change;
        }
    }

    /// In a command's transaction: leaves the changes for the server.
    pub fn leave(&self, sql: &Connection) -> rusqlite::Result<()> {
        let mut statement = sql.prepare_cached(
            "INSERT INTO count_changes (destination_id, state, change) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET change = change + excluded.change",
        )?;
        for (destination, changes) in &self.0 {
            for (state, change) in COUNTED_STATES.iter().zip(changes) {
                if *change != 0 {
                    statement.execute(params![destination, state, change])?;
                }
            }
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
            if let Some(state) = DeliveryState::from_number(row.get(1)?) {
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
                let counts = counted.0.entry(row.get(0)?).or_default();
                for (place, count) in counts.iter_mut().enumerate() {
                    *count += row.get::<_, i64>(1 + place)?;
                }
            }
        }
        Ok(counted)
    }
}

/// Counts by destination, each in the order of its index: a destination, and its counts in the
/// order of [`COUNTED_STATES`].
pub(super) const COUNT: [&str; 3] = [
    "SELECT destination_id, sum(state = 0), 0, sum(state = 2), 0
     FROM deliveries INDEXED BY due WHERE next_attempt_at IS NOT NULL GROUP BY destination_id",
    "SELECT destination_id, 0, count(*), 0, 0
     FROM deliveries INDEXED BY claimed WHERE claim IS NOT NULL GROUP BY destination_id",
    "SELECT destination_id, 0, 0, 0, count(*)
     FROM deliveries INDEXED BY dead WHERE state = 4 GROUP BY destination_id",
];
