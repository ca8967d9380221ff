//! The deliveries of each destination in numbers: `relay stats`.

use tokio_postgres::Row;

use crate::store::error::StoreError;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::operator::Operator;
use crate::store::postgres::values::{maybe_text, number};
use crate::store::types::DestinationStats;

/// The claimed deliveries are few, and are counted once for all destinations.
pub const SELECT_STATS: &str = "WITH claimed AS MATERIALIZED (
         SELECT u.intent_id, u.destination_id
         FROM (SELECT * FROM relay.claimed OFFSET 0) u CROSS JOIN LATERAL
              (SELECT 1 FROM relay.waiting w
               WHERE w.intent_id = u.intent_id AND w.destination_id = u.destination_id
                 AND w.history = u.history OFFSET 0) w
     ), numbers AS (
         SELECT id, sum(waiting)::int8 AS waiting, sum(claimed)::int8 AS claimed
         FROM (SELECT t.id, (SELECT count(*) FROM relay.waiting w
                             WHERE w.destination_id = t.id) AS waiting, 0 AS claimed
               FROM relay.destinations t
               UNION ALL
               SELECT destination_id, 0, count(*) FROM claimed GROUP BY destination_id) x
         GROUP BY id
     )
     SELECT t.name, n.waiting - n.claimed, n.claimed,
            (SELECT count(*) FROM relay.ended e
             WHERE e.destination_id = t.id AND e.state = 4 AND e.discarded_at IS NULL),
            (SELECT count(*) FROM relay.ended e
             WHERE e.destination_id = t.id AND e.discarded_at IS NOT NULL),
            (SELECT w.next_attempt_at FROM relay.waiting w
             WHERE w.destination_id = t.id AND w.next_attempt_at < 9223372036854775807
               AND ((w.intent_id, w.destination_id) IN
                    (SELECT intent_id, destination_id FROM claimed)) IS NOT TRUE
             ORDER BY w.next_attempt_at LIMIT 1),
            t.pause_reason, t.held_until, t.probe_at
     FROM numbers n CROSS JOIN LATERAL
          (SELECT * FROM relay.destinations d WHERE d.id = n.id OFFSET 0) t
     ORDER BY t.name COLLATE \"C\"";

fn stats(row: &Row) -> Result<DestinationStats, Failure> {
    Ok(DestinationStats {
        destination: row.try_get(0)?,
        waiting: number(row, 1)?,
        processing: number(row, 2)?,
        dead_lettered: number(row, 3)?,
        discarded: number(row, 4)?,
        oldest_due: row.try_get(5)?,
        paused: maybe_text(row, 6)?,
        held_until: row.try_get(7)?,
        probe_at: row.try_get(8)?,
    })
}

impl Operator {
    /// All destinations that anything was ever sent to, by name. Waiting deliveries and dead
    /// letters are counted one by one, in the partial indexes; delivered ones are not counted,
    /// since that would read them all.
    pub fn stats(&self) -> Result<Vec<DestinationStats>, StoreError> {
        self.read(|sql| {
            let rows = sql.rows(SELECT_STATS, &[])?;
            rows.iter().map(stats).collect()
        })
    }
}
