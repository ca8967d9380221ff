//! Finished events that make room under `database.max_bytes`.

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::limits::{MAX_HISTORY, STEP_ROWS};
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::reader::Reader;
use crate::store::postgres::upkeep::expired::rows_of;
use crate::store::postgres::upkeep::prune::{DELETE_INTENTS, LOCK_ENDED, LOCK_INTENTS, deleted};
use crate::store::types::{GoneReason, IntentRow, Shed, ShedCursor, ShedEvent, Sheddable};

/// Events looked at in one step, as the statements have it.
const LOOKS: usize = 500;

/// Neither an event with a waiting delivery nor one with a dead letter is shed. The limit and
/// the lateral join are for the planner, as in `expired`.
const SELECT_ROUTED: &str = "
    SELECT e.intent_id,
        e.is_needed OR w.waits IS NOT NULL,
        e.rows, octet_length(i.headers)::int8 + octet_length(i.body),
        CASE WHEN octet_length(i.headers) + octet_length(i.body) = 0 THEN i.gone END
    FROM (SELECT intent_id,
                 bool_or(place IS NOT NULL OR (state = 4 AND discarded_at IS NULL)) AS is_needed,
                 sum(1 + greatest(0, least(history, $2::int4)))::int8 AS rows
          FROM relay.ended WHERE intent_id > $1
          GROUP BY intent_id ORDER BY intent_id LIMIT 500) e
        LEFT JOIN LATERAL (SELECT true AS waits FROM relay.waiting
                           WHERE intent_id = e.intent_id LIMIT 1) w ON true
        LEFT JOIN relay.intents i ON i.id = e.intent_id
    ORDER BY e.intent_id";

const SELECT_UNROUTED: &str = "
    SELECT id, false, 0::int8, octet_length(headers)::int8 + octet_length(body),
        CASE WHEN octet_length(headers) + octet_length(body) = 0 THEN gone END
    FROM relay.intents WHERE unrouted = 1 AND id > $1 ORDER BY id LIMIT 500";

/// Deletes the payloads and the histories of finished events. Their keys are kept, and their
/// metadata.
const SHED_PAYLOADS: &str = "
    WITH shed AS MATERIALIZED (
        UPDATE relay.intents i
        SET body = '', headers = '', query = NULL, checksum = NULL, gone = $2, gone_at = $3
        FROM unnest($1::int8[]) AS t(id) WHERE i.id = t.id
            AND NOT EXISTS (SELECT 1 FROM relay.waiting w WHERE w.intent_id = ANY(ARRAY[i.id]))
            AND NOT EXISTS (SELECT 1 FROM relay.ended e WHERE e.intent_id = i.id
                AND (e.place IS NOT NULL OR (e.state = 4 AND e.discarded_at IS NULL)))
        RETURNING i.id
    ), a AS (DELETE FROM relay.attempts a USING shed WHERE a.intent_id = shed.id)
    SELECT count(*) FROM shed";

/// Reads the next few events in the order of acceptance. A pass meets each event once: one that
/// waits is skipped, and not looked at again before the next pass.
fn find(
    connection: &mut Connection,
    keys: Timestamp,
    cursor: ShedCursor,
) -> Result<Sheddable, Failure> {
    let most = i32::try_from(MAX_HISTORY).unwrap_or(i32::MAX);
    let (after, rows) = match cursor {
        ShedCursor::Routed(after) => (after, connection.rows(SELECT_ROUTED, &[&after, &most])?),
        ShedCursor::Unrouted(after) => (after, connection.rows(SELECT_UNROUTED, &[&after])?),
        ShedCursor::End => (IntentRow(0), Vec::new()),
    };
    let over = IntentRow::first_at(keys);
    let (mut events, mut last, mut cost) = (Vec::new(), after, 0);
    for row in &rows {
        last = row.try_get(0)?;
        let is_needed: bool = row.try_get(1)?;
        // None if the intent was deleted meanwhile.
        let bytes: Option<i64> = row.try_get(3)?;
        let gone: Option<GoneReason> = row.try_get(4)?;
        let is_over = last < over;
        let Some(bytes) = bytes.filter(|bytes| *bytes > 0 || is_over) else {
            continue;
        };
        if is_needed || gone == Some(GoneReason::Erased) {
            continue;
        }
        let rows = rows_of(row.try_get(2)?, bytes);
        cost += rows;
        events.push(ShedEvent {
            intent: last,
            rows,
            is_over,
        });
        if cost >= STEP_ROWS {
            break;
        }
    }
    let is_cut = rows.len() == LOOKS || cost >= STEP_ROWS;
    let next = match cursor {
        ShedCursor::Routed(_) if is_cut => ShedCursor::Routed(last),
        ShedCursor::Routed(_) => ShedCursor::Unrouted(IntentRow(0)),
        ShedCursor::Unrouted(_) if is_cut => ShedCursor::Unrouted(last),
        ShedCursor::Unrouted(_) | ShedCursor::End => ShedCursor::End,
    };
    Ok(Sheddable { events, next })
}

/// Sheds events at once; how many were still finished.
fn apply(
    connection: &mut Connection,
    events: &[ShedEvent],
    now: Timestamp,
) -> Result<usize, Failure> {
    let all: Vec<IntentRow> = events.iter().map(|event| event.intent).collect();
    let of = |is_over: bool| {
        let events = events.iter().filter(move |event| event.is_over == is_over);
        events.map(|event| event.intent).collect::<Vec<_>>()
    };
    let (over, others) = (of(true), of(false));
    let any_time = vec![Timestamp::from_millis(i64::MAX); over.len()];
    let made = connection.transaction(&[
        (LOCK_INTENTS, &[&all]),
        (LOCK_ENDED, &[&all]),
        (DELETE_INTENTS, &[&over, &any_time, &true]),
        (SHED_PAYLOADS, &[&others, &GoneReason::Shed, &now]),
    ])?;
    Ok(deleted(&made[2])? + deleted(&made[3])?)
}

impl Postgres {
    /// Sheds the next part of the events that were found; false if none is left. Blocks.
    pub fn shed(&self, shed: &mut Shed) -> Result<bool, StoreError> {
        let Some(events) = shed.next_events() else {
            return Ok(false);
        };
        let now = self.shared().clock.now();
        let made = self.change(|connection| apply(connection, &events, now))?;
        self.shared().metrics.space.shed(made as u64);
        shed.committed(made);
        Ok(true)
    }
}

impl Reader {
    /// The next finished events that may be shed. Keys accepted before `keys` are past their
    /// window.
    pub fn sheddable(&self, keys: Timestamp, cursor: ShedCursor) -> Result<Sheddable, StoreError> {
        self.read(|connection| find(connection, keys, cursor))
    }
}
