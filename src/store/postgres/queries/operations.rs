//! Bulk operations as operators see them: the jobs that were created together are one operation.

use tokio_postgres::Row;

use crate::model::IntentId;
use crate::store::error::StoreError;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::operator::Operator;
use crate::store::postgres::reader::Reader;
use crate::store::postgres::text::Text;
use crate::store::postgres::values::maybe_text;
use crate::store::types::{
    BulkFilter, BulkId, BulkOperation, BulkTally, OperationPart, OperationsPage, OperationsQuery,
    StateSet, StoredOperation,
};

/// Jobs that are shown of an operation: it has one for each destination with matching deliveries,
/// and so up to 20 000 for each API key.
const MAX_PARTS: i64 = 100;

/// The columns of the first of the jobs that are left of each operation, and sums over all of them.
const SELECT_SUMMARIES: &str = "SELECT f.operation, f.kind, f.states, f.source, f.event_type,
            f.reason, f.since, f.until, f.ids, f.actor, f.created_at, u.name,
            CASE WHEN a.jobs = 1 THEN t.name END, a.jobs, a.total, a.done, a.skipped,
            a.payload_gone, a.in_flight, a.ended_at, a.is_cancelled
     FROM unnest($1::bigint[]) AS o(operation)
          CROSS JOIN LATERAL (
              SELECT min(id) AS id, count(*) AS jobs,
                     CASE WHEN count(total) = count(*) THEN sum(total)::bigint END AS total,
                     sum(done)::bigint AS done, sum(skipped)::bigint AS skipped,
                     sum(payload_gone)::bigint AS payload_gone,
                     sum(in_flight)::bigint AS in_flight,
                     CASE WHEN count(ended_at) = count(*) THEN max(ended_at) END AS ended_at,
                     bool_or(is_cancelled) AS is_cancelled
              FROM relay.jobs j WHERE j.operation = o.operation) a
          JOIN relay.jobs f ON f.id = a.id
          LEFT JOIN relay.destinations t ON t.id = f.destination_id
          LEFT JOIN relay.destinations u ON u.id = f.target_id
     ORDER BY o.operation DESC";

/// The operations before $1, from one to the next in the index.
pub const SELECT_PAGE: &str = "WITH RECURSIVE found(id) AS (
         (SELECT operation FROM relay.jobs WHERE operation < $1 ORDER BY operation DESC LIMIT 1)
         UNION ALL
         SELECT (SELECT j.operation FROM relay.jobs j WHERE j.operation < found.id
                 ORDER BY j.operation DESC LIMIT 1)
         FROM found WHERE found.id IS NOT NULL
     )
     SELECT id FROM found WHERE id IS NOT NULL LIMIT $2";

/// The jobs as they were created, one for each destination.
macro_rules! select_jobs {
    ($which:literal) => {
        concat!(
            "SELECT j.id, j.kind, t.name, u.name, j.total, j.done, j.skipped, j.payload_gone,
                    j.in_flight, j.actor, j.created_at, j.ended_at, j.is_cancelled,
                    j.erased_at IS NOT NULL
             FROM relay.jobs j LEFT JOIN relay.destinations t ON t.id = j.destination_id
                  LEFT JOIN relay.destinations u ON u.id = j.target_id
             WHERE ",
            $which,
            " ORDER BY j.id"
        )
    };
}

/// An operation by its number, or by that of one of its jobs.
pub fn read_operation(
    sql: &mut Connection,
    id: BulkId,
) -> Result<Option<StoredOperation>, Failure> {
    let number = sql.first(
        "SELECT operation FROM relay.jobs WHERE id = $1
         UNION ALL (SELECT operation FROM relay.jobs WHERE operation = $1 LIMIT 1) LIMIT 1",
        &[&id],
    )?;
    let number: Option<BulkId> = number.map(|row| row.try_get(0)).transpose()?.flatten();
    let Some(number) = number else {
        return Ok(None);
    };
    let Some(mut found) = summaries(sql, &[number])?.pop() else {
        return Ok(None);
    };
    let rows = sql.rows(
        "SELECT j.id, t.name, j.total, j.done, j.skipped, j.payload_gone, j.in_flight, j.ended_at
         FROM (SELECT * FROM relay.jobs WHERE operation = $1 OFFSET 0) j
              LEFT JOIN relay.destinations t ON t.id = j.destination_id
         ORDER BY j.id LIMIT $2",
        &[&number, &MAX_PARTS],
    )?;
    let part = |row: &Row| {
        Ok(OperationPart {
            id: row.try_get(0)?,
            destination: row.try_get(1)?,
            total: row.try_get(2)?,
            tally: tally(row, 3)?,
            in_flight: row.try_get(6)?,
            ended_at: row.try_get(7)?,
        })
    };
    found.parts = rows.iter().map(part).collect::<Result<_, Failure>>()?;
    Ok(Some(found))
}

/// The operation that a nonce names.
pub fn operation_named_by(
    sql: &mut Connection,
    nonce: &str,
) -> Result<Option<StoredOperation>, Failure> {
    let id = sql.first(
        "SELECT id FROM relay.jobs WHERE nonce = $1",
        &[&Text::from(nonce)],
    )?;
    match id {
        Some(row) => read_operation(sql, row.try_get(0)?),
        None => Ok(None),
    }
}

