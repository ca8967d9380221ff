//! The changes that attempts cause at their destinations: holds, pauses, circuit breakers, and
//! whether they are known to answer.

use std::collections::BTreeMap;

use tokio_postgres::types::ToSql;

use super::settle::{millis, number_of};
use crate::clock::Timestamp;
use crate::model::BreakerChange;
use crate::store::postgres::in_flight::Held;
use crate::store::types::{DestinationChange, DestinationId, Settlement};

/// Stores the changes of attempts that are about to be settled: for the statement before the one
/// that settles. The delivery of each must still be as it was claimed, so that the same statement
/// made again changes nothing. $1: slot; $2: epoch; $3: now; $4 and on: destinations, a settled
/// delivery's intent, attempts and history, and the changes.
pub const CHANGE: &str = "
UPDATE relay.destinations t
SET held_until = greatest(t.held_until, u.hold_until),
    paused_at = CASE WHEN t.paused_at IS NULL AND u.pause IS NOT NULL THEN $3::int8
                     ELSE t.paused_at END,
    pause_reason = CASE WHEN t.paused_at IS NULL THEN u.pause ELSE t.pause_reason END,
    probe_at = CASE WHEN u.has_breaker THEN $3::int8 + u.probe_wait ELSE t.probe_at END,
    probe_wait = CASE WHEN u.has_breaker THEN u.probe_wait ELSE t.probe_wait END,
    proven_at = CASE WHEN u.is_proven THEN $3::int8 WHEN NOT u.is_proven THEN NULL
                     ELSE t.proven_at END
FROM unnest($4::int4[], $5::int8[], $6::int4[], $7::int4[], $8::int8[], $9::bytea[], $10::bool[],
            $11::int8[], $12::bool[])
     AS u(d, i, attempt, history, hold_until, pause, has_breaker, probe_wait, is_proven)
WHERE t.id = u.d
  AND EXISTS (SELECT 1 FROM relay.nodes WHERE slot = $1::int2 AND epoch = $2::int8)
  AND EXISTS (SELECT 1 FROM relay.waiting w
              WHERE w.intent_id = ANY(ARRAY[u.i]) AND w.destination_id = ANY(ARRAY[u.d])
                AND w.attempts = u.attempt - 1 AND w.history = u.history)";

/// Forgets circuit breakers that are no longer configured. $1: slot; $2: epoch; $3: destinations.
pub const CLOSE_BREAKERS: &str = "UPDATE relay.destinations SET probe_at = NULL, probe_wait = NULL
     WHERE id = ANY($3::int4[])
       AND EXISTS (SELECT 1 FROM relay.nodes WHERE slot = $1::int2 AND epoch = $2::int8)";

/// Deliveries to these ad hoc origins have ended: a pass over unused origins that marked them
/// before may have missed those. $1: destinations.
pub const IN_USE: &str = "UPDATE relay.destinations SET unused_by = NULL
     WHERE id = ANY($1::int4[]) AND unused_by IS NOT NULL";

/// The columns of changes, one row for each destination.
#[derive(Default)]
pub struct Columns<'a> {
    pub destinations: Vec<i32>,
    intents: Vec<i64>,
    attempts: Vec<i32>,
    histories: Vec<i32>,
    holds: Vec<Option<i64>>,
    pauses: Vec<Option<&'a [u8]>>,
    has_breaker: Vec<bool>,
    probe_waits: Vec<Option<i64>>,
    proven: Vec<Option<bool>>,
}

impl Columns<'_> {
    /// The changes of settlements, those of one destination together. All are settled in one
    /// transaction, so any of its deliveries tells whether that was made.
    pub fn of(settled: &[(Settlement, Held)]) -> Self {
        let mut of: BTreeMap<DestinationId, (Held, DestinationChange)> = BTreeMap::new();
        for (settlement, held) in settled {
            let new = settlement.change;
            if is_none(&new) {
                continue;
            }
            let (_, change) = of
                .entry(settlement.claim.destination)
                .or_insert((*held, DestinationChange::default()));
            change.hold_until = change.hold_until.max(new.hold_until);
            change.pause = change.pause.or(new.pause);
            change.breaker = new.breaker.or(change.breaker);
            change.is_proven = new.is_proven.or(change.is_proven);
        }
        let mut columns = Self::default();
        for (destination, (held, change)) in of {
            columns.add(destination, &held, &change);
        }
        columns
    }

    fn add(&mut self, destination: DestinationId, held: &Held, change: &DestinationChange) {
        self.destinations.push(number_of(destination.0));
        self.intents.push(held.claimed.intent.0);
        self.attempts.push(number_of(held.claimed.attempt));
        self.histories.push(number_of(held.claimed.history));
        self.holds.push(change.hold_until.map(Timestamp::as_millis));
        self.pauses.push(change.pause.map(str::as_bytes));
        self.has_breaker.push(change.breaker.is_some());
        self.probe_waits.push(match change.breaker {
            Some(BreakerChange::Open(wait)) => Some(millis(wait)),
            Some(BreakerChange::Closed) | None => None,
        });
        self.proven.push(change.is_proven);
    }

    /// The parameters from $4 on.
    pub fn params(&self) -> [&(dyn ToSql + Sync); 9] {
        [
            &self.destinations,
            &self.intents,
            &self.attempts,
            &self.histories,
            &self.holds,
            &self.pauses,
            &self.has_breaker,
            &self.probe_waits,
            &self.proven,
        ]
    }
}

fn is_none(change: &DestinationChange) -> bool {
    let DestinationChange {
        hold_until,
        pause,
        breaker,
        is_proven,
    } = change;
    hold_until.is_none() && pause.is_none() && breaker.is_none() && is_proven.is_none()
}
