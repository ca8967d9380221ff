//! Whole events, to be exported.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::clock::Timestamp;
use crate::model::{IntentId, Surface};
use crate::store::bulk::{Cursor, selection_of};
use crate::store::error::StoreError;
use crate::store::sqlite::columns::{gone_payload, intent_id, maybe_text, text, waits_until};
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::queries::bulk_reads::destination_id;
use crate::store::types::{
    AttemptEntry, DeliveryRecord, DestinationId, EventRecord, ExportCursor, GoneRecord, IntentRow,
    KeyRecord, NewBulk,
};

/// Events found in one step.
const FOUND: usize = 200;

/// The next events that a filter selects, and where to go on; none if these are the last.
fn find(
    sql: &Connection,
    new: &NewBulk,
    after: Option<ExportCursor>,
    begun: Timestamp,
) -> Result<(Vec<IntentRow>, Option<ExportCursor>), StoreError> {
    let destination = match &new.filter.destination {
        Some(name) => match destination_id(sql, name)? {
            Some(id) => Some(id),
            None => return Ok((Vec::new(), None)),
        },
        None => None,
    };
    let selection = selection_of(new, destination, None, begun);
    let start = match after {
        Some(ExportCursor(intent)) => Cursor {
            intent,
            ..selection.start()
        },
        None => selection.start(),
    };
    let page = selection.page_of(sql, start, FOUND)?;
    let found = page.selected.iter().map(|one| one.intent).collect();
    let next = (!page.is_last).then_some(ExportCursor(page.end.intent));
    Ok((found, next))
}

/// An event with its deliveries and their histories, in one snapshot. None if there is none.
fn record(sql: &Connection, intent: IntentRow) -> Result<Option<EventRecord>, StoreError> {
    let sql = &*sql.unchecked_transaction()?;
    let mut statement = sql.prepare_cached(
        "SELECT id, random, surface, created_at, label, event_type, url, query, metadata,
                idempotency_key, scope, request_digest, headers, body, checksum,
                gone, gone_at, unrouted IS NOT NULL
         FROM intents WHERE id = ?1",
    )?;
    let found = statement.query_row([intent], |row| {
        let id: IntentId = intent_id(row, 0)?;
        let key = maybe_text(row, 9)?;
        let (scope, request_digest) = (row.get(10)?, row.get(11)?);
        Ok(EventRecord {
            id: Surface::from_number(row.get(2)?).public_id(id),
            accepted_at: row.get(3)?,
            label: text(row, 4)?,
            event_type: maybe_text(row, 5)?,
            url: maybe_text(row, 6)?,
            query: maybe_text(row, 7)?,
            metadata: maybe_text(row, 8)?,
            key: key.map(|key| KeyRecord {
                key,
                scope,
                request_digest,
            }),
            headers: row.get(12)?,
            payload: row.get(13)?,
            checksum: row.get(14)?,
            payload_gone: gone_payload(row, 15)?.map(|gone| GoneRecord {
                reason: gone.reason,
                at: gone.at,
            }),
            is_unrouted: row.get(17)?,
            deliveries: Vec::new(),
        })
    });
    let Some(mut event) = found.optional()? else {
        return Ok(None);
    };
    event.deliveries = deliveries(sql, intent)?;
    Ok(Some(event))
}

fn deliveries(sql: &Connection, intent: IntentRow) -> Result<Vec<DeliveryRecord>, StoreError> {
    let mut statement = sql.prepare_cached(
        "SELECT d.destination_id, t.name, t.owner, d.state, d.attempts, d.history,
                d.next_attempt_at, d.updated_at, d.last_error, d.order_key, d.place IS NOT NULL,
                d.discarded_at
         FROM deliveries d JOIN destinations t ON t.id = d.destination_id
         WHERE d.intent_id = ?1 ORDER BY d.destination_id",
    )?;
    let rows = statement.query_map([intent], |row| {
        let destination: DestinationId = row.get(0)?;
        let record = DeliveryRecord {
            destination: text(row, 1)?,
            owner: row.get(2)?,
            status: row.get(3)?,
            attempts: row.get(4)?,
            entries: row.get(5)?,
            next_attempt_at: waits_until(row, 6)?,
            updated_at: row.get(7)?,
            last_error: maybe_text(row, 8)?,
            order_key: row.get(9)?,
            is_in_line: row.get(10)?,
            discarded_at: row.get(11)?,
            history: Vec::new(),
        };
        Ok((destination, record))
    })?;
    let mut records = Vec::new();
    for row in rows {
        let (destination, mut record) = row?;
        record.history = history(sql, intent, destination)?;
        records.push(record);
    }
    Ok(records)
}

fn history(
    sql: &Connection,
    intent: IntentRow,
    destination: DestinationId,
) -> Result<Vec<AttemptEntry>, StoreError> {
    let mut statement = sql.prepare_cached(
        "SELECT entry, attempt, started_at, duration_ms, outcome, status_code, failure, error,
                response, address, resolve_ms, connect_ms, tls_ms, first_byte_ms, next
         FROM attempts WHERE intent_id = ?1 AND destination_id = ?2 ORDER BY entry",
    )?;
    let rows = statement.query_map(params![intent, destination], |row| {
        Ok(AttemptEntry {
            entry: row.get(0)?,
            attempt: row.get(1)?,
            started_at: row.get(2)?,
            duration_ms: row.get(3)?,
            outcome: row.get(4)?,
            status_code: row.get(5)?,
            failure: maybe_text(row, 6)?,
            error: maybe_text(row, 7)?,
            response: row.get(8)?,
            address: maybe_text(row, 9)?,
            resolve_ms: row.get(10)?,
            connect_ms: row.get(11)?,
            tls_ms: row.get(12)?,
            first_byte_ms: row.get(13)?,
            next: maybe_text(row, 14)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

impl Operator {
    /// The next events that a filter selects of those accepted before an export began, oldest
    /// first, and where to go on; none if these are the last.
    pub fn find_to_export(
        &self,
        new: &NewBulk,
        after: Option<ExportCursor>,
        begun: Timestamp,
    ) -> Result<(Vec<IntentRow>, Option<ExportCursor>), StoreError> {
        self.read(|sql| find(sql, new, after, begun))
    }

    /// The row of an id; none if there is no such relay or event.
    pub fn row_of(&self, id: IntentId) -> Result<Option<IntentRow>, StoreError> {
        self.read(|sql| {
            let mut statement =
                sql.prepare_cached("SELECT id FROM intents WHERE id = ?1 AND random = ?2")?;
            let found = statement.query_row([id.row(), id.random()], |row| row.get(0));
            Ok(found.optional()?)
        })
    }

    /// An event, whole; none if it was deleted meanwhile.
    pub fn export(&self, intent: IntentRow) -> Result<Option<EventRecord>, StoreError> {
        self.read(|sql| record(sql, intent))
    }
}

#[cfg(test)]
mod tests;
