//! Bulk operations that are stored.

use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::store::error::StoreError;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::readers::Reader;
use crate::store::types::{BulkId, BulkOperation, BulkTally};

fn is_any_under_way(sql: &Connection) -> Result<bool, StoreError> {
    Ok(sql
        .prepare_cached("SELECT 1 FROM jobs WHERE ended_at IS NULL LIMIT 1")?
        .exists([])?)
}

const SELECT: &str = "SELECT j.id, j.kind, t.name, u.name, j.total, j.done, j.skipped,
            j.payload_gone, j.in_flight, j.actor, j.created_at, j.ended_at, j.is_cancelled,
            j.erased_at IS NOT NULL
     FROM jobs j LEFT JOIN destinations t ON t.id = j.destination_id
                 LEFT JOIN destinations u ON u.id = j.target_id";

/// The bulk operations under way.
pub fn bulk_under_way(sql: &Connection) -> Result<Vec<BulkOperation>, StoreError> {
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
        target: row.get(3)?,
        total: row.get(4)?,
        tally: BulkTally {
            done: row.get(5)?,
            skipped: row.get(6)?,
            payload_gone: row.get(7)?,
            in_flight: 0,
        },
        in_flight: row.get(8)?,
        actor: row.get(9)?,
        created_at: row.get(10)?,
        ended_at: row.get(11)?,
        is_cancelled: row.get(12)?,
        is_emptying: row.get(13)?,
    })
}

impl Reader {
    /// Whether a bulk operation is under way.
    pub fn has_bulk_under_way(&self) -> Result<bool, StoreError> {
        self.read(is_any_under_way)
    }
}

impl Operator {
    /// The bulk operations under way.
    pub fn bulk_under_way(&self) -> Result<Vec<BulkOperation>, StoreError> {
        self.read(bulk_under_way)
    }

    /// These bulk operations, as far as they exist.
    pub fn bulk_operations(&self, ids: &[BulkId]) -> Result<Vec<BulkOperation>, StoreError> {
        self.read(|sql| find(sql, ids))
    }
}

#[cfg(test)]
impl crate::store::sqlite::Sqlite {
    /// These bulk operations; those under way if none are named.
    pub fn bulk_operations(&self, ids: &[BulkId]) -> Result<Vec<BulkOperation>, StoreError> {
        self.read_blocking(|sql| {
            if ids.is_empty() {
                bulk_under_way(sql)
            } else {
                find(sql, ids)
            }
        })
    }
}
