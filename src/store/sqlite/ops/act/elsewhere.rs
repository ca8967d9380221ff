//! Creates deliveries to other destinations, or moves them there.

use rusqlite::params;

use super::entry::{Entry, due, insert_entry};
use crate::model::{DeliveryState, OrderKey};
use crate::store::bulk::{PAYLOAD_GONE, SKIPPED, done, wording};
use crate::store::error::StoreError;
use crate::store::sqlite::columns::{maybe_text, text};
use crate::store::sqlite::ops::{line, payload};
use crate::store::sqlite::tx::Tx;
use crate::store::types::{BulkTally, DestinationId, IntentRow};

/// Creates a delivery of an event, unless it has one at this destination.
pub fn create(
    tx: &Tx<'_>,
    intent: IntentRow,
    to: &str,
    key: Option<OrderKey>,
) -> Result<BulkTally, StoreError> {
    let found: Option<(bool, bool, bool)> = tx.first(
        "SELECT unrouted IS NOT NULL,
                EXISTS (SELECT 1 FROM deliveries WHERE intent_id = ?1),
                EXISTS (SELECT 1 FROM deliveries WHERE intent_id = ?1 AND discarded_at IS NULL)
         FROM intents WHERE id = ?1",
        [intent],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    // Retention may have deleted it since it was found.
    let Some((is_unrouted, is_delivered, has_payload)) = found else {
        return Ok(BulkTally::default());
    };
    if (is_delivered && !has_payload) || payload::is_gone(tx, intent)? {
        return Ok(PAYLOAD_GONE);
    }
    let destination = tx.destination(to, None)?;
    if has_delivery(tx, intent, destination)? {
        return Ok(SKIPPED);
    }
    insert_queued(tx, intent, destination, key, &Carried::default())?;
    let entry = Entry {
        number: 1,
        attempt: 0,
        outcome: 4,
        failure: None,
        error: None,
        next: wording::SENT_HERE,
    };
    insert_entry(tx, intent, destination, &entry)?;
    if is_unrouted {
        tx.execute("UPDATE intents SET unrouted = NULL WHERE id = ?1", [intent])?;
    }
    Ok(done(true))
}

/// Moves a waiting delivery with its history, unless the event has one at the new destination. It
/// begins there with a fresh budget. A key that is referred to can't be changed, so the row is made
/// anew.
pub fn reroute(
    tx: &Tx<'_>,
    intent: IntentRow,
    (from, to): (DestinationId, &str),
    key: Option<OrderKey>,
) -> Result<BulkTally, StoreError> {
    let found: Option<(DeliveryState, Carried, String)> = tx.first(
        "SELECT d.state, d.history, d.last_error, t.name
         FROM deliveries d JOIN destinations t ON t.id = d.destination_id
         WHERE d.intent_id = ?1 AND d.destination_id = ?2 AND d.state IN (0, 2)",
        params![intent, from],
        |row| {
            let carried = Carried {
                history: row.get(1)?,
                last_error: maybe_text(row, 2)?,
            };
            Ok((row.get(0)?, carried, text(row, 3)?))
        },
    )?;
    let Some((state, carried, name)) = found else {
        return Ok(BulkTally::default());
    };
    let to = tx.destination(to, None)?;
    if has_delivery(tx, intent, to)? {
        return Ok(SKIPPED);
    }
    line::leave(tx, intent, from)?;
    insert_queued(tx, intent, to, key, &carried)?;
    tx.execute(
        "UPDATE attempts SET destination_id = ?3 WHERE intent_id = ?1 AND destination_id = ?2",
        params![intent, from, to],
    )?;
    tx.execute(
        "DELETE FROM deliveries WHERE intent_id = ?1 AND destination_id = ?2",
        params![intent, from],
    )?;
    tx.moved(from, state, None);
    let entry = Entry {
        number: carried.history + 1,
        attempt: 0,
        outcome: 4,
        failure: None,
        error: None,
        next: &wording::rerouted_from(&name),
    };
    insert_entry(tx, intent, to, &entry)?;
    Ok(done(true))
}

fn has_delivery(
    tx: &Tx<'_>,
    intent: IntentRow,
    destination: DestinationId,
) -> Result<bool, StoreError> {
    let found = tx.first(
        "SELECT 1 FROM deliveries WHERE intent_id = ?1 AND destination_id = ?2",
        params![intent, destination],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

/// The part of an earlier delivery that a new one goes on with.
#[derive(Default)]
struct Carried {
    /// Entries of its history.
    history: i64,
    last_error: Option<String>,
}

/// Inserts a delivery that is due, or stands in its line behind another. Its place there is that of
/// its event, however late it comes.
fn insert_queued(
    tx: &Tx<'_>,
    intent: IntentRow,
    destination: DestinationId,
    key: Option<OrderKey>,
    carried: &Carried,
) -> Result<(), StoreError> {
    let due = due(tx)?;
    let next_attempt_at = match key {
        Some(key) => line::enter(tx, intent, destination, key, due)?,
        None => due,
    };
    tx.execute(
        "INSERT INTO deliveries (intent_id, destination_id, state, history, next_attempt_at,
                                 updated_at, last_error, order_key, place)
         VALUES (?1, ?2, ?3, ?4 + 1, ?5, ?6, ?7, ?8, ?9)",
        params![
            intent,
            destination,
            DeliveryState::Queued,
            carried.history,
            next_attempt_at,
            tx.now,
            carried.last_error,
            key,
            key.map(|_| intent),
        ],
    )?;
    tx.moved(destination, None, DeliveryState::Queued);
    tx.notify_dispatcher(destination);
    Ok(())
}
