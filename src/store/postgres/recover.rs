//! Recovery of the deliveries that a life of a node had claimed when it ended.
//!
//! A claim of an epoch without a row in `nodes` belongs to a life that is over: no transaction of
//! it changes anything any more.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::context::StoreContext;
use crate::store::postgres::columns::BLOCKED;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::types::{DestinationId, IntentRow};

/// Interruptions in a row after which a delivery is given up: a delivery that kills the process
/// must not do so for ever. A decision: few enough that a crash loop ends within a minute under any
/// supervisor, many enough that a series of power cuts gives up nothing.
pub const MAX_INTERRUPTIONS: i32 = 5;

/// Deliveries that are interrupted together a second time are due one after the other, this far
/// apart: a delivery that kills the process is then alone, and the others, settled before, are not
/// given up with it.
pub const STAGGER_MILLIS: i64 = 250;

/// Epochs that have claims and no row.
pub const ENDED_EPOCHS: &str = "SELECT DISTINCT c.epoch FROM relay.claims c
     WHERE NOT EXISTS (SELECT 1 FROM relay.nodes n WHERE n.epoch = c.epoch)";

/// Ends the claims of the epoch $1, if its row is gone: in a statement after the one that deletes
/// the row, so that its snapshot has all that the epoch committed. $2: now.
///
/// An attempt that had begun stays counted, and is recorded as interrupted, since its outcome is
/// unknown. Prefetched deliveries had not begun: they are due as before, and before all others, so
/// that one that kills the process is among the first to be claimed, when nothing is prefetched
/// yet. A claimed delivery that was settled or released since has other numbers. A delivery with an
/// order keeps its place, as a dead letter that blocks. An entry that is there already, since the
/// number of entries is damaged, stays: otherwise nobody could take the epoch's deliveries back.
pub const TAKE_BACK: &str = "
WITH lost AS (
    SELECT $1::int8 AS epoch
    WHERE NOT EXISTS (SELECT 1 FROM relay.nodes WHERE epoch = $1::int8)
), turns AS (
    DELETE FROM relay.claims c USING lost WHERE c.epoch = lost.epoch
    RETURNING c.made_at, c.intents, c.destinations, c.attempts, c.histories, c.begun
), held AS MATERIALIZED (
    SELECT DISTINCT ON (u.i, u.d)
           w.intent_id, w.destination_id, u.attempt, u.history, t.made_at, w.interruptions,
           u.nth <= t.begun AS is_begun
    FROM turns t
    CROSS JOIN LATERAL unnest(t.intents, t.destinations, t.attempts, t.histories)
         WITH ORDINALITY AS u(i, d, attempt, history, nth)
    JOIN relay.waiting w ON w.intent_id = ANY(ARRAY[u.i]) AND w.destination_id = ANY(ARRAY[u.d])
         AND w.attempts = u.attempt - 1 AND w.history = u.history
    ORDER BY u.i, u.d, u.nth <= t.begun DESC
), begun AS MATERIALIZED (
    SELECT h.*, row_number() OVER (ORDER BY h.intent_id, h.destination_id) - 1 AS nth
    FROM held h WHERE h.is_begun
), untouched AS (
    UPDATE relay.waiting w
    SET state = 0, updated_at = $2::int8, next_attempt_at = least($2::int8, w.intent_id >> 12)
    FROM held h
    WHERE NOT h.is_begun
      AND w.intent_id = ANY(ARRAY[h.intent_id]) AND w.destination_id = ANY(ARRAY[h.destination_id])
      AND w.attempts = h.attempt - 1 AND w.history = h.history
    RETURNING w.intent_id
), dead AS (
    DELETE FROM relay.waiting w USING begun b
    WHERE b.interruptions + 1 >= $3::int4
      AND w.intent_id = ANY(ARRAY[b.intent_id]) AND w.destination_id = ANY(ARRAY[b.destination_id])
      AND w.attempts = b.attempt - 1 AND w.history = b.history
    RETURNING w.intent_id, w.destination_id, b.attempt, w.history + 1 AS history,
              w.interruptions + 1 AS interruptions, w.order_key, w.place, b.made_at
), given_up AS (
    INSERT INTO relay.ended (intent_id, destination_id, state, attempts, history, interruptions,
                             updated_at, last_error, order_key, place)
    SELECT d.intent_id, d.destination_id, 4, d.attempt, d.history, d.interruptions, $2::int8,
           convert_to('interrupted ' || d.interruptions
               || ' times in a row: the process ended during each attempt', 'UTF8'),
           d.order_key, d.place
    FROM dead d
), back AS (
    UPDATE relay.waiting w
    SET state = 0, updated_at = $2::int8, attempts = b.attempt, history = w.history + 1,
        next_attempt_at = $2::int8 + CASE WHEN w.interruptions = 0 THEN 0
                                          ELSE $4::int8 * b.nth END,
        interruptions = w.interruptions + 1,
        last_error = convert_to(
            'interrupted: the process ended before the outcome was known', 'UTF8')
    FROM begun b
    WHERE b.interruptions + 1 < $3::int4
      AND w.intent_id = ANY(ARRAY[b.intent_id]) AND w.destination_id = ANY(ARRAY[b.destination_id])
      AND w.attempts = b.attempt - 1 AND w.history = b.history
    RETURNING w.intent_id, w.destination_id, w.attempts AS attempt, w.history, b.made_at
), recorded AS (
    INSERT INTO relay.attempts (intent_id, destination_id, entry, attempt, started_at, duration_ms,
                                outcome, error)
    SELECT o.intent_id, o.destination_id, o.history, o.attempt, o.made_at, 0, 3,
           convert_to('interrupted: the process ended before the outcome was known', 'UTF8')
    FROM (SELECT intent_id, destination_id, history, attempt, made_at FROM back
          UNION ALL SELECT intent_id, destination_id, history, attempt, made_at FROM dead) AS o
    ON CONFLICT (intent_id, destination_id, entry) DO NOTHING
)
SELECT (SELECT count(*) FROM back), (SELECT count(*) FROM untouched),
       ARRAY(SELECT destination_id FROM dead)";

