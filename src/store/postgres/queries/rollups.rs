//! Counts by minute and hour.

use std::collections::BTreeMap;

use tokio_postgres::Row;

use crate::clock::Timestamp;
use crate::model::{DestinationCounts, LatencyHistogram, SourceCounts};
use crate::store::error::StoreError;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::operator::Operator;
use crate::store::postgres::values::{limit, number};
use crate::store::types::{MAX_ROLLUPS, Rollup, RollupQuery, Rollups};

/// The next rows in the order of the primary key, after (at, name).
pub const SELECT_SOURCES: &str = "SELECT at, source, accepted, duplicates, refused
     FROM relay.source_rollups
     WHERE grain = $1 AND (at, source) > ($2, $3::text) AND at < $4 ORDER BY at, source LIMIT $5";
pub const SELECT_DESTINATIONS: &str = "SELECT at, destination, delivered, failed, dead, latency
     FROM relay.destination_rollups
     WHERE grain = $1 AND (at, destination) > ($2, $3::text) AND at < $4
     ORDER BY at, destination LIMIT $5";

/// Rows that are read at once.
const CHUNK: usize = 5_000;

fn read(sql: &mut Connection, query: &RollupQuery) -> Result<Rollups, Failure> {
    let (sources, is_cut) = rows(sql, SELECT_SOURCES, query, source, SourceCounts::add)?;
    let add = DestinationCounts::add;
    let (destinations, is_cut_too) = rows(sql, SELECT_DESTINATIONS, query, destination, add)?;
    Ok(Rollups {
        sources,
        destinations,
        is_cut_short: is_cut || is_cut_too,
    })
}

/// The rows of a table, added up in the query's steps; whether rows were left out.
fn rows<C: Default>(
    sql: &mut Connection,
    select: &'static str,
    query: &RollupQuery,
    counts: fn(&Row) -> Result<C, Failure>,
    add: fn(&mut C, &C),
) -> Result<(Vec<Rollup<C>>, bool), Failure> {
    let grain = i32::try_from(query.grain.seconds()).unwrap_or(i32::MAX);
    let mut found: BTreeMap<(Timestamp, String), C> = BTreeMap::new();
    // No name is empty, so that this comes before the first row of the time.
    let mut after = (query.from, String::new());
    loop {
        let rows = sql.rows(
            select,
            &[&grain, &after.0, &after.1, &query.to, &limit(CHUNK)],
        )?;
        for row in &rows {
            after = (row.try_get(0)?, row.try_get(1)?);
            let key = (query.step_of(after.0), after.1.clone());
            if found.len() >= MAX_ROLLUPS && !found.contains_key(&key) {
                return Ok((listed(found), true));
            }
            add(found.entry(key).or_default(), &counts(row)?);
        }
        if rows.len() < CHUNK {
            return Ok((listed(found), false));
        }
    }
}

fn listed<C>(found: BTreeMap<(Timestamp, String), C>) -> Vec<Rollup<C>> {
    let rollup = |((at, name), counts)| Rollup { at, name, counts };
    found.into_iter().map(rollup).collect()
}

fn source(row: &Row) -> Result<SourceCounts, Failure> {
    Ok(SourceCounts {
        accepted: number(row, 2)?,
        duplicates: number(row, 3)?,
        refused: number(row, 4)?,
    })
}

fn destination(row: &Row) -> Result<DestinationCounts, Failure> {
    Ok(DestinationCounts {
        delivered: number(row, 2)?,
        failed: number(row, 3)?,
        dead: number(row, 4)?,
        latency: histogram(row.try_get(5)?),
    })
}

/// A stored histogram. One that can't be read counts as empty: a chart is not worth an error.
fn histogram(stored: Option<Vec<i64>>) -> LatencyHistogram {
    let counts = stored.unwrap_or_default().into_iter();
    let buckets: Vec<u64> = counts
        .map(|count| u64::try_from(count).unwrap_or(0))
        .collect();
    LatencyHistogram::from_buckets(&buckets).unwrap_or_default()
}

impl Postgres {
    /// The rollups of a time.
    pub async fn rollups(&self, query: RollupQuery) -> Result<Rollups, StoreError> {
        self.read_async(move |sql| read(sql, &query)).await
    }
}

impl Operator {
    /// The rollups of a time.
    pub fn rollups(&self, query: &RollupQuery) -> Result<Rollups, StoreError> {
        self.read(|sql| read(sql, query))
    }
}
