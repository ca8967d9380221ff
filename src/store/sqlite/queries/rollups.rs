//! Rollups of a time, in steps.

use rusqlite::{Connection, Row, params};

use crate::model::{DestinationCounts, SourceCounts};
use crate::store::error::StoreError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::ops::rollups::histogram;
use crate::store::types::{Listed, RollupQuery, RollupSink, Rollups};

/// In the order of the primary key.
const SELECT_SOURCES: &str = "SELECT at, source, accepted, duplicates, refused
     FROM source_rollups WHERE grain = ?1 AND at >= ?2 AND at < ?3 AND ?4 IS NULL
     ORDER BY at, source";
const SELECT_DESTINATIONS: &str = "SELECT at, destination, delivered, failed, dead, latency
     FROM destination_rollups WHERE grain = ?1 AND at >= ?2 AND at < ?3
          AND (?4 IS NULL OR destination = ?4)
     ORDER BY at, destination";

fn read(
    sql: &Connection,
    query: &RollupQuery,
    sink: &mut impl RollupSink,
) -> Result<(), StoreError> {
    rows(sql, SELECT_SOURCES, query, |row| {
        Ok(sink.source(row.get(0)?, row.get_ref(1)?.as_str()?, &source(row)?))
    })?;
    rows(sql, SELECT_DESTINATIONS, query, |row| {
        let counts = destination(row)?;
        Ok(sink.destination(row.get(0)?, row.get_ref(1)?.as_str()?, &counts))
    })
}

/// Reads the rows of a table, until `take` wants no more.
fn rows(
    sql: &Connection,
    select: &str,
    query: &RollupQuery,
    mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<bool>,
) -> Result<(), StoreError> {
    let mut statement = sql.prepare_cached(select)?;
    let (grain, destination) = (query.grain.seconds(), query.destination.as_deref());
    let mut stored = statement.query(params![grain, query.from, query.to, destination])?;
    while let Some(row) = stored.next()? {
        if !take(row)? {
            break;
        }
    }
    Ok(())
}

fn source(row: &Row<'_>) -> rusqlite::Result<SourceCounts> {
    Ok(SourceCounts {
        accepted: number(row, 2)?,
        duplicates: number(row, 3)?,
        refused: number(row, 4)?,
    })
}

fn destination(row: &Row<'_>) -> rusqlite::Result<DestinationCounts> {
    Ok(DestinationCounts {
        delivered: number(row, 2)?,
        failed: number(row, 3)?,
        dead: number(row, 4)?,
        latency: histogram(row.get_ref(5)?.as_bytes_or_null()?),
    })
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    Ok(u64::try_from(number).unwrap_or(0))
}

impl Sqlite {
    /// Hands the rows of a time to the sink, and returns it.
    pub async fn each_rollup<S: RollupSink>(
        &self,
        query: RollupQuery,
        mut sink: S,
    ) -> Result<S, StoreError> {
        self.read(move |sql| read(sql, &query, &mut sink).map(|()| sink))
            .await
    }
}

impl Operator {
    /// The rollups of a time.
    pub fn rollups(&self, query: &RollupQuery) -> Result<Rollups, StoreError> {
        let mut listed = Listed::new(query);
        self.read(|sql| read(sql, query, &mut listed))?;
        Ok(listed.rollups())
    }
}
