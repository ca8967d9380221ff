//! The statement that records the outcomes of attempts.
//!
//! It changes rows only if the node's row is still there, in each of its parts: parts run whether
//! or not others find anything. And only if the delivery has the attempts and the history that it
//! was claimed with: then the same statement made again changes nothing. No claim is changed, since
//! it keeps the history of before; a turn that is over is deleted.

use std::time::Duration;

use tokio_postgres::types::ToSql;

use crate::model::{DeliveryState, Transition};
use crate::store::error::StoreError;
use crate::store::postgres::in_flight::Held;
use crate::store::types::Settlement;

/// The record of an attempt comes with the row that it changes. Joined with the input again, each
/// would be compared with each: sessions have neither hash nor merge joins.
///
/// $1: slot; $2: epoch; $3: now; $4: turns that are over; from $5: columns of the settlements.
/// Returns how often the node's row is there.
pub const SETTLE: &str = "
WITH fence AS MATERIALIZED (
    SELECT 1 FROM relay.nodes WHERE slot = $1::int2 AND epoch = $2::int8 FOR KEY SHARE
), input AS MATERIALIZED (
    SELECT * FROM unnest(
        $5::int8[], $6::int4[], $7::int4[], $8::int4[], $9::int2[], $10::int8[], $11::bool[],
        $12::int8[], $13::int8[], $14::int2[], $15::int4[], $16::bytea[], $17::bytea[],
        $18::text[], $19::text[], $20::int8[], $21::int8[], $22::int8[], $23::int8[], $24::bytea[])
    AS t(intent_id, destination_id, attempt, history, state, next_at, keeps_place,
         started_at, duration_ms, outcome, status_code, error, response,
         failure, address, resolve_ms, connect_ms, tls_ms, first_byte_ms, next)
), gone AS (
    DELETE FROM relay.waiting w USING input i
    WHERE i.state IN (3, 4)
      AND w.intent_id = ANY(ARRAY[i.intent_id]) AND w.destination_id = ANY(ARRAY[i.destination_id])
      AND w.attempts = i.attempt - 1 AND w.history = i.history
      AND EXISTS (SELECT 1 FROM fence)
    RETURNING i.*, w.last_error, w.order_key, CASE WHEN i.keeps_place THEN w.place END AS place
), again AS (
    UPDATE relay.waiting w
    SET state = i.state, next_attempt_at = i.next_at, attempts = i.attempt,
        history = i.history + 1, interruptions = 0, updated_at = $3::int8,
        last_error = coalesce(i.error, w.last_error)
    FROM input i
    WHERE i.state IN (0, 2)
      AND w.intent_id = ANY(ARRAY[i.intent_id]) AND w.destination_id = ANY(ARRAY[i.destination_id])
      AND w.attempts = i.attempt - 1 AND w.history = i.history
      AND EXISTS (SELECT 1 FROM fence)
    RETURNING i.*
), finished AS (
    INSERT INTO relay.ended (intent_id, destination_id, state, attempts, history, updated_at,
                             last_error, order_key, place)
    SELECT intent_id, destination_id, state, attempt, history + 1, $3::int8,
           coalesce(error, last_error), order_key, place
    FROM gone
), recorded AS (
    INSERT INTO relay.attempts (intent_id, destination_id, entry, attempt, started_at, duration_ms,
                                outcome, status_code, error, response, failure, address,
                                resolve_ms, connect_ms, tls_ms, first_byte_ms, next)
    SELECT intent_id, destination_id, history + 1, attempt, started_at, duration_ms, outcome,
           status_code, error, response, failure, address, resolve_ms, connect_ms, tls_ms,
           first_byte_ms, next
    FROM gone
    UNION ALL
    SELECT intent_id, destination_id, history + 1, attempt, started_at, duration_ms, outcome,
           status_code, error, response, failure, address, resolve_ms, connect_ms, tls_ms,
           first_byte_ms, next
    FROM again
), over AS (
    DELETE FROM relay.claims
    WHERE epoch = $2::int8 AND turn = ANY($4::int8[]) AND EXISTS (SELECT 1 FROM fence)
)
SELECT count(*) FROM fence";

