//! The backlog for `/metrics`. It costs as much as there are destinations with waiting deliveries,
//! and a bounded count of those that are kept back.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::counts::{Counts, numbers};
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::reader::Reader;
use crate::store::types::{Backlog, DestinationId, KeepReason, Obstacles};

/// Selects the destinations with waiting deliveries, from one to the next in the index, the facts
/// that may keep these back, and when the first one is due that waits behind no other and is not
/// under way.
pub const SELECT_WAITING: &str = "WITH RECURSIVE waiting(id) AS (
         (SELECT destination_id FROM relay.waiting ORDER BY destination_id LIMIT 1)
         UNION ALL
         SELECT (SELECT w.destination_id FROM relay.waiting w
                 WHERE w.destination_id > waiting.id ORDER BY w.destination_id LIMIT 1)
         FROM waiting WHERE waiting.id IS NOT NULL
     ), claimed AS MATERIALIZED (
         SELECT u.intent_id, u.destination_id, u.history
         FROM relay.claimed u
     )
     SELECT t.id, t.name, t.paused_at IS NOT NULL, t.held_until, t.probe_at,
            (SELECT w.next_attempt_at FROM relay.waiting w
             WHERE w.destination_id = t.id AND w.next_attempt_at < 9223372036854775807
               AND ((w.intent_id, w.destination_id, w.history) IN
                    (SELECT intent_id, destination_id, history FROM claimed)) IS NOT TRUE
             ORDER BY w.next_attempt_at LIMIT 1)
     FROM waiting CROSS JOIN LATERAL
          (SELECT * FROM relay.destinations d WHERE d.id = waiting.id OFFSET 0) AS t";

fn read(
    sql: &mut Connection,
    counts: &Counts,
    now: Timestamp,
    is_deliverable: &impl Fn(&str) -> bool,
) -> Result<Backlog, Failure> {
    let mut oldest_due: Option<Timestamp> = None;
    let mut kept_back: Vec<(DestinationId, KeepReason)> = Vec::new();
    for row in sql.rows(SELECT_WAITING, &[])? {
        let obstacles = Obstacles {
            is_paused: row.try_get(2)?,
            held_until: row.try_get(3)?,
            probe_at: row.try_get(4)?,
        };
        if let Some(reason) = obstacles.reason(is_deliverable(row.try_get(1)?), now) {
            kept_back.push((row.try_get(0)?, reason));
        } else {
            let first_due: Option<Timestamp> = row.try_get(5)?;
            oldest_due = oldest_due.into_iter().chain(first_due).min();
        }
    }
    let ids: Vec<DestinationId> = kept_back.iter().map(|(id, _)| *id).collect();
    let numbers = numbers(sql, counts, &ids)?;
    let mut kept = KeepReason::NAMES.map(|name| (name, 0));
    for (id, reason) in kept_back {
        kept[reason.index()].1 += numbers.get(&id).map_or(0, |numbers| numbers.waiting);
    }
    Ok(Backlog {
        oldest_due,
        kept: Some(kept),
    })
}

impl Postgres {
    /// The waiting deliveries. `is_deliverable` tells whether a destination of this name can be
    /// delivered to.
    pub async fn backlog(
        &self,
        is_deliverable: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<Backlog, StoreError> {
        let shared = Arc::clone(self.shared());
        self.read_async(move |sql| read(sql, &shared.counts, shared.clock.now(), &is_deliverable))
            .await
    }

    /// The waiting deliveries, read on a reader of the caller's. Blocks.
    pub fn backlog_on(
        &self,
        reader: &Reader,
        is_deliverable: impl Fn(&str) -> bool,
    ) -> Result<Backlog, StoreError> {
        let shared = self.shared();
        reader.read(|sql| read(sql, &shared.counts, shared.clock.now(), &is_deliverable))
    }
}
