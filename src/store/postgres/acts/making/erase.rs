//! Erases events: their payloads and all that was said about them go, their rows stay.

/// Erases events, and gives up their waiting deliveries. $13: intents; $14: whether an attempt
/// under way ends before, since its answer would be written later: the events before that one are
/// erased. Otherwise one under way is counted: its node has ended. $15, $16: the last error of a
/// dead letter, and of one that was discarded; $17: the error of what is given up; $18: the next
/// step of its entry; $19: the kind of the failure.
pub const ERASE: &str = "
input AS MATERIALIZED (
    SELECT * FROM unnest($13::int8[]) WITH ORDINALITY AS u(i, n)),
busy AS MATERIALIZED (
    SELECT c.i FROM claimed c JOIN relay.waiting w
         ON w.intent_id = ANY(ARRAY[c.i]) AND w.destination_id = ANY(ARRAY[c.d])
              AND w.history = c.h
    WHERE $14::bool AND (c.i IN (SELECT i FROM input)) IS TRUE),
known AS MATERIALIZED (
    SELECT u.i, u.n, x.gone IS NOT DISTINCT FROM 1 AS is_erased,
           (u.i IN (SELECT i FROM busy)) IS TRUE AS is_busy
    FROM input u JOIN relay.intents x ON x.id = u.i),
stop AS MATERIALIZED (
    SELECT i, n FROM known WHERE is_busy AND NOT is_erased ORDER BY n LIMIT 1),
acted AS MATERIALIZED (
    SELECT i, is_erased FROM known
    WHERE EXISTS (SELECT 1 FROM step) AND (n < (SELECT n FROM stop)
                                           OR NOT EXISTS (SELECT 1 FROM stop))),
erased AS (
    UPDATE relay.intents x
    SET body = '', headers = '', query = NULL, metadata = NULL, idempotency_key = NULL,
        checksum = NULL, gone = 1, gone_at = $10::int8
    FROM acted a WHERE x.id = a.i AND NOT a.is_erased
    RETURNING x.id),
remembered AS (
    INSERT INTO relay.erasures (intent_id, at) SELECT i, $10::int8 FROM acted WHERE NOT is_erased
    ON CONFLICT (intent_id) DO UPDATE SET at = excluded.at),
answers AS (
    UPDATE relay.attempts t SET response = NULL, error = NULL
    FROM acted a
    WHERE t.intent_id = a.i AND NOT a.is_erased
      AND (t.response IS NOT NULL OR t.error IS NOT NULL)),
waited AS (
    DELETE FROM relay.waiting w USING acted a
    WHERE w.intent_id = ANY(ARRAY[a.i]) AND NOT a.is_erased
    RETURNING w.intent_id, w.destination_id, w.attempts, w.history, w.interruptions, w.order_key),
reasons AS (
    UPDATE relay.ended e
    SET place = NULL,
        last_error = CASE WHEN e.last_error IS NULL OR e.state <> 4 THEN NULL
                          WHEN e.discarded_at IS NOT NULL THEN $16::bytea ELSE $15::bytea END
    FROM acted a WHERE e.intent_id = a.i AND NOT a.is_erased),
given_up AS (
    INSERT INTO relay.ended (intent_id, destination_id, state, attempts, history, interruptions,
                             updated_at, last_error, order_key)
    SELECT intent_id, destination_id, 4,
           attempts + CASE WHEN (intent_id, destination_id, history)
                                IN (SELECT i, d, h FROM claimed) THEN 1 ELSE 0 END,
           history + 1, interruptions, $10::int8, $17::bytea, order_key
    FROM waited),
entries AS (
    INSERT INTO relay.attempts (intent_id, destination_id, entry, attempt, started_at,
                                duration_ms, outcome, error, next, failure)
    SELECT intent_id, destination_id, history + 1, 0, $10::int8, 0, 2, $17::bytea, $18::bytea,
           $19::text
    FROM waited),
tally AS (
    SELECT (SELECT count(*) FROM erased) AS done,
           (SELECT count(*) FROM acted WHERE is_erased) AS skipped, 0::int8 AS payload_gone,
           (SELECT count(*) FROM stop) AS in_flight, (SELECT i FROM stop) AS stopped_at,
           (SELECT array_agg(destination_id) FROM waited) AS dead)";
