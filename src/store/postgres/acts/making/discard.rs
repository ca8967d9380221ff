//! Gives up deliveries for good.

/// Gives up waiting deliveries and dead letters. The rows stay until retention deletes them, so
/// that idempotency keys name their events for as long as they would have. $13 to $16: as in
/// `again`; $17: precedes the last error; $18: stands for none; $19, $20: the error and the next
/// step of the entry in the history. `IS TRUE` hides from the planner that the indexes of dead
/// letters hold each row: by statistics of an empty table it would read all of one.
pub const DISCARD: &str = "
waited AS (
    DELETE FROM relay.waiting w USING input u
    WHERE EXISTS (SELECT 1 FROM step)
      AND w.intent_id = ANY(ARRAY[u.i]) AND w.destination_id = ANY(ARRAY[u.d])
      AND w.state = u.s AND w.updated_at = u.at
      AND (w.intent_id, w.destination_id, w.history) NOT IN (SELECT i, d, h FROM claimed)
    RETURNING w.intent_id, w.destination_id, w.attempts, w.history, w.interruptions, w.last_error,
              w.order_key),
dead AS (
    UPDATE relay.ended e
    SET updated_at = $10::int8, discarded_at = $10::int8, history = e.history + 1, place = NULL,
        last_error = $17::bytea || coalesce(e.last_error, $18::bytea)
    FROM input u
    WHERE EXISTS (SELECT 1 FROM step)
      AND e.intent_id = u.i AND e.destination_id = u.d AND e.state = u.s AND e.state = 4
      AND (e.discarded_at IS NULL) IS TRUE AND e.updated_at = u.at
    RETURNING e.intent_id, e.destination_id, e.history),
given_up AS (
    INSERT INTO relay.ended (intent_id, destination_id, state, attempts, history, interruptions,
                             updated_at, last_error, order_key, discarded_at)
    SELECT intent_id, destination_id, 4, attempts, history + 1, interruptions, $10::int8,
           $17::bytea || coalesce(last_error, $18::bytea), order_key, $10::int8
    FROM waited),
done AS (
    SELECT intent_id, destination_id, history + 1 AS history FROM waited
    UNION ALL SELECT intent_id, destination_id, history FROM dead),
answers AS (
    UPDATE relay.attempts a SET response = NULL FROM done d
    WHERE a.intent_id = d.intent_id AND a.destination_id = d.destination_id
      AND a.response IS NOT NULL),
entries AS (
    INSERT INTO relay.attempts (intent_id, destination_id, entry, attempt, started_at,
                                duration_ms, outcome, error, next)
    SELECT intent_id, destination_id, history, 0, $10::int8, 0, 2, $19::bytea, $20::bytea
    FROM done),
tally AS (
    SELECT (SELECT count(*) FROM done) AS done, 0::int8 AS skipped, 0::int8 AS payload_gone,
           0::int8 AS in_flight, NULL::int8 AS stopped_at, NULL::int4[] AS dead)";

/// Deletes the payloads of events of which each delivery was given up for good. $1: intents.
pub const DELETE_PAYLOADS: &str = "
UPDATE relay.intents x
SET body = '', headers = '', query = NULL, metadata = NULL, checksum = NULL
WHERE x.id = ANY($1::int8[])
  AND NOT EXISTS (SELECT 1 FROM relay.waiting w WHERE w.intent_id = ANY(ARRAY[x.id]))
  AND EXISTS (SELECT 1 FROM relay.ended e WHERE e.intent_id = x.id)
  AND NOT EXISTS (SELECT 1 FROM relay.ended e
                  WHERE e.intent_id = x.id AND e.discarded_at IS NULL)";
