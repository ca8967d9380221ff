use rusqlite::Connection;

use crate::clock::Timestamp;
use crate::store::StoreError;

/// A destination with deliveries that wait.
#[derive(Debug)]
pub(in super::super) struct Due {
    pub destination: i64,
    pub name: String,
    /// When the first of them is due.
    pub next_attempt_at: Timestamp,
    pub is_paused: bool,
    pub held_until: Option<Timestamp>,
}

impl Due {
    /// All destinations for which something waits. Steps from one to the next in the index, and so
    /// costs as much as there are such destinations, however many rows wait.
    pub fn read(sql: &Connection) -> Result<Vec<Self>, StoreError> {
        let mut statement = sql.prepare_cached(
            "WITH RECURSIVE waiting(id) AS (
                 SELECT min(destination_id) FROM deliveries WHERE next_attempt_at IS NOT NULL
                 UNION ALL
                 SELECT (SELECT min(destination_id) FROM deliveries
                         WHERE next_attempt_at IS NOT NULL AND destination_id > waiting.id)
                 FROM waiting WHERE waiting.id IS NOT NULL
             )
             SELECT t.id, t.name, t.paused_at IS NOT NULL, t.held_until,
                    (SELECT min(d.next_attempt_at) FROM deliveries d
                     WHERE d.destination_id = t.id AND d.next_attempt_at IS NOT NULL)
             FROM waiting CROSS JOIN destinations t ON t.id = waiting.id",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(Self {
                destination: row.get(0)?,
                name: row.get(1)?,
                is_paused: row.get(2)?,
                held_until: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_millis),
                next_attempt_at: Timestamp::from_millis(row.get(4)?),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
