//! Bulk operations: those to create, counted, and those that are stored.

use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::clock::Timestamp;
use crate::model::IntentId;
use crate::store::error::StoreError;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::queries::counting::{CountBudget, SelectionCount};
use crate::store::sqlite::queries::selection::{Access, Selection, destination_id};
use crate::store::sqlite::readers::Reader;
use crate::store::types::{
    BulkCount, BulkId, BulkOperation, BulkPart, BulkTally, Counting, DestinationId, NewBulk,
};

/// The rows of intents, as a JSON array; none if there are none.
pub fn rows_of(ids: &[IntentId]) -> Option<String> {
    let rows: Vec<String> = ids.iter().map(|id| id.row().to_string()).collect();
    (!rows.is_empty()).then(|| format!("[{}]", rows.join(",")))
}

/// The selection of an operation on one destination, or on all.
pub fn selection_of(
    new: &NewBulk,
    destination: Option<DestinationId>,
    target: Option<DestinationId>,
    begun_at: Timestamp,
) -> Selection {
    let filter = &new.filter;
    Selection {
        action: new.action,
        states: filter.states,
        ids: rows_of(&filter.ids),
        destination,
        target,
        source: filter.source.clone(),
        event_type: filter.event_type.clone(),
        reason: filter.reason.clone(),
        since: filter.since,
        until: filter.until,
        begun_at,
    }
}

/// The deliveries of a destination that an operation would act on.
#[derive(Debug)]
pub struct Counted {
    pub count: BulkCount,
    pub skipped: i64,
    pub in_flight: i64,
    /// Whether there are no more than these.
    pub is_exact: bool,
}

/// The destinations with deliveries that an operation selects, counted in the partial indexes. None
/// if there is no index for them: then one operation reads through all of them.
pub fn counts(
    sql: &Connection,
    new: &NewBulk,
    now: Timestamp,
    budget: &mut CountBudget,
) -> Result<Option<Vec<Counted>>, StoreError> {
    let filter = &new.filter;
    let any = selection_of(new, Some(DestinationId::default()), None, now);
    let has_any = match any.access() {
        Access::Dead => {
            "EXISTS (SELECT 1 FROM deliveries d INDEXED BY dead
                     WHERE d.destination_id = t.id AND d.state = 4 AND d.discarded_at IS NULL)"
        }
        Access::Waiting => {
            "(EXISTS (SELECT 1 FROM deliveries d INDEXED BY due
                      WHERE d.destination_id = t.id AND d.next_attempt_at IS NOT NULL)
              OR t.id IN (SELECT d.destination_id FROM deliveries d INDEXED BY claimed
                          WHERE d.claim IS NOT NULL))"
        }
        Access::Deliveries | Access::Intents => return Ok(None),
    };
    let target = match &new.target {
        Some(name) => destination_id(sql, name)?,
        None => None,
    };
    let mut statement = sql.prepare(&format!(
        "SELECT t.id, t.name FROM destinations t
         WHERE (?1 IS NULL OR t.name = ?1) AND {has_any} ORDER BY t.name"
    ))?;
    let mut rows = statement.query([&filter.destination])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, destination) = (row.get(0)?, row.get(1)?);
        let selection = selection_of(new, Some(id), target, now);
        let SelectionCount {
            found: count,
            skipped,
            is_exact,
        } = selection.count(sql, budget)?;
        let in_flight = match selection.access() {
            Access::Waiting => selection.in_flight(sql)?,
            _ => 0,
        };
        if count + skipped + in_flight > 0 || !is_exact {
            found.push(Counted {
                count: BulkCount {
                    id,
                    destination,
                    count,
                },
                skipped,
                in_flight,
                is_exact,
            });
        }
    }
    Ok(Some(found))
}

/// The operations to create: one for each destination with deliveries that are selected, so that
/// none waits for another; or one for all of them.
pub fn parts_of(
    sql: &Connection,
    new: &NewBulk,
    now: Timestamp,
    counting: Counting,
) -> Result<Vec<BulkPart>, StoreError> {
    if let Some(counted) = counts(sql, new, now, &mut CountBudget::of(counting))? {
        let part = |one: Counted| BulkPart {
            destination: Some(one.count.id),
            total: one.is_exact.then_some(one.count.count + one.in_flight),
            is_empty: false,
        };
        return Ok(counted.into_iter().map(part).collect());
    }
    let destination = match &new.filter.destination {
        Some(name) => match destination_id(sql, name)? {
            Some(id) => Some(id),
            None => return Ok(Vec::new()),
        },
        None => None,
    };
    Ok(vec![BulkPart {
        destination,
        total: None,
        is_empty: false,
    }])
}

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
        self.read(under_way)
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
                under_way(sql)
            } else {
                find(sql, ids)
            }
        })
    }
}
