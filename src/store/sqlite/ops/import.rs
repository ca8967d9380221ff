//! Imports events with their deliveries and histories, in steps.

use std::ops::Range;
use std::sync::Arc;

use rusqlite::params;

use crate::model::{DeliveryState, OrderKey, Surface};
use crate::store::error::StoreError;
use crate::store::limits::MAX_BATCH_BYTES;
use crate::store::row_budget::RowBudget;
use crate::store::sqlite::columns::BLOCKED;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::ops::line;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::{LongWrite, WriteOp};
use crate::store::types::{
    AttemptEntry, Checksum, DeliveryRecord, DestinationId, IdempotencyKey, ImportTally,
    ImportedEvent, IntentRow, OwnerId, PayloadDigest,
};

/// Events to import. A step that failed is made again: the events that are there already are
/// skipped.
struct Import {
    events: Arc<Vec<ImportedEvent>>,
    keeps_pending: bool,
    done: usize,
    next: usize,
    tally: ImportTally,
}

impl LongWrite for Import {
    type Step = ImportStep;

    fn next_step(&mut self, rows: usize) -> Option<ImportStep> {
        let rest = &self.events[self.done..];
        let mut budget = RowBudget::of(rows);
        let mut bytes = 0;
        let mut count = 0;
        for event in rest {
            let size = event.size();
            bytes += size.1;
            if !budget.spend(size.0) || (count > 0 && bytes > MAX_BATCH_BYTES) {
                break;
            }
            count += 1;
        }
        self.next = self.done + count;
        (count > 0).then(|| ImportStep {
            events: Arc::clone(&self.events),
            range: self.done..self.next,
            keeps_pending: self.keeps_pending,
        })
    }

    fn committed(&mut self, tally: ImportTally) {
        self.done = self.next;
        self.tally += tally;
    }
}

/// One transaction's share of an [`Import`].
struct ImportStep {
    events: Arc<Vec<ImportedEvent>>,
    range: Range<usize>,
    keeps_pending: bool,
}

impl WriteOp for ImportStep {
    type Out = ImportTally;

    fn apply(&self, tx: &Tx<'_>) -> Result<ImportTally, StoreError> {
        let mut tally = ImportTally::default();
        for event in &self.events[self.range.clone()] {
            if !insert_intent(tx, event)? {
                if is_there(tx, event)? {
                    tally.skipped += 1;
                } else {
                    tally.taken += 1;
                    tally.first_taken = tally.first_taken.or(Some(event.public_id()));
                }
                continue;
            }
            tally.imported += 1;
            for delivery in &event.record.deliveries {
                let intent = IntentRow::of(event.id);
                tally.given_up += usize::from(self.insert_delivery(tx, intent, delivery)?);
            }
        }
        Ok(tally)
    }

    fn rows(&self) -> usize {
        let events = &self.events[self.range.clone()];
        events.iter().map(|event| event.size().0).sum()
    }
}

/// Whether the row of an event holds that event. Relays number the rows of each millisecond alike:
/// it may hold another one, of another relay's.
fn is_there(tx: &Tx<'_>, event: &ImportedEvent) -> Result<bool, StoreError> {
    let random: Option<i64> = tx.first(
        "SELECT random FROM intents WHERE id = ?1",
        [event.id.row()],
        |row| row.get(0),
    )?;
    Ok(random == Some(event.id.random()))
}

/// Inserts an event and its key; false if its row is there.
fn insert_intent(tx: &Tx<'_>, event: &ImportedEvent) -> Result<bool, StoreError> {
    let (id, record) = (event.id, &event.record);
    let surface = if event.is_event {
        Surface::Event
    } else {
        Surface::Relay
    };
    let gone = record.payload_gone.as_ref();
    let digest = || PayloadDigest::of(&record.headers.0, &record.payload.0);
    // The checksum that came along: bytes that were damaged before the export are so here.
    let checksum = record.checksum.map(Checksum);
    let checksum = checksum.unwrap_or_else(|| digest().in_row(IntentRow::of(id)));
    let inserted = tx.execute(
        "INSERT OR IGNORE INTO intents (id, random, surface, created_at, label, url, scope,
                                        idempotency_key, request_digest, metadata, headers, body,
                                        event_type, query, unrouted, checksum, gone, gone_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
        params![
            id.row(),
            id.random(),
            surface as i64,
            record.accepted_at,
            record.label,
            record.url,
            record.key.as_ref().and_then(|key| key.scope),
            record.key.as_ref().map(|key| &key.key),
            record
                .key
                .as_ref()
                .and_then(|key| key.request_digest.as_ref()),
            record.metadata,
            record.headers,
            record.payload,
            record.event_type,
            record.query,
            record.is_unrouted.then_some(1),
            gone.is_none().then_some(checksum),
            gone.map(|gone| gone.reason),
            gone.map(|gone| gone.at),
        ],
    )?;
    if inserted == 0 {
        return Ok(false);
    }
    if let Some(key) = &record.key {
        // A start doesn't read the keys of old events from their rows.
        let label = if event.is_event {
            record.label.as_str()
        } else {
            ""
        };
        let digest = IdempotencyKey::digest_of(key.scope.map(OwnerId), label, &key.key);
        tx.execute(
            "INSERT OR IGNORE INTO idempotency (digest, intent_id) VALUES (?1, ?2)",
            params![digest, id.row()],
        )?;
    }
    Ok(true)
}

