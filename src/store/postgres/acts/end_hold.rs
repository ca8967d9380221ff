//! Ends a `Retry-After`: the deliveries that it kept are due now.

use crate::store::limits::MAX_ROWS;

/// Locks destinations against answers that hold them, so that the next statement sees what these
/// have settled. $1: names.
pub const LOCK_HELD: &str =
    "SELECT 1 FROM relay.destinations WHERE name = ANY($1) ORDER BY id FOR UPDATE";

/// An answer with a `Retry-After` puts its own delivery off as well, so a hold that is lifted has to
/// bring these forward: behind [`LOCK_HELD`], before the statement that forgets the hold. One that
/// is blocked in its line is queued. As many as a destination can have had in flight: others that
/// retry within the hold keep to their schedule. $1: names; $2: now; $3: the only pause
/// that may end, if any.
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
WHERE w.intent_id = ANY(ARRAY[k.i]) AND w.destination_id = ANY(ARRAY[k.d])";

const _: () = assert!(MAX_ROWS == 1024);
