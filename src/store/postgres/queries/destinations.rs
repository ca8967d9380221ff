//! Destinations as operators see them: those that are configured, and those with work or an
//! obstacle.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;

use tokio_postgres::Row;

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::postgres::columns::waits_until;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::counts::{Counts, numbers};
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::operator::Operator;
use crate::store::postgres::reader::Reader;
use crate::store::postgres::text::Wanted;
use crate::store::postgres::values::maybe_text;
use crate::store::types::{
    DestinationId, DestinationOverview, DestinationsPage, DestinationsQuery, Obstacles, Pause,
};

/// A destination without deliveries that wait, or whose deliveries are all under way, has none due.
macro_rules! select {
    ($where:literal) => {
        concat!(
            "WITH claimed AS MATERIALIZED (
                 SELECT u.intent_id, u.destination_id, u.history
                 FROM relay.claimed u
             )
             SELECT t.id, t.name, t.paused_at, t.pause_reason, t.held_until, t.probe_at, f.due
             FROM relay.destinations t LEFT JOIN LATERAL (
                      SELECT w.next_attempt_at AS due FROM relay.waiting w
                      WHERE w.destination_id = t.id
                        AND ((w.intent_id, w.destination_id, w.history)
                             IN (SELECT intent_id, destination_id, history FROM claimed))
                            IS NOT TRUE
                      ORDER BY w.next_attempt_at LIMIT 1) f ON true
             WHERE ",
            $where
        )
    };
}

/// Selects the destinations with waiting deliveries or an obstacle, and those of the names in $1.
pub const SELECT: &str = select!(
    "t.name = ANY($1) OR t.paused_at IS NOT NULL OR t.held_until IS NOT NULL
     OR t.probe_at IS NOT NULL OR f.due IS NOT NULL"
);
/// Selects one by its name.
pub const SELECT_ONE: &str = select!("t.name = $1");

/// A destination, and its id once anything was sent to it.
type Found = (Option<DestinationId>, DestinationOverview);

fn page(
    sql: &mut Connection,
    counts: &Counts,
    query: &DestinationsQuery,
    now: Timestamp,
) -> Result<DestinationsPage, Failure> {
    let rows = match &query.name {
        Some(name) => sql.rows(SELECT_ONE, &[&Wanted::from(name)])?,
        None => sql.rows(SELECT, &[&query.configured])?,
    };
    let mut all = rows.iter().map(read).collect::<Result<Vec<Found>, _>>()?;
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
    let mut shown: Vec<Found> = shown.collect();
    let ids: Vec<DestinationId> = shown.iter().filter_map(|(id, _)| *id).collect();
    let numbers = numbers(sql, counts, &ids)?;
    for (id, one) in &mut shown {
        if let Some(numbers) = id.and_then(|id| numbers.get(&id)) {
            one.waiting = Some(numbers.waiting);
            one.processing = Some(numbers.processing);
            one.dead_lettered = numbers.dead.min(DestinationOverview::MAX_COUNT + 1);
        }
    }
    Ok(DestinationsPage {
        found: shown.into_iter().map(|(_, one)| one).collect(),
        total,
    })
}

fn read(row: &Row) -> Result<Found, Failure> {
    let paused_at: Option<Timestamp> = row.try_get(2)?;
    let reason = maybe_text(row, 3)?;
    let overview = DestinationOverview {
        name: row.try_get(1)?,
        paused: paused_at.map(|at| Pause {
            at,
            reason: reason.unwrap_or_default(),
        }),
        held_until: row.try_get(4)?,
        probe_at: row.try_get(5)?,
        oldest_due: waits_until(row, 6)?,
        waiting: None,
        processing: None,
        dead_lettered: 0,
    };
    Ok((row.try_get(0)?, overview))
}

/// The id of a destination, if anything was ever sent there.
pub fn destination_id(sql: &mut Connection, name: &str) -> Result<Option<DestinationId>, Failure> {
    let found = sql.first(
        "SELECT id FROM relay.destinations WHERE name = $1",
        &[&Wanted(name)],
    )?;
    Ok(found.map(|row| row.try_get(0)).transpose()?)
}

/// The name of a destination.
pub fn destination_name(
    sql: &mut Connection,
    id: DestinationId,
) -> Result<Option<String>, Failure> {
    let found = sql.first("SELECT name FROM relay.destinations WHERE id = $1", &[&id])?;
    Ok(found.map(|row| row.try_get(0)).transpose()?)
}

impl Postgres {
    /// A page of the destinations that are configured, and of those with waiting deliveries or an
    /// obstacle.
    pub async fn destinations_page(
        &self,
        query: DestinationsQuery,
    ) -> Result<DestinationsPage, StoreError> {
        let shared = Arc::clone(self.shared());
        self.read_async(move |sql| page(sql, &shared.counts, &query, shared.clock.now()))
            .await
    }

    /// Whether anything was ever sent to a destination of this name.
    pub async fn is_destination(&self, name: String) -> Result<bool, StoreError> {
        self.read_async(move |sql| Ok(destination_id(sql, &name)?.is_some()))
            .await
    }
}

impl Operator {
    /// Whether anything was ever sent to a destination of this name.
    pub fn is_destination(&self, name: &str) -> Result<bool, StoreError> {
        self.read(|sql| Ok(destination_id(sql, name)?.is_some()))
    }
}

impl Reader {
    /// The name of a destination.
    pub fn destination_name(&self, id: DestinationId) -> Result<Option<String>, StoreError> {
        self.read(|sql| destination_name(sql, id))
    }
}
