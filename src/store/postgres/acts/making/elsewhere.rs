//! Creates deliveries to other destinations, or moves them there.
//!
//! A new delivery has the place of its event in its line, however late it comes. If an older event
//! comes late, the first of its line makes room for it if that one is due and was never attempted:
//! what has begun is not taken back, and a dead letter that blocks goes on to block.

/// The lines that the deliveries in `entering` (intent `i`, destination `d`, key `k`) enter, before
/// they do: whether the first of the new ones is due, and the one that makes room for it.
macro_rules! enter {
    () => {
        "
entered AS (
    SELECT d, k, min(i) AS first_new FROM entering GROUP BY d, k),
heads AS (
    SELECT l.d, l.k, l.first_new, h.place, h.intent_id, h.may_step_back
    FROM entered l LEFT JOIN LATERAL (
        SELECT * FROM (
            (SELECT w.place, w.intent_id,
                    w.state = 0 AND w.attempts = 0 AND w.next_attempt_at < 9223372036854775807
                    AND (w.intent_id, w.destination_id, w.history)
                        NOT IN (SELECT i, d, h FROM claimed) AS may_step_back
             FROM relay.waiting w
             WHERE w.destination_id = ANY(ARRAY[l.d]) AND w.order_key = l.k AND w.place IS NOT NULL
             ORDER BY w.place, w.intent_id LIMIT 1)
            UNION ALL
            (SELECT e.place, e.intent_id, false
             FROM relay.ended e
             WHERE e.destination_id = l.d AND e.order_key = l.k AND e.place IS NOT NULL
             ORDER BY e.place, e.intent_id LIMIT 1)) m
        ORDER BY m.place, m.intent_id LIMIT 1) h ON true),
goes AS MATERIALIZED (
    SELECT d, k, first_new,
           intent_id IS NULL OR (is_later AND may_step_back) AS is_due,
           CASE WHEN is_later AND may_step_back THEN intent_id END AS steps_back
    FROM (SELECT *, (place, intent_id) > (first_new, first_new) AS is_later FROM heads) h),
back AS (
    UPDATE relay.waiting w SET next_attempt_at = 9223372036854775807
    FROM goes g
    WHERE w.destination_id = ANY(ARRAY[g.d]) AND w.intent_id = ANY(ARRAY[g.steps_back])),"
    };
}

pub(in crate::store::postgres::acts) use enter;

/// Creates deliveries of events, unless they have one at that destination. $13 to $15: intents,
/// destinations and ordering keys; $16: the next step of the entry in the history.
pub const CREATE: &str = concat!(
    "
input AS MATERIALIZED (
    SELECT * FROM unnest($13::int8[], $14::int4[], $15::int8[])
        WITH ORDINALITY AS u(i, d, k, n)),
known AS MATERIALIZED (
    SELECT u.*,
           x.gone IS NOT NULL
           OR ((SELECT bool_and(e.discarded_at IS NOT NULL) FROM relay.ended e
                WHERE e.intent_id = x.id) IS TRUE
               AND NOT EXISTS (SELECT 1 FROM relay.waiting w
                               WHERE w.intent_id = ANY(ARRAY[x.id]))) AS is_gone,
           EXISTS (SELECT 1 FROM relay.waiting w
                   WHERE w.intent_id = ANY(ARRAY[u.i]) AND w.destination_id = ANY(ARRAY[u.d]))
           OR EXISTS (SELECT 1 FROM relay.ended e
                      WHERE e.intent_id = u.i AND e.destination_id = u.d) AS is_there
    FROM input u JOIN relay.intents x ON x.id = u.i),
new AS MATERIALIZED (
    SELECT i, d, k FROM known
    WHERE EXISTS (SELECT 1 FROM step) AND NOT is_gone AND NOT is_there),
entering AS (SELECT i, d, k FROM new WHERE k IS NOT NULL),",
    enter!(),
    "
made AS (
    INSERT INTO relay.waiting (destination_id, next_attempt_at, intent_id, state, history,
                               updated_at, order_key, place)
    SELECT n.d,
           CASE WHEN n.k IS NULL OR (g.is_due AND n.i = g.first_new) THEN (SELECT at FROM due)
                ELSE 9223372036854775807 END,
           n.i, 0, 1, $10::int8, n.k, CASE WHEN n.k IS NOT NULL THEN n.i END
    FROM new n LEFT JOIN goes g ON g.d = n.d AND g.k = n.k),
routed AS (
    UPDATE relay.intents x SET unrouted = NULL
    WHERE x.id IN (SELECT i FROM new) AND x.unrouted IS NOT NULL),
entries AS (
    INSERT INTO relay.attempts (intent_id, destination_id, entry, attempt, started_at,
                                duration_ms, outcome, next)
    SELECT i, d, 1, 0, $10::int8, 0, 4, $16::bytea FROM new),
tally AS (
    SELECT (SELECT count(*) FROM new) AS done,
           (SELECT count(*) FROM known WHERE is_there AND NOT is_gone) AS skipped,
           (SELECT count(*) FROM known WHERE is_gone) AS payload_gone, 0::int8 AS in_flight,
           NULL::int8 AS stopped_at, NULL::int4[] AS dead)"
);

