use rusqlite::{Connection, OptionalExtension as _};

use super::StoreError;
use crate::clock::Timestamp;
use crate::model::DeliveryState;

/// How much waits, for the gauges. Delivered rows are not counted: that would read them all.
pub(crate) struct Backlog {
    /// How many are in each state but delivered.
    pub counts: Vec<(DeliveryState, i64)>,
    /// When the longest-waiting due delivery was due.
    pub oldest_due: Option<Timestamp>,
}

impl Backlog {
    /// Counts, from the partial indexes alone.
    pub fn read(sql: &Connection) -> Result<Self, StoreError> {
        let sql = &*sql.unchecked_transaction()?;
        let mut counts = vec![
            (DeliveryState::Queued, 0),
            (DeliveryState::Processing, 0),
            (DeliveryState::Retrying, 0),
            (DeliveryState::DeadLettered, 0),
        ];
        let mut statement = sql.prepare_cached(
            "SELECT state, count(*) FROM deliveries WHERE next_attempt_at IS NOT NULL GROUP BY state
             UNION ALL SELECT 1, count(*) FROM deliveries WHERE claim IS NOT NULL
             UNION ALL SELECT 4, count(*) FROM deliveries WHERE state = 4",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (number, count): (i64, i64) = (row.get(0)?, row.get(1)?);
            for (state, total) in &mut counts {
                if state.number() == number {
                    *total = count;
                }
            }
        }
        let oldest_due = sql
            .prepare_cached(
                "SELECT min(next_attempt_at) FROM deliveries WHERE next_attempt_at IS NOT NULL",
            )?
            .query_row([], |row| row.get::<_, Option<i64>>(0))
            .optional()?
            .flatten()
            .map(Timestamp::from_millis);
        Ok(Self { counts, oldest_due })
    }
}
