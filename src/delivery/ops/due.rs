use std::time::Duration;

use rusqlite::{Connection, params};

use crate::clock::Timestamp;
use crate::store::StoreError;

/// A destination with deliveries that wait.
#[derive(Debug)]
pub(in super::super) struct Due {
    pub destination: i64,
    pub name: String,
    /// When the first of them is due.
    pub next_attempt_at: Timestamp,
    /// How many are due already, counted no further than asked.
    pub ready: usize,
    pub is_paused: bool,
    pub held_until: Option<Timestamp>,
    /// When its breaker, which is open, lets a probe go, and after what wait.
    pub probe: Option<(Timestamp, Duration)>,
}

impl Due {
    /// All destinations for which something waits at `now`, and how much of it, counted up to
    /// `at_most`. Steps from one to the next in the index, and so costs as much as there are such
    /// destinations, however many rows wait.
    pub fn read(sql: &Connection, now: Timestamp, at_most: usize) -> Result<Vec<Self>, StoreError> {
        let mut statement = sql.prepare_cached(
            "WITH RECURSIVE waiting(id) AS (
                 SELECT min(destination_id) FROM deliveries WHERE next_attempt_at IS NOT NULL
                 UNION ALL
                 SELECT (SELECT min(destination_id) FROM deliveries
                         WHERE next_attempt_at IS NOT NULL AND destination_id > waiting.id)
                 FROM waiting WHERE waiting.id IS NOT NULL
             )
             SELECT t.id, t.name, t.paused_at IS NOT NULL, t.held_until,
                    t.probe_at, t.probe_wait,
                    (SELECT min(d.next_attempt_at) FROM deliveries d
                     WHERE d.destination_id = t.id AND d.next_attempt_at IS NOT NULL),
                    (SELECT count(*) FROM (SELECT 1 FROM deliveries d
                     WHERE d.destination_id = t.id AND d.next_attempt_at <= ?1 LIMIT ?2))
             FROM waiting CROSS JOIN destinations t ON t.id = waiting.id",
        )?;
        let at_most = i64::try_from(at_most).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![now.as_millis(), at_most], |row| {
            let ready: i64 = row.get(7)?;
            let probe_at = row.get::<_, Option<i64>>(4)?.map(Timestamp::from_millis);
            let wait = row.get::<_, Option<i64>>(5)?;
            let wait = wait.map(|wait| Duration::from_millis(wait.unsigned_abs()));
            Ok(Self {
                destination: row.get(0)?,
                name: row.get(1)?,
                is_paused: row.get(2)?,
                held_until: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_millis),
                next_attempt_at: Timestamp::from_millis(row.get(6)?),
                probe: probe_at.zip(wait),
                ready: usize::try_from(ready).unwrap_or(0),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
