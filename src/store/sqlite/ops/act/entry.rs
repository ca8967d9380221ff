//! The entry that an act leaves in a history, and what all acts share.

use rusqlite::params;

use crate::clock::Timestamp;
use crate::model::{DeliveryState, FailureKind};
use crate::store::error::StoreError;
use crate::store::sqlite::tx::Tx;
use crate::store::types::{DestinationId, IntentRow};

/// A delivery as it was found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub intent: IntentRow,
    pub destination: DestinationId,
    pub state: DeliveryState,
    /// None: whenever it was last changed.
    pub updated_at: Option<Timestamp>,
}

/// When something that a command makes due is due: its clock may be off, so it is due by the newest
/// time that a server has written.
pub fn due(tx: &Tx<'_>) -> Result<Timestamp, StoreError> {
    if !tx.is_operators() {
        return Ok(tx.now);
    }
    // NULL without any event.
    let newest: Option<Option<Timestamp>> =
        tx.first("SELECT max(id) >> 12 FROM intents", [], |row| row.get(0))?;
    Ok(newest.flatten().unwrap_or(tx.now).min(tx.now))
}

/// An entry in a history. Its outcome is `replayed` (4) for what is queued again, and `permanent`
/// (2) for what is given up: the contract names no others. An attempt of 0 is none.
pub struct Entry<'a> {
    pub number: i64,
    pub attempt: i64,
    pub outcome: i64,
    pub failure: Option<FailureKind>,
    pub error: Option<&'a str>,
    pub next: &'a str,
}

pub fn insert_entry(
    tx: &Tx<'_>,
    intent: IntentRow,
    destination: DestinationId,
    entry: &Entry<'_>,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT OR REPLACE INTO attempts (intent_id, destination_id, entry, attempt, started_at,
                               duration_ms, outcome, error, next, failure)
         VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8, ?9)",
        params![
            intent,
            destination,
            entry.number,
            entry.attempt,
            tx.now,
            entry.outcome,
            entry.error,
            entry.next,
            entry.failure.map(FailureKind::name),
        ],
    )?;
    Ok(())
}