impl ImportStep {
    /// Inserts a delivery with its history; whether it came in as a dead letter because it waited.
    fn insert_delivery(
        &self,
        tx: &Tx<'_>,
        intent: IntentRow,
        record: &DeliveryRecord,
    ) -> Result<bool, StoreError> {
        let destination = tx.destination(&record.destination, record.owner.map(OwnerId))?;
        let key = record.order_key.map(OrderKey::from_number);
        let is_pending = !record.status.is_final();
        let is_given_up = is_pending && !self.keeps_pending;
        let is_dead = record.status == DeliveryState::DeadLettered;
        let mut place = None;
        let (mut state, mut due) = (record.status, None);
        let mut last_error = record.last_error.clone();
        if is_given_up {
            state = DeliveryState::DeadLettered;
            let before = last_error.map_or_else(String::new, |error| format!(": {error}"));
            last_error = Some(format!("imported while {}{before}", record.status.name()));
        } else if is_pending {
            // An attempt under way is somebody else's.
            if state == DeliveryState::Processing {
                state = DeliveryState::Queued;
            }
            let at = record.next_attempt_at.unwrap_or(record.updated_at);
            due = Some(match key {
                Some(key) => line::enter(tx, intent, destination, key, at)?,
                None => at,
            });
            place = key.map(|_| intent);
        } else if let Some(key) = key.filter(|_| record.is_in_line && is_dead) {
            // A dead letter that blocks its line, unless another one or an attempt that was made
            // stands before it. Later events make room for it, in whatever order the lines come.
            let at = line::enter(tx, intent, destination, key, record.updated_at)?;
            place = (at != BLOCKED).then_some(intent);
        }
        tx.execute(
            "INSERT INTO deliveries (intent_id, destination_id, state, attempts, history,
                                     next_attempt_at, updated_at, last_error, order_key, place,
                                     discarded_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            params![
                intent,
                destination,
                state,
                record.attempts,
                record.entries,
                due,
                record.updated_at,
                last_error,
                key,
                place,
                record.discarded_at,
            ],
        )?;
        for entry in &record.history {
            insert_entry(tx, intent, destination, entry)?;
        }
        // A discarded one isn't counted among the dead letters.
        tx.moved(
            destination,
            None,
            record.discarded_at.is_none().then_some(state),
        );
        if state == DeliveryState::DeadLettered && place.is_some() {
            tx.blocked(destination);
        }
        Ok(is_given_up)
    }
}

fn insert_entry(
    tx: &Tx<'_>,
    intent: IntentRow,
    destination: DestinationId,
    entry: &AttemptEntry,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO attempts (intent_id, destination_id, entry, attempt, started_at,
                               duration_ms, outcome, status_code, error, response, failure,
                               address, resolve_ms, connect_ms, first_byte_ms, next, tls_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        params![
            intent,
            destination,
            entry.entry,
            entry.attempt,
            entry.started_at,
            entry.duration_ms,
            entry.outcome as i64,
            entry.status_code,
            entry.error,
            entry.response,
            entry.failure,
            entry.address,
            entry.resolve_ms,
            entry.connect_ms,
            entry.first_byte_ms,
            entry.next,
            entry.tls_ms,
        ],
    )?;
    Ok(())
}

impl Operator {
    /// Imports events, unless their ids are there. Without `keeps_pending` the deliveries that
    /// waited become dead letters, so that nothing is due.
    pub fn import(
        &mut self,
        events: Vec<ImportedEvent>,
        keeps_pending: bool,
    ) -> Result<ImportTally, StoreError> {
        let mut import = Import {
            events: Arc::new(events),
            keeps_pending,
            done: 0,
            next: 0,
            tally: ImportTally::default(),
        };
        self.write_steps(&mut import)?;
        Ok(import.tally)
    }
}
