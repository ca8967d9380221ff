//! Destinations with waiting deliveries.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::sqlite::columns::{BLOCKED, text};
use crate::store::sqlite::readers::Reader;
use crate::store::types::{
    DestinationBacklog, DestinationId, DestinationStatus, DueScan, DueScanned, Origin, ScanCursor,
    ScanPart,
};

/// The waiting deliveries of a destination, and those due at `now`, counted up to `counted`. None
/// if the destination no longer exists.
pub fn backlog_of(
    sql: &Connection,
    destination: DestinationId,
    now: Timestamp,
    counted: usize,
) -> Result<Option<DestinationBacklog>, StoreError> {
    let mut statement = sql.prepare_cached(
        "SELECT t.name, t.paused_at IS NOT NULL, t.held_until,
                t.probe_at, t.probe_wait,
                (SELECT min(d.next_attempt_at) FROM deliveries d
                 WHERE d.destination_id = t.id AND d.next_attempt_at < ?4),
                (SELECT count(*) FROM (SELECT 1 FROM deliveries d
                 WHERE d.destination_id = t.id AND d.next_attempt_at <= ?2 LIMIT ?3))
         FROM destinations t WHERE t.id = ?1",
    )?;
    let counted = i64::try_from(counted).unwrap_or(i64::MAX);
    let found = statement.query_row(params![destination, now, counted, BLOCKED], |row| {
        let wait = row.get::<_, Option<i64>>(4)?;
        let wait = wait.map(|wait| Duration::from_millis(wait.unsigned_abs()));
        let ready: i64 = row.get(6)?;
        Ok(DestinationBacklog {
            name: text(row, 0)?,
            is_paused: row.get(1)?,
            held_until: row.get(2)?,
            probe: row.get::<_, Option<Timestamp>>(3)?.zip(wait),
            next_attempt_at: row.get(5)?,
            ready: usize::try_from(ready).unwrap_or(0),
        })
    });
    Ok(found.optional()?)
}

/// The columns of an [`Origin`].
const ORIGIN: &str = "t.id, instr(t.name, '://') = 0, t.owner, t.proven_at IS NOT NULL";

fn origin(row: &Row<'_>) -> rusqlite::Result<Origin> {
    Ok(Origin {
        id: row.get(0)?,
        is_named: row.get(1)?,
        owner: row.get(2)?,
        is_proven: row.get(3)?,
    })
}

fn find_origin(sql: &Connection, id: DestinationId) -> Result<Option<Origin>, StoreError> {
    let mut statement = sql.prepare_cached(&format!(
        "SELECT {ORIGIN} FROM destinations t WHERE t.id = ?1"
    ))?;
    Ok(statement.query_row([id], origin).optional()?)
}

/// The first `at_most` destinations with waiting deliveries after the cursor, each with the time at
/// which its first delivery is due, and where the scan continues. One whose circuit breaker was
/// left open is due at once, since the configuration may have removed the breaker. Steps from one
/// destination to the next in the index: the cost is that of the destinations, however many
/// deliveries wait. A destination whose deliveries all wait behind others has none that is due.
pub fn waiting(
    sql: &Connection,
    after: ScanCursor,
    at_most: usize,
) -> Result<ScanPart, StoreError> {
    let mut statement = sql.prepare_cached(&format!(
        "WITH RECURSIVE waiting(id) AS (
             SELECT min(destination_id) FROM deliveries
             WHERE next_attempt_at IS NOT NULL AND destination_id > ?1
             UNION ALL
             SELECT (SELECT min(destination_id) FROM deliveries
                     WHERE next_attempt_at IS NOT NULL AND destination_id > waiting.id)
             FROM waiting WHERE waiting.id IS NOT NULL
             LIMIT ?2
         )
         SELECT {ORIGIN},
                iif(t.probe_at IS NULL,
                    (SELECT min(d.next_attempt_at) FROM deliveries d
                     WHERE d.destination_id = t.id AND d.next_attempt_at < ?3),
                    0)
         FROM waiting CROSS JOIN destinations t ON t.id = waiting.id"
    ))?;
    let limit = i64::try_from(at_most).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![after.0, limit, BLOCKED])?;
    let (mut waiting, mut read, mut last) = (Vec::new(), 0, None);
    while let Some(row) = rows.next()? {
        let found = origin(row)?;
        (read, last) = (read + 1, Some(found.id));
        waiting.extend(row.get::<_, Option<Timestamp>>(4)?.map(|at| (found, at)));
    }
    let next = last.filter(|_| read >= at_most).map(|id| ScanCursor(id.0));
    Ok(ScanPart { waiting, next })
}

fn status_of(sql: &Connection, name: &str) -> Result<Option<DestinationStatus>, StoreError> {
    let mut statement = sql.prepare_cached(
        "SELECT paused_at IS NOT NULL, held_until, probe_at IS NOT NULL
         FROM destinations WHERE name = ?1",
    )?;
    let found = statement.query_row([name], |row| {
        Ok(DestinationStatus {
            is_paused: row.get(0)?,
            held_until: row.get(1)?,
            is_breaker_open: row.get(2)?,
        })
    });
    Ok(found.optional()?)
}

fn scan(sql: &Connection, scan: &DueScan<'_>) -> Result<DueScanned, StoreError> {
    let newcomers = scan.newcomers.iter().map(|id| find_origin(sql, *id));
    let newcomers = newcomers.filter_map(Result::transpose);
    let newcomers = newcomers.collect::<Result<_, _>>()?;
    let part = match scan.cursor {
        Some(after) => waiting(sql, after, scan.at_most)?,
        None => ScanPart::default(),
    };
    let statuses = scan.names.iter().map(|name| status_of(sql, name));
    Ok(DueScanned {
        newcomers,
        part,
        statuses: statuses.collect::<Result<_, _>>()?,
    })
}

impl Reader {
    /// Looks for destinations with waiting deliveries.
    pub fn scan(&self, look: &DueScan<'_>) -> Result<DueScanned, StoreError> {
        self.read(|sql| scan(sql, look))
    }

    /// The waiting deliveries of these destinations, those due at `now` counted up to `counted`
    /// each; none of a destination that no longer exists.
    pub fn due(
        &self,
        destinations: impl Iterator<Item = DestinationId>,
        now: Timestamp,
        counted: usize,
    ) -> Result<Vec<Option<DestinationBacklog>>, StoreError> {
        self.read(|sql| {
            destinations
                .map(|id| backlog_of(sql, id, now, counted))
                .collect()
        })
    }
}
