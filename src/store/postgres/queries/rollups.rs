//! Counts by minute and hour.

use tokio_postgres::Row;

use crate::clock::Timestamp;
use crate::model::{DestinationCounts, LatencyHistogram, SourceCounts};
use crate::store::error::StoreError;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::operator::Operator;
use crate::store::postgres::values::{limit, number};
use crate::store::types::{Listed, RollupQuery, RollupSink, Rollups};

/// The next rows in the order of the primary key, after (at, name). $6 is NULL.
pub const SELECT_SOURCES: &str = "SELECT at, source, accepted, duplicates, refused
     FROM relay.source_rollups
     WHERE grain = $1 AND (at, source) > ($2, $3::text) AND at < $4 AND $6::text IS NULL
     ORDER BY at, source LIMIT $5";
pub const SELECT_DESTINATIONS: &str = "SELECT at, destination, delivered, failed, dead, latency
     FROM relay.destination_rollups
     WHERE grain = $1 AND (at, destination) > ($2, $3::text) AND at < $4
       AND $6::text IS NULL
     ORDER BY at, destination LIMIT $5";
/// The same of the destination $6: the key begins with the time, so each time is looked up, from
/// the first that is stored to the last.
pub const SELECT_DESTINATION: &str = "SELECT r.at, r.destination, r.delivered, r.failed, r.dead,
            r.latency
     FROM (SELECT $1::int4 * 1000::int8 AS step,
                  (SELECT at FROM relay.destination_rollups WHERE grain = $1
                   ORDER BY at LIMIT 1) AS first,
                  (SELECT at FROM relay.destination_rollups WHERE grain = $1
                   ORDER BY at DESC LIMIT 1) AS last) s
          CROSS JOIN LATERAL generate_series(
              (s.first + greatest($2::int8 - s.first, 0)) / s.step * s.step,
              s.last + least($4::int8 - 1 - s.last, 0), s.step) AS g(at)
          CROSS JOIN LATERAL (
              SELECT * FROM relay.destination_rollups x
              WHERE x.grain = $1 AND x.at = g.at AND x.destination = $6 OFFSET 0) r
     WHERE (r.at, r.destination) > ($2, $3::text)
     ORDER BY g.at LIMIT $5";

/// Rows that are read at once.
const CHUNK: usize = 5_000;

fn read(
    sql: &mut Connection,
    query: &RollupQuery,
    sink: &mut impl RollupSink,
) -> Result<(), Failure> {
    rows(sql, SELECT_SOURCES, query, |at, name, row| {
        Ok(sink.source(at, name, &source(row)?))
    })?;
    let destinations = match query.destination {
        Some(_) => SELECT_DESTINATION,
        None => SELECT_DESTINATIONS,
    };
    rows(sql, destinations, query, |at, name, row| {
        Ok(sink.destination(at, name, &destination(row)?))
    })
}

/// Reads the rows of a table, until `take` wants no more.
fn rows(
    sql: &mut Connection,
    select: &'static str,
    query: &RollupQuery,
    mut take: impl FnMut(Timestamp, &str, &Row) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let grain = i32::try_from(query.grain.seconds()).unwrap_or(i32::MAX);
    // No name is empty, so that this comes before the first row of the time.
    let mut after = (query.from, String::new());
    loop {
        let (to, destination) = (&query.to, &query.destination);
        let rows = sql.rows(
            select,
            &[&grain, &after.0, &after.1, to, &limit(CHUNK), destination],
        )?;
        for row in &rows {
            after = (row.try_get(0)?, row.try_get(1)?);
            if !take(after.0, &after.1, row)? {
                return Ok(());
            }
        }
        if rows.len() < CHUNK {
            return Ok(());
        }
    }
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
    /// Hands the rows of a time to the sink, and returns it.
    pub async fn each_rollup<S: RollupSink>(
        &self,
        query: RollupQuery,
        sink: S,
    ) -> Result<S, StoreError> {
        // A read that is made again begins with the sink as it was.
        self.read_async(move |sql| {
            let mut sink = sink.clone();
            read(sql, &query, &mut sink).map(|()| sink)
        })
        .await
    }
}

impl Operator {
    /// The rollups of a time.
    pub fn rollups(&self, query: &RollupQuery) -> Result<Rollups, StoreError> {
        let listed = self.read(|sql| {
            let mut listed = Listed::new(query);
            read(sql, query, &mut listed).map(|()| listed)
        })?;
        Ok(listed.rollups())
    }
}
