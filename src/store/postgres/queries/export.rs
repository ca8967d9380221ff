//! Whole events, for an export.

use std::collections::HashMap;
use std::time::Duration;

use tokio_postgres::Row;

use crate::clock::Timestamp;
use crate::model::{DeliveryState, Surface};
use crate::store::error::StoreError;
use crate::store::postgres::columns::{gone_payload, intent_id, waits_until};
use crate::store::postgres::connection::{Connection, Param};
use crate::store::postgres::failure::Failure;
use crate::store::postgres::operator::Operator;
use crate::store::postgres::queries::destinations::destination_id;
use crate::store::postgres::text::Text;
use crate::store::postgres::values::{limit, maybe_number, maybe_text, number, text, wanted_type};
use crate::store::types::{
    AttemptEntry, DeliveryRecord, DestinationId, EventRecord, ExportCursor, GoneRecord, IntentRow,
    KeyRecord, NewBulk, StateSet,
};

/// Events found in one step, and those that it looks at.
const FOUND: usize = 200;
const LOOKS: usize = 1_000;

/// The next intents after $1 and up to $2, each with whether it is wanted: by its source $3, its
/// type ($4 as a whole, $5 its beginning), and a delivery that is in one of the states $6, to the
/// destination $7, with the reason $8 in its last error. All but the states may be NULL, and these
/// if no delivery is asked for. $9: the limit.
macro_rules! select {
    ($of:literal) => {
        concat!(
            "SELECT i.id,
            (($3::bytea IS NULL OR (i.surface = 1 AND i.label = $3))
             AND ($4::bytea IS NULL OR y.own = $4)
             AND ($5::bytea IS NULL OR substring(y.own FROM 1 FOR length($5)) = $5)
             AND ($6::smallint[] IS NULL
                  OR EXISTS (SELECT 1 FROM relay.ended e
                             WHERE e.intent_id = i.id AND e.state = ANY($6)
                               AND e.discarded_at IS NULL
                               AND ($7::int IS NULL OR e.destination_id = $7)
                               AND ($8::bytea IS NULL OR position($8 IN e.last_error) > 0) OFFSET 0)
                  OR EXISTS (SELECT 1 FROM relay.waiting w CROSS JOIN LATERAL
                                  (SELECT EXISTS (SELECT 1 FROM relay.claimed u
                                   WHERE u.intent_id = w.intent_id
                                     AND u.destination_id = w.destination_id
                                     AND u.history = w.history) AS it) claimed
                             WHERE w.intent_id = i.id
                               AND CASE WHEN claimed.it THEN 1 ELSE w.state END = ANY($6)
                               AND ($7::int IS NULL OR w.destination_id = $7)
                               AND ($8::bytea IS NULL OR position($8 IN w.last_error) > 0) OFFSET 0))
            ) IS TRUE
     FROM relay.intents i CROSS JOIN LATERAL
          (SELECT CASE WHEN i.surface = 1 THEN i.event_type ELSE i.label END AS own) y
     WHERE i.id > $1 AND i.id <= $2",
            $of,
            " ORDER BY i.id LIMIT $9"
        )
    };
}

pub const SELECT: &str = select!("");
/// None but the intents $10.
pub const SELECT_OF: &str = select!(" AND i.id = ANY($10::bigint[])");

