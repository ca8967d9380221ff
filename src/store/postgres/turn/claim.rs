//! Claims deliveries that a look found, as one row for the whole turn.

use std::collections::HashMap;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::end::EndClaims;
use super::look::Found;
use super::settle::{SETTLE, number_of};
use crate::clock::Timestamp;
use crate::store::postgres::connection::{Call, Connection, Param};
use crate::store::postgres::failure::Failure;
use crate::store::postgres::in_flight::Held;

/// Keeps commands from what is about to be claimed: a command that moves or ends what waits locks
/// the destination against this. In a statement before the claim, so that the claim's snapshot is
/// younger than the command's changes. $1: destinations.
pub const LOCK: &str = "SELECT id FROM relay.destinations WHERE id = ANY($1::int4[])
     ORDER BY id FOR KEY SHARE";

/// Claims those of the deliveries that still wait as they were found, and whose destination may
/// be delivered to by this node: as one row for all. $1: slot; $2: epoch; $3: the turn; $4: now;
/// $5: turns that are over; $6 and on: destinations, intents, when each is due, attempts,
/// histories, and whether it begins at once. Deliveries that begin come first. Returns how often
/// the node's row is there.
pub const CLAIM: &str = "
WITH fence AS MATERIALIZED (
    SELECT 1 FROM relay.nodes WHERE slot = $1::int2 AND epoch = $2::int8 FOR KEY SHARE
), over AS (
    DELETE FROM relay.claims
    WHERE epoch = $2::int8 AND turn = ANY($5::int8[]) AND EXISTS (SELECT 1 FROM fence)
), open AS MATERIALIZED (
    SELECT u.*
    FROM unnest($6::int4[], $7::int8[], $8::int8[], $9::int4[], $10::int4[], $11::bool[])
         WITH ORDINALITY AS u(d, i, due, attempt, history, begins, o)
    CROSS JOIN LATERAL (
        SELECT bucket FROM relay.destinations WHERE id = u.d AND paused_at IS NULL
           AND (held_until IS NULL OR held_until <= $4::int8) OFFSET 0) AS t
    CROSS JOIN LATERAL (
        SELECT 1 FROM relay.buckets WHERE bucket = t.bucket AND epoch = $2::int8 OFFSET 0) AS b
    JOIN relay.waiting w ON w.destination_id = ANY(ARRAY[u.d]) AND w.next_attempt_at = u.due
         AND w.intent_id = ANY(ARRAY[u.i]) AND w.attempts = u.attempt - 1 AND w.history = u.history
    WHERE EXISTS (SELECT 1 FROM fence)
), put AS (
    INSERT INTO relay.claims
        (epoch, turn, made_at, intents, destinations, attempts, histories, begun)
    SELECT $2::int8, $3::int8, $4::int8, array_agg(i ORDER BY o), array_agg(d ORDER BY o),
           array_agg(attempt ORDER BY o), array_agg(history ORDER BY o),
           count(*) FILTER (WHERE begins)
    FROM open HAVING count(*) > 0
    ON CONFLICT DO NOTHING
)
SELECT count(*) FROM fence";

/// A turn as it was recorded, whichever time it was sent. $1: epoch; $2: the turn.
pub const CLAIMED: &str = "SELECT u.i, u.d, u.nth
     FROM relay.claims c, unnest(c.intents, c.destinations) WITH ORDINALITY AS u(i, d, nth)
     WHERE c.epoch = $1::int8 AND c.turn = $2::int8";

/// The columns of deliveries to be claimed.
#[derive(Default)]
pub struct Columns {
    destinations: Vec<i32>,
    intents: Vec<i64>,
    due: Vec<i64>,
    attempts: Vec<i32>,
    histories: Vec<i32>,
    begin: Vec<bool>,
}

impl Columns {
    /// Deliveries that begin at once come first.
    pub fn of(chosen: &[Found]) -> Self {
        let (begun, prefetched): (Vec<_>, Vec<_>) = chosen
            .iter()
            .map(|one| one.claimed)
            .partition(|one| !one.claim.is_prefetched());
        let mut columns = Self::default();
        for one in begun.iter().chain(&prefetched) {
            columns.destinations.push(number_of(one.destination.0));
            columns.intents.push(one.intent.0);
            columns.due.push(one.due.as_millis());
            columns.attempts.push(number_of(one.attempt));
            columns.histories.push(number_of(one.history));
            columns.begin.push(!one.claim.is_prefetched());
        }
        columns
    }

    /// The parameters from $6 on.
    pub fn params(&self) -> [&(dyn ToSql + Sync); 6] {
        [
            &self.destinations,
            &self.intents,
            &self.due,
            &self.attempts,
            &self.histories,
            &self.begin,
        ]
    }
}

/// A turn to be recorded, which may be sent more than once.
pub struct ClaimTurn<'a> {
    /// The node's slot and epoch.
    pub life: (i16, i64),
    pub turn: i64,
    pub now: Timestamp,
    /// Turns that are deleted.
    pub over: &'a [i64],
    pub chosen: &'a [Found],
}

impl ClaimTurn<'_> {
    /// Sends it, and settles in the same transaction; what is claimed. None if the node's row is
    /// gone. `end` is settling alone. All destinations are locked first: a command that waits for
    /// the row of a delivery has locked its destination before, too.
    pub fn send(
        &self,
        connection: &mut Connection,
        end: Option<&EndClaims<'_>>,
    ) -> Result<Option<Vec<Held>>, Failure> {
        let ((slot, epoch), now) = (self.life, self.now.as_millis());
        let columns = Columns::of(self.chosen);
        let mut locked = columns.destinations.clone();
        let mut settle: Vec<Param<'_>> = vec![&slot, &epoch, &now];
        if let Some(end) = end {
            end.add_destinations(&mut locked);
            end.settle_with(&mut settle);
        }
        locked.sort_unstable();
        locked.dedup();
        let lock: [Param<'_>; 1] = [&locked];
        let mut claim: Vec<Param<'_>> = vec![&slot, &epoch, &self.turn, &now, &self.over];
        claim.extend(columns.params());
        let claimed: [Param<'_>; 2] = [&epoch, &self.turn];
        let mut calls: Vec<Call<'_>> = vec![(LOCK, &lock)];
        if end.is_some() {
            calls.push((SETTLE, &settle));
        }
        calls.extend([(CLAIM, &claim[..]), (CLAIMED, &claimed)]);
        let answers = connection.transaction(&calls)?;
        let [.., fence, rows] = &answers[..] else {
            return Err(Failure::unexpected(
                "each statement has an answer".to_owned(),
            ));
        };
        let fence = fence.first().map(|row| row.try_get::<_, i64>(0));
        if fence.transpose()? != Some(1) {
            return Ok(None);
        }
        recorded(self.turn, self.chosen, rows).map(Some)
    }
}

/// Those of the chosen deliveries that a turn has recorded, in the order in which they were chosen.
fn recorded(turn: i64, chosen: &[Found], rows: &[Row]) -> Result<Vec<Held>, Failure> {
    let mut places = HashMap::new();
    for row in rows {
        let (intent, destination, nth): (i64, i32, i64) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        places.insert((intent, destination), number_of(nth));
    }
    let of = |found: &Found| {
        let claimed = found.claimed;
        let place = places.get(&(claimed.intent.0, number_of(claimed.destination.0)))?;
        let held = Held {
            turn,
            nth: *place,
            claimed,
            line: found.line,
            is_adhoc: found.is_adhoc,
        };
        Some(held)
    };
    Ok(chosen.iter().filter_map(of).collect())
}
