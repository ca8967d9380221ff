//! The lines of ordering keys, as in SQLite: of the deliveries in a line, over `waiting` and the
//! dead letters in `ended`, exactly one is not blocked.
//!
//! An operation that adds to a line or ends a delivery in one locks its destination first, in a
//! statement of its own: the next statement's snapshot is then younger than the changes of all
//! others.

/// Locks destinations against other changes of their lines, in one order so that nobody
/// deadlocks. $1: destinations.
pub const LOCK: &str = "SELECT id FROM relay.destinations WHERE id = ANY($1::int4[])
     ORDER BY id FOR NO KEY UPDATE";

/// An update that makes the first delivery of each line due, if none of the line is unblocked and
/// no dead letter blocks it. It is told by states alone, so that making it twice changes nothing.
/// The lines are rows of a destination `d` and an ordering key `k`. The first is found before its
/// row is looked up: a plan that begins with all rows of a line asks for the first for each of
/// them.
macro_rules! advance {
    ($lines:expr, $due:expr) => {
        concat!(
            "WITH first AS MATERIALIZED (
                 SELECT l.d, h.intent_id
                 FROM (",
            $lines,
            ") AS l(d, k)
                 CROSS JOIN LATERAL (
                     SELECT f.intent_id FROM relay.waiting f
                     WHERE f.destination_id = l.d AND f.order_key = l.k AND f.place IS NOT NULL
                     ORDER BY f.place, f.intent_id LIMIT 1) AS h
                 WHERE NOT EXISTS (
                         SELECT 1 FROM relay.waiting o
                         WHERE o.destination_id = l.d AND o.order_key = l.k
                           AND o.place IS NOT NULL AND o.next_attempt_at < 9223372036854775807)
                   AND NOT EXISTS (
                         SELECT 1 FROM relay.ended e
                         WHERE e.destination_id = l.d AND e.order_key = l.k
                           AND e.place IS NOT NULL))
             UPDATE relay.waiting w SET next_attempt_at = ",
            $due,
            " FROM first
             WHERE w.destination_id = ANY(ARRAY[first.d])
               AND w.intent_id = ANY(ARRAY[first.intent_id])
             RETURNING w.destination_id"
        )
    };
}

pub(in crate::store::postgres) use advance;

/// Makes the first of each line due. $1: destinations; $2: their ordering keys; $3: when it is due.
pub const ADVANCE: &str = advance!(
    "SELECT DISTINCT u.d, u.k FROM unnest($1::int4[], $2::int8[]) AS u(d, k)",
    "$3::int8"
);
