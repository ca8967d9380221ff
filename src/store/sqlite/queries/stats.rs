//! The deliveries of each destination in numbers: `relay stats`.

use rusqlite::Connection;

use crate::store::error::StoreError;
use crate::store::sqlite::columns::{BLOCKED, maybe_text, text};
use crate::store::sqlite::operator::Operator;
use crate::store::types::DestinationStats;

/// The claimed deliveries are few, and are counted once for all destinations.
pub const SELECT_STATS: &str = "WITH claims AS MATERIALIZED (
         SELECT d.destination_id, count(*) AS number FROM deliveries d INDEXED BY claimed
         WHERE d.claim IS NOT NULL GROUP BY d.destination_id
     )
     SELECT t.name,
            (SELECT count(*) FROM deliveries d
             WHERE d.destination_id = t.id AND d.next_attempt_at IS NOT NULL),
            coalesce(c.number, 0),
            (SELECT count(*) FROM deliveries d
             WHERE d.destination_id = t.id AND d.state = 4 AND d.discarded_at IS NULL),
            (SELECT count(*) FROM deliveries d
             WHERE d.destination_id = t.id AND d.discarded_at IS NOT NULL),
            (SELECT min(d.next_attempt_at) FROM deliveries d
             WHERE d.destination_id = t.id AND d.next_attempt_at < ?1),
            t.pause_reason, t.held_until, t.probe_at
     FROM destinations t LEFT JOIN claims c ON c.destination_id = t.id ORDER BY t.name";

fn read(sql: &Connection) -> Result<Vec<DestinationStats>, StoreError> {
    let mut statement = sql.prepare(SELECT_STATS)?;
    let rows = statement.query_map([BLOCKED], |row| {
        Ok(DestinationStats {
            destination: text(row, 0)?,
            waiting: row.get(1)?,
            processing: row.get(2)?,
            dead_lettered: row.get(3)?,
            discarded: row.get(4)?,
            oldest_due: row.get(5)?,
            paused: maybe_text(row, 6)?,
            held_until: row.get(7)?,
            probe_at: row.get(8)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

impl Operator {
    /// All destinations that anything was ever sent to, by name. Waiting deliveries and dead
    /// letters are counted one by one, in the partial indexes; delivered ones are not counted,
    /// since that would read them all.
    pub fn stats(&self) -> Result<Vec<DestinationStats>, StoreError> {
        self.read(read)
    }
}
