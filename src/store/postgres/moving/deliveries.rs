//! Deliveries: those that wait, those that have ended, and those that a turn has claimed.

use super::insert::{insert, numbers};
use super::side::MovedServer;
use crate::store::postgres::failure::Failure;
use crate::store::types::{ColumnKind, MovedColumn, MovedRow, MovedValue};

/// All deliveries as one table. One that is claimed is of state 1, and has a claim of 1, or of -1
/// while it waits to begin: as recovery understands it. A claim that was settled or released since
/// names other numbers than the row has.
pub const SELECT: &str = "
WITH held AS MATERIALIZED (
    SELECT DISTINCT ON (w.intent_id, w.destination_id)
           w.intent_id, w.destination_id, u.attempt, c.made_at, u.nth <= c.begun AS is_begun
    FROM relay.claims c
    CROSS JOIN LATERAL unnest(c.intents, c.destinations, c.attempts, c.histories)
         WITH ORDINALITY AS u(i, d, attempt, history, nth)
    JOIN relay.waiting w ON w.intent_id = u.i AND w.destination_id = u.d
         AND w.attempts = u.attempt - 1 AND w.history = u.history
    ORDER BY w.intent_id, w.destination_id, u.nth <= c.begun DESC)
SELECT w.intent_id, w.destination_id::int8,
       CASE WHEN h.attempt IS NULL THEN w.state ELSE 1 END::int8,
       coalesce(h.attempt, w.attempts)::int8, w.history::int8, w.interruptions::int8,
       CASE WHEN h.attempt IS NULL THEN w.next_attempt_at END,
       CASE WHEN h.attempt IS NULL THEN NULL WHEN h.is_begun THEN 1 ELSE -1 END::int8,
       coalesce(h.made_at, w.updated_at), w.last_error, w.order_key, w.place, NULL::int8
FROM relay.waiting w
LEFT JOIN held h ON h.intent_id = w.intent_id AND h.destination_id = w.destination_id
UNION ALL
SELECT intent_id, destination_id::int8, state::int8, attempts::int8, history::int8,
       interruptions::int8, NULL, NULL, updated_at, last_error, order_key, place, discarded_at
FROM relay.ended";

/// The places of the columns in a row that is moved.
const STATE: usize = 2;
const ATTEMPTS: usize = 3;
const HISTORY: usize = 4;
const NEXT_ATTEMPT_AT: usize = 6;
const CLAIM: usize = 7;
const UPDATED_AT: usize = 8;

const WAITING: [MovedColumn; 11] = [
    ("intent_id", ColumnKind::Int8),
    ("destination_id", ColumnKind::Int4),
    ("state", ColumnKind::Int2),
    ("attempts", ColumnKind::Int4),
    ("history", ColumnKind::Int4),
    ("interruptions", ColumnKind::Int4),
    ("next_attempt_at", ColumnKind::Int8),
    ("updated_at", ColumnKind::Int8),
    ("last_error", ColumnKind::Said),
    ("order_key", ColumnKind::Int8),
    ("place", ColumnKind::Int8),
];

const ENDED: [MovedColumn; 11] = [
    ("intent_id", ColumnKind::Int8),
    ("destination_id", ColumnKind::Int4),
    ("state", ColumnKind::Int2),
    ("attempts", ColumnKind::Int4),
    ("history", ColumnKind::Int4),
    ("interruptions", ColumnKind::Int4),
    ("updated_at", ColumnKind::Int8),
    ("last_error", ColumnKind::Said),
    ("order_key", ColumnKind::Int8),
    ("place", ColumnKind::Int8),
    ("discarded_at", ColumnKind::Int8),
];

/// A turn of one delivery. Its history is that of the row.
const CLAIMED: &str = "INSERT INTO relay.claims
         (epoch, turn, made_at, intents, destinations, attempts, histories, begun)
     SELECT $1::int8, $2::int8 + u.nth, u.at, ARRAY[u.i], ARRAY[u.d::int4], ARRAY[u.a::int4],
            ARRAY[u.h::int4], CASE WHEN u.claim > 0 THEN 1 ELSE 0 END
     FROM unnest($3::int8[], $4::int8[], $5::int8[], $6::int8[], $7::int8[], $8::int8[])
          WITH ORDINALITY AS u(i, d, a, h, claim, at, nth)";

/// Inserts deliveries into the tables of their states. Those under way are claims of a life that is
/// over: the first node that starts counts them as interrupted.
pub fn write(server: &mut MovedServer, rows: &[MovedRow]) -> Result<(), Failure> {
    let (mut waiting, mut ended, mut claimed) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        match row[STATE].number() {
            Some(3 | 4) => ended.push(without(row, &[NEXT_ATTEMPT_AT, CLAIM])),
            Some(1) => {
                waiting.push(without(&before_claim(row), &[CLAIM, row.len() - 1]));
                claimed.push(row.clone());
            }
            _ => waiting.push(without(row, &[CLAIM, row.len() - 1])),
        }
    }
    insert(&mut server.sql, "waiting", &WAITING, &waiting, &[])?;
    insert(&mut server.sql, "ended", &ENDED, &ended, &[])?;
    write_claims(server, &claimed)
}

fn without(row: &MovedRow, columns: &[usize]) -> MovedRow {
    let values = row.iter().enumerate();
    let kept = values.filter(|(at, _)| !columns.contains(at));
    kept.map(|(_, value)| value.clone()).collect()
}

/// The row that waited: an attempt is counted once it is settled.
fn before_claim(row: &MovedRow) -> MovedRow {
    let mut before = row.clone();
    let attempts = row[ATTEMPTS].number().unwrap_or(1);
    before[STATE] = MovedValue::Number(0);
    before[ATTEMPTS] = MovedValue::Number(attempts - 1);
    before[NEXT_ATTEMPT_AT] = row[UPDATED_AT].clone();
    before
}

fn write_claims(server: &mut MovedServer, rows: &[MovedRow]) -> Result<(), Failure> {
    const EPOCH: &str = "SELECT nextval('relay.epochs')";
    if rows.is_empty() {
        return Ok(());
    }
    let (epoch, turn) = match server.claims {
        Some(claims) => claims,
        None => (server.sql.one(EPOCH, &[])?.try_get(0)?, 0),
    };
    let of = |at| numbers(rows, at);
    let (intents, destinations, attempts) = (of(0), of(1), of(ATTEMPTS));
    let (histories, claims, at) = (of(HISTORY), of(CLAIM), of(UPDATED_AT));
    server.sql.execute(
        CLAIMED,
        &[
            &epoch,
            &turn,
            &intents,
            &destinations,
            &attempts,
            &histories,
            &claims,
            &at,
        ],
    )?;
    let written = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    server.claims = Some((epoch, turn + written));
    Ok(())
}