/// The next events that a filter selects, and where to go on; none if these are the last.
fn find(
    sql: &mut Connection,
    new: &NewBulk,
    after: Option<ExportCursor>,
    begun: Timestamp,
) -> Result<(Vec<IntentRow>, Option<ExportCursor>), Failure> {
    let filter = &new.filter;
    let destination = match &filter.destination {
        Some(name) => match destination_id(sql, name)? {
            Some(id) => Some(id),
            None => return Ok((Vec::new(), None)),
        },
        None => None,
    };
    let moment = Duration::from_millis(1);
    let end = filter.until.min(begun.minus(moment)).plus(moment);
    let mut last = IntentRow(IntentRow::first_at(end).0 - 1);
    let first = IntentRow(IntentRow::first_at(filter.since).0 - 1);
    let mut start = after.map_or(first, |ExportCursor(intent)| IntentRow(intent));
    let source = filter.source.as_ref().map(Text::from);
    let (whole, beginning) = wanted_type(filter.event_type.as_deref());
    let states = filter.is_of_deliveries().then(|| numbers_of(filter.states));
    let reason = filter.reason.as_ref().map(Text::from);
    let ids: Vec<i64> = filter.ids.iter().map(|id| id.row()).collect();
    if let (Some(least), Some(greatest)) = (ids.iter().min(), ids.iter().max()) {
        start = start.max(IntentRow(least - 1));
        last = last.min(IntentRow(*greatest));
    }
    let most = limit(LOOKS);
    let mut params: Vec<Param<'_>> = vec![
        &start,
        &last,
        &source,
        &whole,
        &beginning,
        &states,
        &destination,
        &reason,
        &most,
    ];
    let mut select = SELECT;
    if !ids.is_empty() {
        select = SELECT_OF;
        params.push(&ids);
    }
    let rows = sql.rows(select, &params)?;
    let mut found = Vec::new();
    let mut end = start;
    for row in &rows {
        if found.len() == FOUND {
            return Ok((found, Some(ExportCursor(end.0))));
        }
        end = row.try_get(0)?;
        if row.try_get(1)? {
            found.push(end);
        }
    }
    let has_more = rows.len() == LOOKS;
    Ok((found, has_more.then_some(ExportCursor(end.0))))
}

/// The numbers of the states of a set.
fn numbers_of(states: StateSet) -> Vec<DeliveryState> {
    let all = DeliveryState::ALL.into_iter();
    all.filter(|state| states.holds(*state)).collect()
}

const SELECT_EVENT: &str = "SELECT id, random, surface, created_at, label, event_type, url, query,
            metadata, idempotency_key, scope, request_digest, headers, body, checksum, gone,
            gone_at, unrouted IS NOT NULL
     FROM relay.intents WHERE id = $1";

const SELECT_DELIVERIES: &str = "SELECT d.destination_id, t.name, t.owner, d.state, d.attempts,
            d.history, d.next_attempt_at, d.updated_at, d.last_error, d.order_key,
            d.place IS NOT NULL, d.discarded_at, c.attempt, c.made_at
     FROM (SELECT destination_id, state, attempts, history, next_attempt_at, updated_at, last_error,
                  order_key, place, NULL::bigint AS discarded_at
           FROM relay.waiting WHERE intent_id = $1
           UNION ALL
           SELECT destination_id, state, attempts, history, NULL, updated_at, last_error,
                  order_key, place, discarded_at
           FROM relay.ended WHERE intent_id = $1) d
          CROSS JOIN LATERAL (
              SELECT * FROM relay.destinations o WHERE o.id = d.destination_id OFFSET 0) AS t
          CROSS JOIN LATERAL (
              SELECT max(u.attempt) AS attempt, max(u.made_at) AS made_at
              FROM relay.claimed u
              WHERE u.intent_id = $1 AND u.destination_id = d.destination_id
                AND u.history = d.history AND d.next_attempt_at IS NOT NULL) c
     ORDER BY d.destination_id";

const SELECT_HISTORIES: &str = "SELECT destination_id, entry, attempt, started_at, duration_ms,
            outcome, status_code, failure, error, response, address, resolve_ms, connect_ms,
            tls_ms, first_byte_ms, next
     FROM relay.attempts WHERE intent_id = $1 ORDER BY destination_id, entry";

