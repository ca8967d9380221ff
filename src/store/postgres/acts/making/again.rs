//! Sends deliveries once more, or now.
//!
//! $13 to $16: intents, destinations, and the states and times of last changes that the acts were
//! decided for.

/// The deliveries that are meant.
pub const INPUT: &str = "input AS MATERIALIZED (
    SELECT * FROM unnest($13::int8[], $14::int4[], $15::int2[], $16::int8[])
        WITH ORDINALITY AS u(i, d, s, at, n))";

/// Queues finished deliveries once more, with fresh budgets. A dead letter that blocks keeps its
/// place, any other one goes to the end of its line: the n-th of them to the place
/// `max(intent, 1 + the one before it)`. $17, $18: the next step of what was delivered, and of a
/// dead letter.
pub const REPLAY: &str = "
gone AS MATERIALIZED (
    SELECT u.n FROM input u JOIN relay.intents x ON x.id = u.i WHERE x.gone IS NOT NULL),
taken AS (
    DELETE FROM relay.ended e USING input u
    WHERE EXISTS (SELECT 1 FROM step)
      AND e.intent_id = u.i AND e.destination_id = u.d AND e.state = u.s
      AND e.discarded_at IS NULL AND e.updated_at = u.at AND u.n NOT IN (SELECT n FROM gone)
    RETURNING e.intent_id, e.destination_id, e.state, e.history, e.updated_at, e.last_error,
              e.order_key, e.place, u.n),
entering AS (
    SELECT intent_id, destination_id, order_key,
           row_number() OVER (PARTITION BY destination_id, order_key ORDER BY n) AS r
    FROM taken WHERE order_key IS NOT NULL AND place IS NULL),
lines AS (
    SELECT l.destination_id, l.order_key, greatest(w.place, e.place) AS last
    FROM (SELECT DISTINCT destination_id, order_key FROM entering) l
         LEFT JOIN LATERAL (
             SELECT place FROM relay.waiting
             WHERE destination_id = l.destination_id AND order_key = l.order_key
               AND place IS NOT NULL
             ORDER BY place DESC LIMIT 1) w ON true
         LEFT JOIN LATERAL (
             SELECT place FROM relay.ended
             WHERE destination_id = l.destination_id AND order_key = l.order_key
               AND place IS NOT NULL
             ORDER BY place DESC LIMIT 1) e ON true),
placed AS (
    SELECT e.intent_id, e.destination_id, l.last IS NOT NULL OR e.r > 1 AS is_blocked,
           e.r + greatest(coalesce(l.last, 0), max(e.intent_id - e.r) OVER (
               PARTITION BY e.destination_id, e.order_key ORDER BY e.r)) AS place
    FROM entering e JOIN lines l USING (destination_id, order_key)),
made AS (
    INSERT INTO relay.waiting (destination_id, next_attempt_at, intent_id, state, attempts,
                               history, interruptions, updated_at, last_error, order_key, place)
    SELECT t.destination_id,
           CASE WHEN p.is_blocked THEN 9223372036854775807
                WHEN $12::bool
                THEN least($10::int8, greatest(t.updated_at, (SELECT at FROM newest)))
                ELSE $10::int8 END,
           t.intent_id, 0, 0, t.history + 1, 0, $10::int8, t.last_error, t.order_key,
           coalesce(t.place, p.place)
    FROM taken t LEFT JOIN placed p USING (intent_id, destination_id)),
entries AS (
    INSERT INTO relay.attempts (intent_id, destination_id, entry, attempt, started_at,
                                duration_ms, outcome, next)
    SELECT intent_id, destination_id, history + 1, 0, $10::int8, 0, 4,
           CASE WHEN state = 3 THEN $17::bytea ELSE $18::bytea END
    FROM taken),
tally AS (
    SELECT (SELECT count(*) FROM taken) AS done, 0::int8 AS skipped,
           (SELECT count(*) FROM gone) AS payload_gone, 0::int8 AS in_flight,
           NULL::int8 AS stopped_at, NULL::int4[] AS dead)";

/// Makes waiting deliveries due now, with the attempts that they have left. $17, $18: the next
/// step, before and behind the attempt's number.
pub const RETRY: &str = "
taken AS (
    UPDATE relay.waiting w
    SET next_attempt_at = (SELECT at FROM due), history = w.history + 1, updated_at = $10::int8
    FROM input u
    WHERE EXISTS (SELECT 1 FROM step)
      AND w.intent_id = ANY(ARRAY[u.i]) AND w.destination_id = ANY(ARRAY[u.d]) AND w.state = u.s
      AND w.next_attempt_at > $10::int8 AND w.next_attempt_at < 9223372036854775807
      AND w.updated_at = u.at
      AND (w.intent_id, w.destination_id, w.history) NOT IN (SELECT i, d, h FROM claimed)
    RETURNING w.intent_id, w.destination_id, w.history, w.attempts),
entries AS (
    INSERT INTO relay.attempts (intent_id, destination_id, entry, attempt, started_at,
                                duration_ms, outcome, next)
    SELECT intent_id, destination_id, history, attempts, $10::int8, 0, 4,
           $17::bytea || convert_to((attempts + 1)::text, 'UTF8') || $18::bytea
    FROM taken),
tally AS (
    SELECT (SELECT count(*) FROM taken) AS done, 0::int8 AS skipped, 0::int8 AS payload_gone,
           0::int8 AS in_flight, NULL::int8 AS stopped_at, NULL::int4[] AS dead)";
