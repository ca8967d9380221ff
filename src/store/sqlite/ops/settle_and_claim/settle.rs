//! Records the results of attempts, and releases claims.

use std::time::Duration;

use rusqlite::params;

use crate::model::{BreakerChange, DeliveryState, OrderKey, Transition};
use crate::store::error::StoreError;
use crate::store::limits::MAX_HISTORY;
use crate::store::sqlite::ops::line;
use crate::store::sqlite::tx::Tx;
use crate::store::types::{Claim, DestinationChange, DestinationId, Release, Settlement};

/// The state that a step leads to from `processing`.
fn state_after(transition: Transition) -> Result<DeliveryState, StoreError> {
    transition
        .apply(DeliveryState::Processing)
        .ok_or_else(|| StoreError::Unexpected(format!("{transition:?} can't follow an attempt")))
}

/// Records the result of an attempt. Guarded by state and claim: a delivery that this claim no
/// longer owns stays as it is.
pub fn settle(settlement: &Settlement, tx: &Tx<'_>) -> Result<(), StoreError> {
    let Claim {
        intent,
        destination,
        id,
    } = settlement.claim;
    let state = state_after(settlement.transition)?;
    // Read before it is updated: RETURNING costs 1.2 µs, a look at the same row less.
    let owned: Option<(i64, Option<OrderKey>)> = tx.first(
        "SELECT history + 1, iif(place IS NULL, NULL, order_key) FROM deliveries
         WHERE intent_id = ?1 AND destination_id = ?2 AND state = ?3 AND claim = ?4",
        params![intent, destination, DeliveryState::Processing, id],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let Some((entry, in_line)) = owned else {
        log::warn!(
            intent = intent.0, destination = destination.0;
            "an attempt ended whose delivery was no longer claimed by it"
        );
        return Ok(());
    };
    tx.execute(
        "UPDATE deliveries
         SET state = ?1, claim = NULL, next_attempt_at = ?2, updated_at = ?3,
             history = ?4, interruptions = 0, last_error = coalesce(?5, last_error)
         WHERE intent_id = ?6 AND destination_id = ?7",
        params![
            state,
            settlement.next_attempt_at,
            tx.now,
            entry,
            settlement.record.error,
            intent,
            destination,
        ],
    )?;
    tx.moved(destination, DeliveryState::Processing, state);
    if let Some(key) = in_line {
        if settlement.leaves_its_line() {
            line::leave_first(tx, intent, destination, key)?;
        } else if state == DeliveryState::DeadLettered {
            tx.blocked(destination);
        }
    }
    insert_attempt(settlement, entry, tx)?;
    if entry > MAX_HISTORY {
        tx.execute(
            "DELETE FROM attempts WHERE intent_id = ?1 AND destination_id = ?2 AND entry <= ?3",
            params![intent, destination, entry - MAX_HISTORY],
        )?;
    }
    change_destination(destination, &settlement.change, tx)
}

/// The number of an attempt's outcome in `attempts.outcome`.
fn outcome(settlement: &Settlement) -> i64 {
    match settlement.transition {
        Transition::Deliver => 0,
        _ if settlement.record.is_transient => 1,
        _ => 2,
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn insert_attempt(settlement: &Settlement, entry: i64, tx: &Tx<'_>) -> Result<(), StoreError> {
    let record = &settlement.record;
    tx.execute(
        "INSERT OR REPLACE INTO attempts (intent_id, destination_id, entry, attempt, started_at,
                               duration_ms, outcome, status_code, error, response, failure,
                               address, resolve_ms, connect_ms, first_byte_ms, next, tls_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,
                 ?17)",
        params![
            settlement.claim.intent,
            settlement.claim.destination,
            entry,
            record.attempt,
            record.started_at,
            millis(record.took),
            outcome(settlement),
            record.status_code,
            record.error,
            record.response,
            record.failure,
            record.address,
            record.resolve.map(millis),
            record.connect.map(millis),
            record.first_byte.map(millis),
            record.next,
            record.tls.map(millis),
        ],
    )?;
    Ok(())
}

fn change_destination(
    destination: DestinationId,
    change: &DestinationChange,
    tx: &Tx<'_>,
) -> Result<(), StoreError> {
    if let Some(until) = change.hold_until {
        tx.execute(
            "UPDATE destinations SET held_until = max(coalesce(held_until, 0), ?1) WHERE id = ?2",
            params![until, destination],
        )?;
    }
    if let Some(reason) = change.pause {
        tx.execute(
            "UPDATE destinations SET paused_at = ?1, pause_reason = ?2
             WHERE id = ?3 AND paused_at IS NULL",
            params![tx.now, reason, destination],
        )?;
    }
    if let Some(change) = change.breaker {
        store_breaker(destination, change, tx)?;
    }
    if let Some(is_proven) = change.is_proven {
        tx.execute(
            "UPDATE destinations SET proven_at = ?1 WHERE id = ?2",
            params![is_proven.then_some(tx.now), destination],
        )?;
    }
    Ok(())
}

/// Stores a circuit breaker's state for the next process.
pub fn store_breaker(
    destination: DestinationId,
    change: BreakerChange,
    tx: &Tx<'_>,
) -> Result<(), StoreError> {
    let wait = match change {
        BreakerChange::Open(wait) => Some(wait),
        BreakerChange::Closed => None,
    };
    tx.execute(
        "UPDATE destinations SET probe_at = ?1, probe_wait = ?2 WHERE id = ?3",
        params![
            wait.map(|wait| tx.now.plus(wait)),
            wait.map(millis),
            destination
        ],
    )?;
    Ok(())
}

/// Gives up a claim. The claim counted an attempt, which is given back: none was made, or none is
/// known to have failed.
pub fn release(release: &Release, tx: &Tx<'_>) -> Result<(), StoreError> {
    let Release {
        intent,
        destination,
        claim,
        ..
    } = *release;
    let state = state_after(Transition::Release)?;
    let released = tx.execute(
        "UPDATE deliveries
         SET state = ?1, claim = NULL, next_attempt_at = ?2, updated_at = ?3,
             attempts = attempts - 1
         WHERE intent_id = ?4 AND destination_id = ?5 AND state = ?6 AND claim = ?7",
        params![
            state,
            release.due_at(tx.now),
            tx.now,
            intent,
            destination,
            DeliveryState::Processing,
            claim,
        ],
    )?;
    if released > 0 {
        tx.moved(destination, DeliveryState::Processing, state);
    }
    Ok(())
}
