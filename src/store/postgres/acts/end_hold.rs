//! Ends a `Retry-After`: the deliveries that it kept are due now.

use tokio_postgres::Row;

use super::making::locks::POKE;
use crate::clock::Timestamp;
use crate::store::limits::MAX_ROWS;
use crate::store::postgres::connection::{Call, Connection, Param};
use crate::store::postgres::failure::Failure;
use crate::store::types::DestinationId;

/// Locks destinations against answers that hold them, so that the next statement sees what these
/// have settled. $1: names.
pub const LOCK_HELD: &str =
    "SELECT 1 FROM relay.destinations WHERE name = ANY($1) ORDER BY id FOR UPDATE";

/// An answer with a `Retry-After` puts its own delivery off as well. These come forward once the
/// hold is lifted: behind [`LOCK_HELD`], before the statement that forgets the hold. One that
/// is blocked in its line is queued. Unless it answers no row, some may be left. $1: names; $2:
/// now; $3: the only pause that may end, if any.
pub const END_HOLD: &str = "
WITH kept AS MATERIALIZED (
    SELECT n.* FROM relay.destinations t
    CROSS JOIN LATERAL (
        SELECT w.destination_id AS d, w.intent_id AS i FROM relay.waiting w
        WHERE w.destination_id = t.id AND w.next_attempt_at > $2::int8
          AND w.next_attempt_at <= t.held_until AND w.state = 2
        ORDER BY w.next_attempt_at DESC LIMIT 1024) AS n
    WHERE t.name = ANY($1) AND t.held_until > $2::int8
      AND ($3::int8 IS NULL OR t.paused_at IS NULL OR t.paused_at = $3::int8))
UPDATE relay.waiting w SET next_attempt_at = $2::int8 FROM kept k
WHERE w.intent_id = ANY(ARRAY[k.i]) AND w.destination_id = ANY(ARRAY[k.d])
RETURNING 1";

const _: () = assert!(MAX_ROWS == 1024);

/// Brings forward some of the deliveries that the holds of destinations keep, in one transaction;
/// whether none were left. The transaction that forgets the holds brings forward those that came
/// meanwhile.
pub fn bring_some_forward(
    sql: &mut Connection,
    names: Param<'_>,
    (now, paused_at): (Timestamp, Option<Timestamp>),
) -> Result<bool, Failure> {
    let answers = sql.transaction(&[
        (LOCK_HELD, &[names]),
        (END_HOLD, &[names, &now, &paused_at]),
    ])?;
    // Fewer than were found, if others changed some of them meanwhile.
    Ok(answers[1].is_empty())
}

/// Ends the hold of a destination, makes the change that forgets it, and pokes the owner, in one
/// transaction: made again after a lost answer, the change finds nothing to do. Its first row.
pub fn lift(
    sql: &mut Connection,
    (id, name): (DestinationId, &str),
    change: Call<'_>,
    (now, paused_at): (Timestamp, Option<Timestamp>),
) -> Result<Option<Row>, Failure> {
    let (names, ids) = ([name], [id]);
    let (names, ids): (&[&str], &[DestinationId]) = (&names, &ids);
    while !bring_some_forward(sql, &names, (now, paused_at))? {}
    let answers = sql.transaction(&[
        (LOCK_HELD, &[&names]),
        (END_HOLD, &[&names, &now, &paused_at]),
        change,
        (POKE, &[&ids]),
    ])?;
    Ok(answers.into_iter().nth(2).into_iter().flatten().next())
}