/// Deletes entries of histories that are too long. $1: slot; $2: epoch; $3, $4: deliveries; $5: the
/// last entry of each that is not kept.
pub const SHORTEN: &str = "DELETE FROM relay.attempts a
     USING unnest($3::int8[], $4::int4[], $5::int4[]) AS u(i, d, e)
     WHERE a.intent_id = u.i AND a.destination_id = u.d AND a.entry <= u.e
       AND EXISTS (SELECT 1 FROM relay.nodes WHERE slot = $1::int2 AND epoch = $2::int8)";

/// The columns of settlements.
#[derive(Default)]
pub struct Columns<'a> {
    intents: Vec<i64>,
    destinations: Vec<i32>,
    attempts: Vec<i32>,
    histories: Vec<i32>,
    states: Vec<i16>,
    next: Vec<Option<i64>>,
    keep_place: Vec<bool>,
    started: Vec<i64>,
    took: Vec<i64>,
    outcomes: Vec<i16>,
    codes: Vec<Option<i32>>,
    errors: Vec<Option<&'a [u8]>>,
    responses: Vec<Option<&'a [u8]>>,
    failures: Vec<Option<&'static str>>,
    addresses: Vec<Option<&'a str>>,
    resolve: Vec<Option<i64>>,
    connect: Vec<Option<i64>>,
    tls: Vec<Option<i64>>,
    first_byte: Vec<Option<i64>>,
    next_steps: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    pub fn of(settled: &'a [(Settlement, Held)]) -> Result<Self, StoreError> {
        let mut columns = Self::default();
        for (settlement, held) in settled {
            columns.add(settlement, held)?;
        }
        Ok(columns)
    }

    fn add(&mut self, settlement: &'a Settlement, held: &Held) -> Result<(), StoreError> {
        let record = &settlement.record;
        self.intents.push(settlement.claim.intent.0);
        self.destinations
            .push(number_of(settlement.claim.destination.0));
        self.attempts.push(number_of(held.claimed.attempt));
        self.histories.push(number_of(held.claimed.history));
        self.states.push(state_after(settlement.transition)?);
        self.next.push(
            settlement
                .next_attempt_at
                .map(crate::clock::Timestamp::as_millis),
        );
        self.keep_place.push(!settlement.leaves_its_line());
        self.started.push(record.started_at.as_millis());
        self.took.push(millis(record.took));
        self.outcomes.push(outcome(settlement));
        self.codes.push(record.status_code.map(i32::from));
        self.errors.push(record.error.as_deref().map(str::as_bytes));
        self.responses.push(record.response.as_deref());
        self.failures.push(record.failure);
        self.addresses.push(record.address.as_deref());
        self.resolve.push(record.resolve.map(millis));
        self.connect.push(record.connect.map(millis));
        self.tls.push(record.tls.map(millis));
        self.first_byte.push(record.first_byte.map(millis));
        self.next_steps.push(record.next.as_bytes());
        Ok(())
    }

    pub fn destinations(&self) -> &[i32] {
        &self.destinations
    }

    /// The parameters from $5 on.
    pub fn params(&self) -> [&(dyn ToSql + Sync); 20] {
        [
            &self.intents,
            &self.destinations,
            &self.attempts,
            &self.histories,
            &self.states,
            &self.next,
            &self.keep_place,
            &self.started,
            &self.took,
            &self.outcomes,
            &self.codes,
            &self.errors,
            &self.responses,
            &self.failures,
            &self.addresses,
            &self.resolve,
            &self.connect,
            &self.tls,
            &self.first_byte,
            &self.next_steps,
        ]
    }
}

/// A number as the database holds it. Numbers of attempts and destinations are far smaller.
pub fn number_of(number: impl TryInto<i32>) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}

/// The number of the state that a step leads to from `processing`.
fn state_after(transition: Transition) -> Result<i16, StoreError> {
    let state = transition.apply(DeliveryState::Processing);
    let state = state
        .ok_or_else(|| StoreError::Unexpected(format!("{transition:?} can't follow an attempt")))?;
    Ok(i16::try_from(state.number()).expect("there are five states"))
}

/// The number of an attempt's outcome in `attempts.outcome`.
fn outcome(settlement: &Settlement) -> i16 {
    match settlement.transition {
        Transition::Deliver => 0,
        _ if settlement.record.is_transient => 1,
        _ => 2,
    }
}

pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