/// How an epoch's claims ended.
#[derive(Debug, Default)]
pub struct TakenBack {
    pub handed_back: i64,
    pub untouched: i64,
    /// The destinations of deliveries that were given up.
    pub given_up: Vec<DestinationId>,
}

impl TakenBack {
    /// Writes a line, if there was anything.
    pub fn log(&self) {
        let given_up = self.given_up.len();
        let (handed_back, untouched) = (self.handed_back, self.untouched);
        if handed_back + untouched > 0 || given_up > 0 {
            log::warn!(
                handed_back, given_up, untouched;
                "deliveries were interrupted when the process before this one ended"
            );
        }
    }
}

/// A node beside this one, which has joined.
const OTHER_NODE: &str = "SELECT 1 FROM relay.nodes OFFSET 1";

/// Ends the claims of an epoch without a row.
pub fn take_back(
    connection: &mut Connection,
    epoch: i64,
    now: Timestamp,
) -> Result<TakenBack, Failure> {
    let row = connection.one(
        TAKE_BACK,
        &[
            &epoch,
            &now.as_millis(),
            &MAX_INTERRUPTIONS,
            &STAGGER_MILLIS,
        ],
    )?;
    let given_up: Vec<i32> = row.try_get(2)?;
    Ok(TakenBack {
        handed_back: row.try_get(0)?,
        untouched: row.try_get(1)?,
        given_up: given_up
            .into_iter()
            .map(|id| DestinationId(i64::from(id)))
            .collect(),
    })
}

/// Ends the claims of all lives that are over.
pub fn take_back_all(connection: &mut Connection, now: Timestamp) -> Result<TakenBack, Failure> {
    let mut all = TakenBack::default();
    for row in connection.rows(ENDED_EPOCHS, &[])? {
        let taken = take_back(connection, row.try_get(0)?, now)?;
        all.handed_back += taken.handed_back;
        all.untouched += taken.untouched;
        all.given_up.extend(taken.given_up);
    }
    Ok(all)
}

/// Recovers at a start, after the node has joined.
pub fn begin(
    connection: &mut Connection,
    context: &StoreContext,
    longest_wait: Duration,
) -> Result<(), Failure> {
    let now = context.clock.now();
    take_back_all(connection, now)?.log();
    // While another node lives, its clock is as far ahead as the one that wrote these, and it may
    // have claimed what it wrote a moment ago.
    if connection.first(OTHER_NODE, &[])?.is_some() {
        return Ok(());
    }
    let brought_forward = bring_forward(connection, now, longest_wait)?;
    if brought_forward > 0 {
        log::warn!(
            brought_forward;
            "deliveries waited for times that are far off: the database's clock was set back"
        );
    }
    Ok(())
}

/// Brings times forward that a clock which was ahead has written.
fn bring_forward(
    connection: &mut Connection,
    now: Timestamp,
    longest_wait: Duration,
) -> Result<u64, Failure> {
    // A delivery accepted in the future is due, unless an attempt was made. There are none, mostly.
    const QUEUED: &str = "UPDATE relay.waiting SET next_attempt_at = $1::int8
         WHERE intent_id >= $2::int8 AND state = 0 AND next_attempt_at > $1::int8
           AND next_attempt_at < $3::int8 AND updated_at > $1::int8";
    const WAITING: &str = "UPDATE relay.waiting w SET next_attempt_at = $1::int8
         FROM relay.destinations t
         WHERE w.destination_id = ANY(ARRAY[t.id]) AND w.next_attempt_at > $1::int8
           AND w.next_attempt_at < $2::int8";
    const HELD: &str = "UPDATE relay.destinations SET held_until = $1::int8
         WHERE held_until > $1::int8";
    const PROBES: &str = "UPDATE relay.destinations SET probe_at = $1::int8 + probe_wait
         WHERE probe_at > $1::int8 + probe_wait";
    let latest = now.plus(longest_wait);
    let first = IntentRow::first_at(now);
    let queued = connection.execute(QUEUED, &[&now, &first, &BLOCKED])?;
    let waiting = connection.execute(WAITING, &[&latest, &BLOCKED])?;
    connection.execute(HELD, &[&latest])?;
    connection.execute(PROBES, &[&now])?;
    Ok(queued + waiting)
}