/// A page of operations, the latest first.
fn page(sql: &mut Connection, query: OperationsQuery) -> Result<OperationsPage, Failure> {
    let before = query.after.unwrap_or(BulkId(i64::MAX));
    // One more than the page holds tells whether there is a next one.
    let limit = i64::from(query.limit) + 1;
    let rows = sql.rows(SELECT_PAGE, &[&before, &limit])?;
    let numbers = rows.iter().map(|row| row.try_get(0));
    let mut numbers = numbers.collect::<Result<Vec<BulkId>, _>>()?;
    let has_more = numbers.len() > usize::try_from(query.limit).unwrap_or(usize::MAX);
    if has_more {
        numbers.pop();
    }
    Ok(OperationsPage {
        found: summaries(sql, &numbers)?,
        next: numbers.last().copied().filter(|_| has_more),
    })
}

/// Operations without their jobs, the latest first.
fn summaries(sql: &mut Connection, numbers: &[BulkId]) -> Result<Vec<StoredOperation>, Failure> {
    let rows = sql.rows(SELECT_SUMMARIES, &[&numbers])?;
    rows.iter().map(operation).collect()
}

fn operation(row: &Row) -> Result<StoredOperation, Failure> {
    let filter = BulkFilter {
        source: maybe_text(row, 3)?,
        event_type: maybe_text(row, 4)?,
        reason: maybe_text(row, 5)?,
        since: row.try_get(6)?,
        until: row.try_get(7)?,
        ids: stored_ids(row, 8)?,
        destination: row.try_get(12)?,
        ..BulkFilter::of(StateSet(row.try_get(2)?))
    };
    Ok(StoredOperation {
        id: row.try_get(0)?,
        action: row.try_get(1)?,
        filter,
        actor: row.try_get(9)?,
        created_at: row.try_get(10)?,
        target: row.try_get(11)?,
        jobs: row.try_get(13)?,
        total: row.try_get(14)?,
        tally: tally(row, 15)?,
        in_flight: row.try_get(18)?,
        ended_at: row.try_get(19)?,
        is_cancelled: row.try_get(20)?,
        parts: Vec::new(),
    })
}

/// Three columns from `at` on.
fn tally(row: &Row, at: usize) -> Result<BulkTally, Failure> {
    Ok(BulkTally {
        done: row.try_get(at)?,
        skipped: row.try_get(at + 1)?,
        payload_gone: row.try_get(at + 2)?,
        in_flight: 0,
    })
}

/// The ids of a stored list: separated by spaces.
pub fn stored_ids(row: &Row, at: usize) -> Result<Vec<IntentId>, Failure> {
    let text: Option<&str> = row.try_get(at)?;
    let ids = text.unwrap_or_default().split_ascii_whitespace();
    ids.map(|id| {
        let id: Result<IntentId, _> = id.parse();
        id.map_err(|error| Failure::unexpected(error.to_string()))
    })
    .collect()
}

fn job(row: &Row) -> Result<BulkOperation, Failure> {
    Ok(BulkOperation {
        id: row.try_get(0)?,
        action: row.try_get(1)?,
        destination: row.try_get(2)?,
        target: row.try_get(3)?,
        total: row.try_get(4)?,
        tally: tally(row, 5)?,
        in_flight: row.try_get(8)?,
        actor: row.try_get(9)?,
        created_at: row.try_get(10)?,
        ended_at: row.try_get(11)?,
        is_cancelled: row.try_get(12)?,
        is_emptying: row.try_get(13)?,
    })
}

fn under_way(sql: &mut Connection) -> Result<Vec<BulkOperation>, Failure> {
    let rows = sql.rows(select_jobs!("j.ended_at IS NULL"), &[])?;
    rows.iter().map(job).collect()
}

fn jobs(sql: &mut Connection, ids: &[BulkId]) -> Result<Vec<BulkOperation>, Failure> {
    let rows = sql.rows(select_jobs!("j.id = ANY($1)"), &[&ids])?;
    let found = rows.iter().map(job).collect::<Result<Vec<_>, _>>()?;
    // In the order of the request.
    let of = |id: &BulkId| found.iter().find(|one| one.id == *id).cloned();
    Ok(ids.iter().filter_map(of).collect())
}

impl Postgres {
    /// An operation by its number, or by that of one of its jobs.
    pub async fn operation(&self, id: BulkId) -> Result<Option<StoredOperation>, StoreError> {
        self.read_async(move |sql| read_operation(sql, id)).await
    }

    /// A page of operations, the latest first.
    pub async fn operations_page(
        &self,
        query: OperationsQuery,
    ) -> Result<OperationsPage, StoreError> {
        self.read_async(move |sql| page(sql, query)).await
    }
}

impl Operator {
    /// The bulk operations under way.
    pub fn bulk_under_way(&self) -> Result<Vec<BulkOperation>, StoreError> {
        self.read(under_way)
    }

    /// These bulk operations, as far as they exist.
    pub fn bulk_operations(&self, ids: &[BulkId]) -> Result<Vec<BulkOperation>, StoreError> {
        self.read(|sql| jobs(sql, ids))
    }
}

impl Reader {
    /// Whether a bulk operation is under way.
    pub fn has_bulk_under_way(&self) -> Result<bool, StoreError> {
        self.read(|sql| {
            let any = "SELECT 1 FROM relay.jobs WHERE ended_at IS NULL LIMIT 1";
            Ok(sql.first(any, &[])?.is_some())
        })
    }
}