/// Moves waiting deliveries with their histories, unless their events have one at the new
/// destination. They begin there with fresh budgets. $13: intents; $14: destinations; $15: the new
/// one; $16: ordering keys; $17: the next step of the entry, before the old destination's name.
pub const MOVE: &str = concat!(
    "
input AS MATERIALIZED (
    SELECT * FROM unnest($13::int8[], $14::int4[], $16::int8[]) AS u(i, f, k)),
known AS MATERIALIZED (
    SELECT u.i, u.f, u.k, w.history, w.last_error, w.order_key, t.name,
           w.place IS NOT NULL AND w.next_attempt_at < 9223372036854775807 AS is_first,
           EXISTS (SELECT 1 FROM relay.waiting o
                   WHERE o.intent_id = u.i AND o.destination_id = $15::int4)
           OR EXISTS (SELECT 1 FROM relay.ended o
                      WHERE o.intent_id = u.i AND o.destination_id = $15::int4) AS is_there
    FROM input u JOIN relay.waiting w
        ON w.intent_id = ANY(ARRAY[u.i]) AND w.destination_id = ANY(ARRAY[u.f])
                 CROSS JOIN LATERAL (
                     SELECT name FROM relay.destinations d WHERE d.id = u.f OFFSET 0) AS t
    WHERE EXISTS (SELECT 1 FROM step)
      AND (w.intent_id, w.destination_id, w.history) NOT IN (SELECT i, d, h FROM claimed)),
new AS MATERIALIZED (SELECT * FROM known WHERE NOT is_there),
taken AS (
    DELETE FROM relay.waiting w USING new n
    WHERE w.intent_id = ANY(ARRAY[n.i]) AND w.destination_id = ANY(ARRAY[n.f])),
entering AS (SELECT i, $15::int4 AS d, k FROM new WHERE k IS NOT NULL),",
    enter!(),
    "
made AS (
    INSERT INTO relay.waiting (destination_id, next_attempt_at, intent_id, state, history,
                               updated_at, last_error, order_key, place)
    SELECT $15::int4,
           CASE WHEN n.k IS NULL OR (g.is_due AND n.i = g.first_new) THEN (SELECT at FROM due)
                ELSE 9223372036854775807 END,
           n.i, 0, n.history + 1, $10::int8, n.last_error, n.k,
           CASE WHEN n.k IS NOT NULL THEN n.i END
    FROM new n LEFT JOIN goes g ON g.k = n.k),
left_behind AS (
    SELECT DISTINCT f, order_key FROM new WHERE is_first),
next_in_line AS MATERIALIZED (
    SELECT l.f, h.intent_id
    FROM left_behind l CROSS JOIN LATERAL (
        SELECT o.intent_id FROM relay.waiting o
        WHERE o.destination_id = l.f AND o.order_key = l.order_key AND o.place IS NOT NULL
          AND NOT EXISTS (SELECT 1 FROM new n WHERE n.i = o.intent_id AND n.f = l.f)
        ORDER BY o.place, o.intent_id LIMIT 1) h),
released AS (
    UPDATE relay.waiting w SET next_attempt_at = (SELECT at FROM due)
    FROM next_in_line h
    WHERE w.destination_id = ANY(ARRAY[h.f]) AND w.intent_id = ANY(ARRAY[h.intent_id])),
history AS (
    UPDATE relay.attempts a SET destination_id = $15::int4
    FROM new n WHERE a.intent_id = n.i AND a.destination_id = n.f),
entries AS (
    INSERT INTO relay.attempts (intent_id, destination_id, entry, attempt, started_at,
                                duration_ms, outcome, next)
    SELECT i, $15::int4, history + 1, 0, $10::int8, 0, 4,
           $17::bytea || convert_to(name, 'UTF8')
    FROM new),
tally AS (
    SELECT (SELECT count(*) FROM new) AS done,
           (SELECT count(*) FROM known WHERE is_there) AS skipped, 0::int8 AS payload_gone,
           0::int8 AS in_flight, NULL::int8 AS stopped_at, NULL::int4[] AS dead)"
);
