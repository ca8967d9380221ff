//! The outcome of an act that is not made, for a dry run.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::model::DeliveryState;
use crate::store::error::StoreError;
use crate::store::sqlite::ops::act::{Act, Does};
use crate::store::sqlite::queries::destination_id;
use crate::store::types::{BulkAction, BulkTally, GoneReason, IntentRow};

/// The tally of an act, as [`Act::apply`] would return it now.
pub fn foresee(sql: &Connection, act: &Act) -> Result<BulkTally, StoreError> {
    let (intent, mut tally) = (act.intent, BulkTally::default());
    let counted = match &act.does {
        Does::Change {
            action: BulkAction::Replay,
            ..
        } if gone(sql, intent)?.is_some() => &mut tally.payload_gone,
        Does::Create { .. } if !has_payload(sql, intent)? => &mut tally.payload_gone,
        Does::Create { to, .. } | Does::Move { to, .. } if has_delivery(sql, intent, to)? => {
            &mut tally.skipped
        }
        Does::Erase { .. } if gone(sql, intent)? == Some(GoneReason::Erased) => &mut tally.skipped,
        Does::Erase { waits: true } if is_in_flight(sql, intent)? => &mut tally.in_flight,
        _ => &mut tally.done,
    };
    *counted = 1;
    Ok(tally)
}

/// Why the payload of an intent is gone, if it was erased or shed.
fn gone(sql: &Connection, intent: IntentRow) -> Result<Option<GoneReason>, StoreError> {
    let mut statement = sql.prepare_cached(
        "SELECT iif(length(body) + length(headers) = 0, gone, NULL) FROM intents WHERE id = ?1",
    )?;
    // Retention may have deleted it since it was found.
    let found: Option<Option<GoneReason>> =
        statement.query_row([intent], |row| row.get(0)).optional()?;
    Ok(found.flatten())
}

/// Whether an intent can be sent: neither its payload nor all of its deliveries are gone.
fn has_payload(sql: &Connection, intent: IntentRow) -> Result<bool, StoreError> {
    let mut statement = sql.prepare_cached(
        "SELECT NOT EXISTS (SELECT 1 FROM deliveries WHERE intent_id = ?1)
             OR EXISTS (SELECT 1 FROM deliveries WHERE intent_id = ?1 AND discarded_at IS NULL)",
    )?;
    let is_kept: bool = statement.query_row([intent], |row| row.get(0))?;
    Ok(is_kept && gone(sql, intent)?.is_none())
}

fn has_delivery(sql: &Connection, intent: IntentRow, name: &str) -> Result<bool, StoreError> {
    let Some(destination) = destination_id(sql, name)? else {
        return Ok(false);
    };
    let mut statement = sql
        .prepare_cached("SELECT 1 FROM deliveries WHERE intent_id = ?1 AND destination_id = ?2")?;
    Ok(statement.exists(params![intent, destination])?)
}

fn is_in_flight(sql: &Connection, intent: IntentRow) -> Result<bool, StoreError> {
    let mut statement =
        sql.prepare_cached("SELECT 1 FROM deliveries WHERE intent_id = ?1 AND state = ?2")?;
    Ok(statement.exists(params![intent, DeliveryState::Processing])?)
}
