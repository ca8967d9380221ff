//! Gives up claims without an attempt.

use tokio_postgres::types::ToSql;

use super::settle::number_of;
use crate::clock::Timestamp;
use crate::store::postgres::in_flight::Held;
use crate::store::types::Release;

/// Makes deliveries due again that are still claimed, and takes them out of their turns: a claim on
/// the attempt 0 matches nothing. $1: slot; $2: epoch; $3: now; $4 and on: the releases' intents,
/// destinations, turns, numbers in the turn, attempts, histories, and when each is due.
pub const RELEASE: &str = "
WITH fence AS MATERIALIZED (
    SELECT 1 FROM relay.nodes WHERE slot = $1::int2 AND epoch = $2::int8 FOR KEY SHARE
), input AS MATERIALIZED (
    SELECT * FROM unnest($4::int8[], $5::int4[], $6::int8[], $7::int4[], $8::int4[], $9::int4[],
                         $10::int8[])
    AS t(intent_id, destination_id, turn, nth, attempt, history, due)
), back AS (
    UPDATE relay.waiting w SET state = 0, next_attempt_at = i.due, updated_at = $3::int8
    FROM input i
    WHERE w.intent_id = ANY(ARRAY[i.intent_id]) AND w.destination_id = ANY(ARRAY[i.destination_id])
      AND w.attempts = i.attempt - 1 AND w.history = i.history
      AND EXISTS (SELECT 1 FROM fence)
      AND EXISTS (SELECT 1 FROM relay.claims c
                  WHERE c.epoch = $2::int8 AND c.turn = i.turn
                    AND c.attempts[i.nth] = i.attempt AND c.intents[i.nth] = i.intent_id)
), released AS (
    UPDATE relay.claims c
    SET attempts = (SELECT array_agg(CASE WHEN u.nth = ANY(r.released) THEN 0 ELSE u.attempt END
                                     ORDER BY u.nth)
                    FROM unnest(c.attempts) WITH ORDINALITY AS u(attempt, nth))
    FROM (SELECT turn, array_agg(nth) AS released FROM input GROUP BY turn) AS r
    WHERE c.epoch = $2::int8 AND c.turn = r.turn AND EXISTS (SELECT 1 FROM fence)
)
SELECT count(*) FROM fence";

/// Deletes turns of which nothing is left. $1: slot; $2: epoch; $3: turns.
pub const END_TURNS: &str = "DELETE FROM relay.claims
     WHERE epoch = $2::int8 AND turn = ANY($3::int8[])
       AND EXISTS (SELECT 1 FROM relay.nodes WHERE slot = $1::int2 AND epoch = $2::int8)";

/// The columns of releases.
#[derive(Default)]
pub struct Columns {
    intents: Vec<i64>,
    destinations: Vec<i32>,
    turns: Vec<i64>,
    places: Vec<i32>,
    attempts: Vec<i32>,
    histories: Vec<i32>,
    due: Vec<i64>,
}

impl Columns {
    pub fn of(released: &[(Release, Held)], now: Timestamp) -> Self {
        let mut columns = Self::default();
        for (release, held) in released {
            columns.intents.push(release.intent.0);
            columns.destinations.push(number_of(release.destination.0));
            columns.turns.push(held.turn);
            columns.places.push(held.nth);
            columns.attempts.push(number_of(held.claimed.attempt));
            columns.histories.push(number_of(held.claimed.history));
            columns.due.push(release.due_at(now).as_millis());
        }
        columns
    }

    /// The parameters from $4 on.
    pub fn params(&self) -> [&(dyn ToSql + Sync); 7] {
        [
            &self.intents,
            &self.destinations,
            &self.turns,
            &self.places,
            &self.attempts,
            &self.histories,
            &self.due,
        ]
    }
}
