//! Dead letters in numbers, and bulk operations.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::store::error::StoreError;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::readers::Reader;
use crate::store::types::{BulkId, BulkOperation, DeadLetterCount, DeadLetterFilter};

/// The condition on a dead letter `d` of the intent `i`; ?2 to ?5 are source, reason, since and
/// until.
pub const DEAD_LETTER_MATCHES: &str = "d.state = 4 AND d.updated_at >= ?4 AND d.updated_at <= ?5
     AND (?2 IS NULL OR (i.surface = 1 AND i.label = ?2))
     AND (?3 IS NULL OR instr(d.last_error, ?3) > 0)";

fn count(sql: &Connection, filter: &DeadLetterFilter) -> Result<Vec<DeadLetterCount>, StoreError> {
    let mut statement = sql.prepare(&format!(
        "SELECT t.id, t.name,
                (SELECT count(*) FROM deliveries d JOIN intents i ON i.id = d.intent_id
                 WHERE d.destination_id = t.id AND {DEAD_LETTER_MATCHES}) AS found
         FROM destinations t WHERE (?1 IS NULL OR t.name = ?1) AND found > 0 ORDER BY t.name"
    ))?;
    let rows = statement.query_map(
        params![
            filter.destination,
            filter.source,
            filter.reason,
            filter.since,
            filter.until,
        ],
        |row| {
            Ok(DeadLetterCount {
                id: row.get(0)?,
                destination: row.get(1)?,
                count: row.get(2)?,
            })
        },
    )?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn is_any_under_way(sql: &Connection) -> Result<bool, StoreError> {
    Ok(sql
        .prepare_cached("SELECT 1 FROM jobs WHERE ended_at IS NULL LIMIT 1")?
        .exists([])?)
}

const SELECT: &str =
    "SELECT j.id, j.kind, t.name, j.total, j.done, j.created_at, j.ended_at, j.is_cancelled
     FROM jobs j JOIN destinations t ON t.id = j.destination_id";

fn under_way(sql: &Connection) -> Result<Vec<BulkOperation>, StoreError> {
    let mut statement = sql.prepare(&format!("{SELECT} WHERE j.ended_at IS NULL ORDER BY j.id"))?;
    let rows = statement.query_map([], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn find(sql: &Connection, ids: &[BulkId]) -> Result<Vec<BulkOperation>, StoreError> {
    let mut statement = sql.prepare(&format!("{SELECT} WHERE j.id = ?1"))?;
    let mut found = Vec::new();
    for id in ids {
        found.extend(statement.query_row([id], read).optional()?);
    }
    Ok(found)
}

fn read(row: &Row<'_>) -> rusqlite::Result<BulkOperation> {
    Ok(BulkOperation {
        id: row.get(0)?,
        action: row.get(1)?,
        destination: row.get(2)?,
        total: row.get(3)?,
        done: row.get(4)?,
        created_at: row.get(5)?,
        ended_at: row.get(6)?,
        is_cancelled: row.get(7)?,
    })
}

impl Reader {
    /// Whether a bulk operation is under way.
    pub fn has_bulk_under_way(&self) -> Result<bool, StoreError> {
        self.read(is_any_under_way)
    }
}

impl Operator {
    /// The dead letters that a filter matches, counted by destination.
    pub fn count_dead_letters(
        &self,
        filter: &DeadLetterFilter,
    ) -> Result<Vec<DeadLetterCount>, StoreError> {
        self.read(|sql| count(sql, filter))
    }

    /// The bulk operations under way.
    pub fn bulk_under_way(&self) -> Result<Vec<BulkOperation>, StoreError> {
        self.read(under_way)
    }

    /// These bulk operations, as far as they exist.
    pub fn bulk_operations(&self, ids: &[BulkId]) -> Result<Vec<BulkOperation>, StoreError> {
        self.read(|sql| find(sql, ids))
    }
}

#[cfg(test)]
impl crate::store::sqlite::Sqlite {
    /// The dead letters that a filter matches, counted by destination.
    pub fn count_dead_letters(
        &self,
        filter: &DeadLetterFilter,
    ) -> Result<Vec<DeadLetterCount>, StoreError> {
        self.read_blocking(|sql| count(sql, filter))
    }

    /// These bulk operations; those under way if none are named.
    pub fn bulk_operations(&self, ids: &[BulkId]) -> Result<Vec<BulkOperation>, StoreError> {
        self.read_blocking(|sql| {
            if ids.is_empty() {
                under_way(sql)
            } else {
                find(sql, ids)
            }
        })
    }
}
