//! Rollups of a time, in steps.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};

use crate::clock::Timestamp;
use crate::model::{DestinationCounts, SourceCounts};
use crate::store::error::StoreError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::ops::rollups::histogram;
use crate::store::types::{MAX_ROLLUPS, Rollup, RollupQuery, Rollups};

/// In the order of the primary key.
const SELECT_SOURCES: &str = "SELECT at, source, accepted, duplicates, refused
     FROM source_rollups WHERE grain = ?1 AND at >= ?2 AND at < ?3 ORDER BY at, source";
const SELECT_DESTINATIONS: &str = "SELECT at, destination, delivered, failed, dead, latency
     FROM destination_rollups WHERE grain = ?1 AND at >= ?2 AND at < ?3 ORDER BY at, destination";

fn read(sql: &Connection, query: &RollupQuery) -> Result<Rollups, StoreError> {
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
    sql: &Connection,
    select: &str,
    query: &RollupQuery,
    counts: fn(&Row<'_>) -> rusqlite::Result<C>,
    add: fn(&mut C, &C),
) -> Result<(Vec<Rollup<C>>, bool), StoreError> {
    let mut statement = sql.prepare_cached(select)?;
    let mut stored = statement.query(params![query.grain.seconds(), query.from, query.to])?;
    let mut found: BTreeMap<(Timestamp, String), C> = BTreeMap::new();
    while let Some(row) = stored.next()? {
        let step = query.step_of(row.get(0)?);
        let key = (step, row.get(1)?);
        if found.len() >= MAX_ROLLUPS && !found.contains_key(&key) {
            return Ok((listed(found), true));
        }
        add(found.entry(key).or_default(), &counts(row)?);
    }
    Ok((listed(found), false))
}

fn listed<C>(found: BTreeMap<(Timestamp, String), C>) -> Vec<Rollup<C>> {
    let rollup = |((at, name), counts)| Rollup { at, name, counts };
    found.into_iter().map(rollup).collect()
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
    /// The rollups of a time.
    pub async fn rollups(&self, query: RollupQuery) -> Result<Rollups, StoreError> {
        self.read(move |sql| read(sql, &query)).await
    }
}

impl Operator {
    /// The rollups of a time.
    pub fn rollups(&self, query: &RollupQuery) -> Result<Rollups, StoreError> {
        self.read(|sql| read(sql, query))
    }
}
