//! Destinations as operators see them: those that are configured, and those with work or an
//! obstacle.

use std::cmp::Reverse;
use std::collections::HashSet;

use rusqlite::{Connection, Row, params};

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::sqlite::columns::{maybe_text, text, waits_until};
use crate::store::sqlite::counts::Counts;
use crate::store::sqlite::handle::Sqlite;
use crate::store::types::{
    DestinationId, DestinationOverview, DestinationsPage, DestinationsQuery, Obstacles, Pause,
};

/// Selects the destinations with waiting deliveries or an obstacle, and those of the names in ?1.
/// ?2 is the only name that is wanted, or null.
const SELECT: &str = "SELECT t.id, t.name, t.paused_at, t.pause_reason, t.held_until, t.probe_at,
        (SELECT min(d.next_attempt_at) FROM deliveries d
         WHERE d.destination_id = t.id AND d.next_attempt_at IS NOT NULL)
     FROM destinations t
     WHERE (?2 IS NULL OR t.name = ?2)
       AND (t.name IN (SELECT value FROM json_each(?1))
            OR t.paused_at IS NOT NULL OR t.held_until IS NOT NULL OR t.probe_at IS NOT NULL
            OR EXISTS (SELECT 1 FROM deliveries d
                       WHERE d.destination_id = t.id AND d.next_attempt_at IS NOT NULL)
            OR ?2 IS NOT NULL)";

/// A destination, and its id once anything was sent to it.
type Found = (Option<DestinationId>, DestinationOverview);

fn page(
    sql: &Connection,
    counts: &Counts,
    query: &DestinationsQuery,
    now: Timestamp,
) -> Result<DestinationsPage, StoreError> {
    // One snapshot, so that the counts of dead letters belong to the rows.
    let sql = &*sql.unchecked_transaction()?;
    let mut all = stored(sql, query)?;
    let known: HashSet<String> = all.iter().map(|(_, one)| one.name.clone()).collect();
    let is_wanted = |name: &&String| query.name.as_ref().is_none_or(|wanted| wanted == *name);
    let never_used = query.configured.iter().filter(is_wanted);
    let never_used = never_used.filter(|name| !known.contains(*name));
    all.extend(never_used.map(|name| (None, DestinationOverview::never_used(name))));
    // Destinations with an obstacle come first: they want an operator.
    let configured: HashSet<&String> = query.configured.iter().collect();
    all.sort_by_cached_key(|(_, one)| {
        let obstacles = Obstacles {
            is_paused: one.paused.is_some(),
            held_until: one.held_until,
            probe_at: one.probe_at,
        };
        // Deliveries to a configured destination may go, and those to an ad hoc origin, which is
        // a URL.
        let is_deliverable = configured.contains(&one.name) || one.name.contains("://");
        let is_kept_back = obstacles.reason(is_deliverable, now).is_some();
        (Reverse(is_kept_back), one.name.clone())
    });
    let total = all.len();
    let shown = all.into_iter().skip(query.offset).take(query.limit);
    // Until they are counted, soon after a start.
    let mut dead = sql.prepare_cached(
        "SELECT count(*) FROM (SELECT 1 FROM deliveries
         WHERE destination_id = ?1 AND state = 4 AND discarded_at IS NULL LIMIT ?2)",
    )?;
    let found = shown.map(|(id, mut one)| {
        if let Some(id) = id {
            let limit = DestinationOverview::MAX_COUNT + 1;
            one.dead_lettered = match counts.dead_lettered(id) {
                Some(count) => count.min(limit),
                None => dead.query_row(params![id, limit], |row| row.get(0))?,
            };
            one.waiting = counts.waiting(id);
            one.processing = counts.processing(id);
        }
        Ok(one)
    });
    Ok(DestinationsPage {
        found: found.collect::<rusqlite::Result<_>>()?,
        total,
    })
}

fn stored(sql: &Connection, query: &DestinationsQuery) -> Result<Vec<Found>, StoreError> {
    let configured = serde_json::Value::from(query.configured.as_slice()).to_string();
    let mut statement = sql.prepare_cached(SELECT)?;
    let rows = statement.query_map(params![configured, query.name], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Found> {
    let paused_at: Option<_> = row.get(2)?;
    let reason = maybe_text(row, 3)?;
    let overview = DestinationOverview {
        name: text(row, 1)?,
        paused: paused_at.map(|at| Pause {
            at,
            reason: reason.unwrap_or_default(),
        }),
        held_until: row.get(4)?,
        probe_at: row.get(5)?,
        oldest_due: waits_until(row, 6)?,
        waiting: None,
        processing: None,
        dead_lettered: 0,
    };
    Ok((row.get(0)?, overview))
}

impl Sqlite {
    /// A page of the destinations that are configured, and of those with waiting deliveries or an
    /// obstacle.
    pub async fn destinations_page(
        &self,
        query: DestinationsQuery,
    ) -> Result<DestinationsPage, StoreError> {
        let shared = std::sync::Arc::clone(self.shared());
        let now = shared.clock.now();
        self.read(move |sql| page(sql, &shared.counts, &query, now))
            .await
    }
}
