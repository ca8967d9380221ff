//! Marks deliveries of a restored backup as delivered, which the database that it replaced has
//! delivered.

use rusqlite::params;

use super::pending::PendingDelivery;
use crate::model::DeliveryState;
use crate::store::error::StoreError;
use crate::store::sqlite::ops::{Entry, insert_entry, line};
use crate::store::sqlite::tx::Tx;

/// The outcome `delivered` in a history.
const DELIVERED: i64 = 0;

/// Marks pending deliveries as delivered; how many still were pending.
pub fn settle(tx: &Tx<'_>, delivered: &[PendingDelivery]) -> Result<i64, StoreError> {
    let mut settled = 0;
    for one in delivered {
        line::leave(tx, one.intent, one.destination)?;
        let number: Option<i64> = tx.first(
            "UPDATE deliveries
             SET state = ?3, next_attempt_at = NULL, claim = NULL, updated_at = ?4,
                 history = history + 1
             WHERE intent_id = ?1 AND destination_id = ?2 AND state = ?5
             RETURNING history",
            params![
                one.intent,
                one.destination,
                DeliveryState::Delivered,
                tx.now,
                one.state
            ],
            |row| row.get(0),
        )?;
        let Some(number) = number else { continue };
        let entry = Entry {
            failure: None,
            number,
            attempt: 0,
            outcome: DELIVERED,
            error: None,
            next: "delivered after the backup, according to the database that was kept aside",
        };
        insert_entry(tx, one.intent, one.destination, &entry)?;
        tx.moved(one.destination, one.state, DeliveryState::Delivered);
        settled += 1;
    }
    Ok(settled)
}
