//! The backlog for `/metrics`. It costs as much as there are destinations with waiting deliveries,
//! however many deliveries wait.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::Connection;

use crate::clock::Timestamp;
use crate::model::DeliveryState;
use crate::store::error::StoreError;
use crate::store::sqlite::columns::{BLOCKED, text};
use crate::store::sqlite::counts::Counts;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::readers::Reader;
use crate::store::sqlite::shared::Shared;
use crate::store::types::{Backlog, COUNTED_STATES, KeepReason, Obstacles};

/// Selects the destinations with waiting deliveries, from one to the next in the index, the facts
/// that may keep these back, and when the first one is due that waits behind no other (?1).
const SELECT_WAITING: &str = "WITH RECURSIVE waiting(id) AS (
         SELECT min(destination_id) FROM deliveries WHERE next_attempt_at IS NOT NULL
         UNION ALL
         SELECT (SELECT min(destination_id) FROM deliveries
                 WHERE next_attempt_at IS NOT NULL AND destination_id > waiting.id)
         FROM waiting WHERE waiting.id IS NOT NULL
     )
     SELECT t.id, t.name, t.paused_at IS NOT NULL, t.held_until, t.probe_at,
            (SELECT min(d.next_attempt_at) FROM deliveries d
             WHERE d.destination_id = t.id AND d.next_attempt_at < ?1)
     FROM waiting CROSS JOIN destinations t ON t.id = waiting.id";

/// While everything is held, nothing should be going out.
fn read(
    sql: &Connection,
    counts: &Counts,
    is_held: bool,
    now: Timestamp,
    is_deliverable: impl Fn(&str) -> bool,
) -> Result<Backlog, StoreError> {
    let mut statement = sql.prepare_cached(SELECT_WAITING)?;
    let mut rows = statement.query([BLOCKED])?;
    let mut oldest_due: Option<Timestamp> = None;
    let mut kept = KeepReason::NAMES.map(|name| (name, 0));
    let mut is_counted = counts.is_complete();
    while let Some(row) = rows.next()? {
        let obstacles = Obstacles {
            is_paused: row.get(2)?,
            held_until: row.get(3)?,
            probe_at: row.get(4)?,
        };
        let name = text(row, 1)?;
        if let Some(reason) = obstacles.reason(is_deliverable(&name), now) {
            let waiting = counts.waiting(row.get(0)?);
            kept[reason.index()].1 += waiting.unwrap_or(0);
            is_counted &= waiting.is_some();
        } else {
            let first_due: Option<Timestamp> = row.get(5)?;
            oldest_due = oldest_due.into_iter().chain(first_due).min();
        }
    }
    Ok(Backlog {
        oldest_due: oldest_due.filter(|_| !is_held),
        kept: is_counted.then_some(kept),
    })
}

fn read_of(
    sql: &Connection,
    shared: &Shared,
    is_deliverable: impl Fn(&str) -> bool,
) -> Result<Backlog, StoreError> {
    let is_held = shared.is_held.load(Ordering::Relaxed);
    read(
        sql,
        &shared.counts,
        is_held,
        shared.clock.now(),
        is_deliverable,
    )
}

impl Sqlite {
    /// Deliveries by state; none until they are counted, soon after a start. Asks no reader.
    pub fn deliveries(&self) -> Option<[(DeliveryState, i64); COUNTED_STATES.len()]> {
        self.shared().counts.totals()
    }

    /// Nothing: each change is counted as it is made.
    #[allow(
        clippy::unused_async,
        clippy::unused_self,
        reason = "the other engine counts again"
    )]
    pub async fn recount_if_due(&self) {}

    /// The waiting deliveries. `is_deliverable` tells whether a destination of this name can be
    /// delivered to.
    pub async fn backlog(
        &self,
        is_deliverable: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<Backlog, StoreError> {
        let shared = Arc::clone(self.shared());
        self.read(move |sql| read_of(sql, &shared, is_deliverable))
            .await
    }

    /// The same, on a reader of the caller's. Blocks.
    pub fn backlog_on(
        &self,
        reader: &Reader,
        is_deliverable: impl Fn(&str) -> bool,
    ) -> Result<Backlog, StoreError> {
        let shared = self.shared();
        reader.read(|sql| read_of(sql, shared, is_deliverable))
    }
}

#[cfg(test)]
mod tests;
