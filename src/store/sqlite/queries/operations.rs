//! Operations as operators see them: the jobs that were created together are one.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::model::IntentId;
use crate::store::error::StoreError;
use crate::store::sqlite::columns::stored_ids;
use crate::store::sqlite::handle::Sqlite;
use crate::store::types::{
    BulkFilter, BulkId, BulkTally, OperationPart, OperationsPage, OperationsQuery, StateSet,
    StoredOperation,
};

/// Jobs that are shown of an operation: it has one for each destination with matching deliveries,
/// and so up to 20 000 for each API key.
const MAX_PARTS: u32 = 100;

/// The columns of the first of the jobs that are left, and sums over all of them.
const SELECT: &str = "SELECT f.operation, f.kind, f.states, f.source, f.event_type, f.reason,
            f.since, f.until, f.ids, f.actor, f.created_at, u.name,
            iif(a.jobs = 1, t.name, NULL), a.jobs, a.total, a.done, a.skipped, a.payload_gone,
            a.in_flight, a.ended_at, a.is_cancelled
     FROM (SELECT min(id) AS id, count(*) AS jobs,
                  iif(count(total) = count(*), sum(total), NULL) AS total,
                  sum(done) AS done, sum(skipped) AS skipped, sum(payload_gone) AS payload_gone,
                  sum(in_flight) AS in_flight,
                  iif(count(ended_at) = count(*), max(ended_at), NULL) AS ended_at,
                  max(is_cancelled) AS is_cancelled
           FROM jobs WHERE operation = ?1) a
          JOIN jobs f ON f.id = a.id
          LEFT JOIN destinations t ON t.id = f.destination_id
          LEFT JOIN destinations u ON u.id = f.target_id";

/// An operation by its number, or by that of one of its jobs.
pub fn read_operation(sql: &Connection, id: BulkId) -> Result<Option<StoredOperation>, StoreError> {
    let number: Option<BulkId> = sql
        .prepare_cached("SELECT operation FROM jobs WHERE id = ?1 OR operation = ?1 LIMIT 1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    let Some(number) = number else {
        return Ok(None);
    };
    let Some(mut found) = summary(sql, number)? else {
        return Ok(None);
    };
    let mut statement = sql.prepare_cached(
        "SELECT j.id, t.name, j.total, j.done, j.skipped, j.payload_gone, j.in_flight, j.ended_at
         FROM jobs j LEFT JOIN destinations t ON t.id = j.destination_id
         WHERE j.operation = ?1 ORDER BY j.id LIMIT ?2",
    )?;
    let parts = statement.query_map(params![number, MAX_PARTS], |row| {
        Ok(OperationPart {
            id: row.get(0)?,
            destination: row.get(1)?,
            total: row.get(2)?,
            tally: tally(row, 3)?,
            in_flight: row.get(6)?,
            ended_at: row.get(7)?,
        })
    })?;
    found.parts = parts.collect::<Result<_, _>>()?;
    Ok(Some(found))
}

/// The operation that a nonce names.
pub fn operation_named_by(
    sql: &Connection,
    nonce: &str,
) -> Result<Option<StoredOperation>, StoreError> {
    let id: Option<BulkId> = sql
        .prepare_cached("SELECT id FROM jobs WHERE nonce = ?1")?
        .query_row([nonce], |row| row.get(0))
        .optional()?;
    id.map_or(Ok(None), |id| read_operation(sql, id))
}

/// A page of operations, the latest first.
fn page(sql: &Connection, query: OperationsQuery) -> Result<OperationsPage, StoreError> {
    let before = query.after.unwrap_or(BulkId(i64::MAX));
    let mut statement = sql.prepare_cached(
        "SELECT DISTINCT operation FROM jobs WHERE operation < ?1
         ORDER BY operation DESC LIMIT ?2",
    )?;
    // One more than the page holds tells whether there is a next one.
    let limit = query.limit.saturating_add(1);
    let numbers = statement.query_map(params![before, limit], |row| row.get(0))?;
    let mut numbers: Vec<BulkId> = numbers.collect::<Result<_, _>>()?;
    let has_more = numbers.len() > usize::try_from(query.limit).unwrap_or(usize::MAX);
    if has_more {
        numbers.pop();
    }
    let mut found = Vec::new();
    for number in &numbers {
        found.extend(summary(sql, *number)?);
    }
    Ok(OperationsPage {
        found,
        next: numbers.last().copied().filter(|_| has_more),
    })
}

/// An operation without its jobs.
fn summary(sql: &Connection, number: BulkId) -> Result<Option<StoredOperation>, StoreError> {
    let mut statement = sql.prepare_cached(SELECT)?;
    Ok(statement.query_row([number], read).optional()?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<StoredOperation> {
    let filter = BulkFilter {
        source: row.get(3)?,
        event_type: row.get(4)?,
        reason: row.get(5)?,
        since: row.get(6)?,
        until: row.get(7)?,
        ids: stored_ids(row, 8)?,
        destination: row.get(12)?,
        ..BulkFilter::of(StateSet(row.get(2)?))
    };
    Ok(StoredOperation {
        id: row.get(0)?,
        action: row.get(1)?,
        filter,
        actor: row.get(9)?,
        created_at: row.get(10)?,
        target: row.get(11)?,
        jobs: row.get(13)?,
        total: row.get(14)?,
        tally: tally(row, 15)?,
        in_flight: row.get(18)?,
        ended_at: row.get(19)?,
        is_cancelled: row.get(20)?,
        parts: Vec::new(),
    })
}

/// Three columns from `at` on.
fn tally(row: &Row<'_>, at: usize) -> rusqlite::Result<BulkTally> {
    Ok(BulkTally {
        done: row.get(at)?,
        skipped: row.get(at + 1)?,
        payload_gone: row.get(at + 2)?,
        in_flight: 0,
    })
}

/// The first of these ids that names nothing.
fn first_unknown(sql: &Connection, ids: &[IntentId]) -> Result<Option<IntentId>, StoreError> {
    let mut statement =
        sql.prepare_cached("SELECT 1 FROM intents WHERE id = ?1 AND random = ?2")?;
    for id in ids {
        if !statement.exists(params![id.row(), id.random()])? {
            return Ok(Some(*id));
        }
    }
    Ok(None)
}

impl Sqlite {
    /// An operation by its number, or by that of one of its jobs.
    pub async fn operation(&self, id: BulkId) -> Result<Option<StoredOperation>, StoreError> {
        self.read(move |sql| read_operation(sql, id)).await
    }

    /// A page of operations, the latest first.
    pub async fn operations_page(
        &self,
        query: OperationsQuery,
    ) -> Result<OperationsPage, StoreError> {
        self.read(move |sql| page(sql, query)).await
    }

    /// The first of these ids that names no relay and no event.
    pub async fn first_unknown(&self, ids: Vec<IntentId>) -> Result<Option<IntentId>, StoreError> {
        if ids.is_empty() {
            return Ok(None);
        }
        self.read(move |sql| first_unknown(sql, &ids)).await
    }
}