/// An event with its deliveries and their histories, in one snapshot. None if there is none.
fn record(sql: &mut Connection, intent: IntentRow) -> Result<Option<EventRecord>, Failure> {
    let mut found = sql
        .snapshot(&[
            (SELECT_EVENT, &[&intent]),
            (SELECT_DELIVERIES, &[&intent]),
            (SELECT_HISTORIES, &[&intent]),
        ])?
        .into_iter();
    let mut next = || found.next().unwrap_or_default();
    let (events, deliveries, entries) = (next(), next(), next());
    let Some(row) = events.first() else {
        return Ok(None);
    };
    let mut event = event(row)?;
    let mut histories: HashMap<DestinationId, Vec<AttemptEntry>> = HashMap::new();
    for row in &entries {
        let history = histories.entry(row.try_get(0)?).or_default();
        history.push(entry(row)?);
    }
    for row in &deliveries {
        let mut delivery = delivery(row)?;
        delivery.history = histories.remove(&row.try_get(0)?).unwrap_or_default();
        event.deliveries.push(delivery);
    }
    Ok(Some(event))
}

fn event(row: &Row) -> Result<EventRecord, Failure> {
    let key = maybe_text(row, 9)?;
    let (scope, request_digest) = (row.try_get(10)?, row.try_get(11)?);
    Ok(EventRecord {
        id: Surface::from_number(number(row, 2)?).public_id(intent_id(row, 0)?),
        accepted_at: row.try_get(3)?,
        label: text(row, 4)?,
        event_type: maybe_text(row, 5)?,
        url: row.try_get(6)?,
        query: maybe_text(row, 7)?,
        metadata: row.try_get(8)?,
        key: key.map(|key| KeyRecord {
            key,
            scope,
            request_digest,
        }),
        headers: row.try_get(12)?,
        payload: row.try_get(13)?,
        checksum: row.try_get(14)?,
        payload_gone: gone_payload(row, 15)?.map(|gone| GoneRecord {
            reason: gone.reason,
            at: gone.at,
        }),
        is_unrouted: row.try_get(17)?,
        deliveries: Vec::new(),
    })
}

fn delivery(row: &Row) -> Result<DeliveryRecord, Failure> {
    let mut record = DeliveryRecord {
        destination: row.try_get(1)?,
        owner: row.try_get(2)?,
        status: row.try_get(3)?,
        attempts: number(row, 4)?,
        entries: number(row, 5)?,
        next_attempt_at: waits_until(row, 6)?,
        updated_at: row.try_get(7)?,
        last_error: maybe_text(row, 8)?,
        order_key: row.try_get(9)?,
        is_in_line: row.try_get(10)?,
        discarded_at: row.try_get(11)?,
        history: Vec::new(),
    };
    if let Some(attempt) = maybe_number(row, 12)? {
        record.status = DeliveryState::Processing;
        record.attempts = attempt;
        record.updated_at = row.try_get(13)?;
        record.next_attempt_at = None;
    }
    Ok(record)
}

fn entry(row: &Row) -> Result<AttemptEntry, Failure> {
    Ok(AttemptEntry {
        entry: number(row, 1)?,
        attempt: number(row, 2)?,
        started_at: row.try_get(3)?,
        duration_ms: row.try_get(4)?,
        outcome: row.try_get(5)?,
        status_code: maybe_number(row, 6)?,
        failure: row.try_get(7)?,
        error: maybe_text(row, 8)?,
        response: row.try_get(9)?,
        address: row.try_get(10)?,
        resolve_ms: row.try_get(11)?,
        connect_ms: row.try_get(12)?,
        tls_ms: row.try_get(13)?,
        first_byte_ms: row.try_get(14)?,
        next: maybe_text(row, 15)?,
    })
}

impl Operator {
    /// Events that were accepted before payloads had checksums: none, since this engine came after
    /// them.
    pub fn count_unchecked(&self) -> Result<i64, StoreError> {
        Ok(0)
    }

    /// The next events that a filter selects of those accepted before an export began, oldest
    /// first, and where to go on; none if these are the last.
    pub fn find_to_export(
        &self,
        new: &NewBulk,
        after: Option<ExportCursor>,
        begun: Timestamp,
    ) -> Result<(Vec<IntentRow>, Option<ExportCursor>), StoreError> {
        self.read(|sql| find(sql, new, after, begun))
    }

    /// An event, whole; none if it was deleted meanwhile.
    pub fn export(&self, intent: IntentRow) -> Result<Option<EventRecord>, StoreError> {
        self.read(|sql| record(sql, intent))
    }
}
