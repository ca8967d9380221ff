//! The statements before and behind those that act.

use crate::store::postgres::turn::line::advance;

/// Locks an operation, so that nodes advance it one after the other. $1: the operation.
pub const LOCK_JOB: &str = "SELECT 1 FROM relay.jobs WHERE id = $1::int8 FOR NO KEY UPDATE";

/// Locks events against other acts that create deliveries of them or delete their payloads, in one
/// order so that nobody deadlocks. $1: intents.
pub const LOCK_INTENTS: &str =
    "SELECT 1 FROM relay.intents WHERE id = ANY($1::int8[]) ORDER BY id FOR NO KEY UPDATE";

/// Locks destinations against claims and against changes of their lines, in one order. $1:
/// destinations.
pub const LOCK_DESTINATIONS: &str =
    "SELECT 1 FROM relay.destinations WHERE id = ANY($1::int4[]) ORDER BY id FOR UPDATE";

/// The same for the destinations of events, which are locked. $1: intents.
pub const LOCK_DESTINATIONS_OF: &str = "
SELECT 1 FROM relay.destinations t
WHERE t.id = ANY(ARRAY(
    SELECT w.destination_id FROM relay.waiting w WHERE w.intent_id = ANY($1::int8[])
    UNION
    SELECT e.destination_id FROM relay.ended e WHERE e.intent_id = ANY($1::int8[])))
ORDER BY t.id FOR UPDATE";

/// Makes the first delivery due of each line that ended deliveries have left. $1: intents; $2: now;
/// $3: whether it is a command's clock.
pub const ADVANCE_LINES_OF: &str = advance!(
    "SELECT DISTINCT e.destination_id, e.order_key FROM relay.ended e
     WHERE e.intent_id = ANY($1::int8[]) AND e.order_key IS NOT NULL",
    "CASE WHEN $3::bool THEN least($2::int8, (SELECT max(id) >> 12 FROM relay.intents))
          ELSE $2::int8 END"
);

/// Something old became due at destinations: the owners of their buckets look from the beginning,
/// at their next round or as soon as they are notified. Buckets are locked in one order. $1:
/// destinations.
pub const POKE: &str = "
WITH meant AS MATERIALIZED (
    SELECT b.bucket FROM relay.buckets b
    WHERE b.bucket = ANY(ARRAY(
        SELECT DISTINCT t.bucket FROM relay.destinations t WHERE t.id = ANY($1::int4[])))
    ORDER BY b.bucket FOR NO KEY UPDATE),
poked AS (
    UPDATE relay.buckets b SET poked = b.poked + 1 FROM meant m WHERE b.bucket = m.bucket
    RETURNING b.epoch)
SELECT pg_notify('relay', string_agg(DISTINCT n.slot::text, ' '))
FROM poked p JOIN relay.nodes n ON n.epoch = p.epoch HAVING count(*) > 0";

/// The same for the destinations of events. $1: intents.
pub const POKE_OF: &str = "
WITH meant AS MATERIALIZED (
    SELECT b.bucket FROM relay.buckets b
    WHERE b.bucket = ANY(ARRAY(
        SELECT DISTINCT t.bucket FROM relay.destinations t
        WHERE t.id = ANY(ARRAY(
            SELECT w.destination_id FROM relay.waiting w WHERE w.intent_id = ANY($1::int8[])
            UNION
            SELECT e.destination_id FROM relay.ended e WHERE e.intent_id = ANY($1::int8[])))))
    ORDER BY b.bucket FOR NO KEY UPDATE),
poked AS (
    UPDATE relay.buckets b SET poked = b.poked + 1 FROM meant m WHERE b.bucket = m.bucket
    RETURNING b.epoch)
SELECT pg_notify('relay', string_agg(DISTINCT n.slot::text, ' '))
FROM poked p JOIN relay.nodes n ON n.epoch = p.epoch HAVING count(*) > 0";
