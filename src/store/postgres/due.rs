//! Destinations with waiting deliveries, and what is due.
//!
//! A delivery in flight waits in the table as before: it is passed over here, by this node's
//! memory. A destination of another node is left to that one.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio_postgres::Row;

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::postgres::columns::BLOCKED;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::in_flight::{Position, Start};
use crate::store::postgres::reader::Reader;
use crate::store::types::{
    DestinationBacklog, DestinationId, DestinationStatus, DueScan, DueScanned, IntentRow, Origin,
    ScanCursor, ScanPart,
};

/// The destinations with rows in `waiting` after $1, at most $2 of them, each with its first row if
/// it is in one of the buckets $3. Steps from one destination to the next in the index: the cost is
/// that of the destinations, however many deliveries wait.
const SCAN: &str = "
WITH RECURSIVE stepped(id, n) AS (
    (SELECT destination_id, 1::int8 FROM relay.waiting WHERE destination_id > $1::int4
     ORDER BY destination_id LIMIT 1)
    UNION ALL
    SELECT (SELECT w.destination_id FROM relay.waiting w WHERE w.destination_id > s.id
            ORDER BY w.destination_id LIMIT 1), s.n + 1
    FROM stepped s WHERE s.id IS NOT NULL AND s.n < $2::int8
)
SELECT s.id, position('://' IN t.name) = 0, t.owner, t.proven_at IS NOT NULL,
       t.probe_at IS NOT NULL, f.next_attempt_at, f.intent_id
FROM stepped s
LEFT JOIN LATERAL (
    SELECT * FROM relay.destinations
    WHERE id = s.id AND bucket = ANY($3::int2[]) OFFSET 0) AS t ON true
LEFT JOIN LATERAL (
    SELECT w.next_attempt_at, w.intent_id FROM relay.waiting w WHERE w.destination_id = t.id
    ORDER BY w.next_attempt_at, w.intent_id LIMIT 1) AS f ON true
WHERE s.id IS NOT NULL
ORDER BY s.id";

/// The first rows of destinations: as many of each as $2 says.
const FIRST_ROWS: &str = "
SELECT a.d, w.next_attempt_at, w.intent_id
FROM unnest($1::int4[], $2::int8[]) AS a(d, n)
CROSS JOIN LATERAL (
    SELECT w.next_attempt_at, w.intent_id FROM relay.waiting w WHERE w.destination_id = a.d
    ORDER BY w.next_attempt_at, w.intent_id LIMIT a.n) AS w
ORDER BY a.d, w.next_attempt_at, w.intent_id";

/// The facts about these destinations.
const ORIGINS: &str = "SELECT id, position('://' IN name) = 0, owner, proven_at IS NOT NULL
     FROM relay.destinations WHERE id = ANY($1::int4[]) AND bucket = ANY($2::int2[])";

/// The reasons that keep destinations of these names back.
const STATUSES: &str = "SELECT a.o, t.paused_at IS NOT NULL, t.held_until, t.probe_at IS NOT NULL
     FROM unnest($1::text[]) WITH ORDINALITY AS a(name, o)
     CROSS JOIN LATERAL (SELECT * FROM relay.destinations d WHERE d.name = a.name OFFSET 0) AS t";

/// The deliveries that destinations have due behind the positions $2, $3 at the time $5: counted up
/// to $6 beside the $4 that are in flight, and the first rows, one more than are in flight. $7: the
/// node's buckets.
const DUE: &str = "
SELECT a.o, t.name, t.paused_at IS NOT NULL, t.held_until, t.probe_at, t.probe_wait,
       c.ready, f.next_attempt_at, f.intent_id
FROM unnest($1::int4[], $2::int8[], $3::int8[], $4::int8[])
     WITH ORDINALITY AS a(d, at, id, n, o)
CROSS JOIN LATERAL (
    SELECT * FROM relay.destinations WHERE id = a.d AND bucket = ANY($7::int2[]) OFFSET 0) AS t
CROSS JOIN LATERAL (
    SELECT count(*) AS ready FROM (
        SELECT 1 FROM relay.waiting w
        WHERE w.destination_id = a.d AND w.next_attempt_at <= $5::int8
          AND (w.next_attempt_at, w.intent_id) > (a.at, a.id)
        ORDER BY w.next_attempt_at, w.intent_id LIMIT $6::int8 + a.n) AS counted) AS c
LEFT JOIN LATERAL (
    SELECT w.next_attempt_at, w.intent_id FROM relay.waiting w
    WHERE w.destination_id = a.d AND (w.next_attempt_at, w.intent_id) > (a.at, a.id)
    ORDER BY w.next_attempt_at, w.intent_id LIMIT a.n + 1) AS f ON true
ORDER BY a.o, f.next_attempt_at, f.intent_id";

fn id_of(row: &Row, at: usize) -> Result<DestinationId, Failure> {
    Ok(DestinationId(i64::from(row.try_get::<_, i32>(at)?)))
}

fn time_of(row: &Row, at: usize) -> Result<Option<Timestamp>, Failure> {
    let millis: Option<i64> = row.try_get(at)?;
    Ok(millis.map(Timestamp::from_millis))
}

fn position_of(row: &Row, at: usize) -> Result<Option<Position>, Failure> {
    let intent: Option<i64> = row.try_get(at + 1)?;
    Ok(time_of(row, at)?.zip(intent.map(IntentRow)))
}

/// An origin, of the columns from `at` on.
fn origin_of(row: &Row, id: DestinationId, at: usize) -> Result<Option<Origin>, Failure> {
    let is_named: Option<bool> = row.try_get(at)?;
    let owner: Option<i64> = row.try_get(at + 1)?;
    let is_proven: bool = row.try_get(at + 2)?;
    Ok(is_named.map(|is_named| Origin {
        id,
        is_named,
        owner: owner.map(crate::store::types::OwnerId),
        is_proven,
    }))
}

/// The numbers of those destinations that can exist.
fn numbers<'a>(ids: impl IntoIterator<Item = &'a DestinationId>) -> Vec<i32> {
    ids.into_iter()
        .filter_map(|id| i32::try_from(id.0).ok())
        .collect()
}

/// A destination of a scan, and its first row.
struct Stepped {
    id: DestinationId,
    origin: Option<Origin>,
    has_open_breaker: bool,
    first: Option<Position>,
}

impl Stepped {
    fn of(row: &Row) -> Result<Self, Failure> {
        let id = id_of(row, 0)?;
        Ok(Self {
            id,
            origin: origin_of(row, id, 1)?,
            has_open_breaker: row.try_get(4)?,
            first: position_of(row, 5)?,
        })
    }
}

type InFlight = HashMap<DestinationId, BTreeSet<Position>>;

fn is_in_flight(in_flight: &InFlight, id: DestinationId, position: Position) -> bool {
    let of = in_flight.get(&id);
    of.is_some_and(|held| held.contains(&position))
}

/// The first rows that are not in flight, of destinations whose first row is.
fn first_free(
    connection: &mut Connection,
    stepped: &[Stepped],
    in_flight: &InFlight,
) -> Result<HashMap<DestinationId, Position>, Failure> {
    let is_busy = |one: &&Stepped| {
        one.first
            .is_some_and(|first| is_in_flight(in_flight, one.id, first))
    };
    let busy: Vec<DestinationId> = stepped.iter().filter(is_busy).map(|one| one.id).collect();
    if busy.is_empty() {
        return Ok(HashMap::new());
    }
    let most = |id: &DestinationId| in_flight.get(id).map_or(0, BTreeSet::len) + 1;
    let most = busy
        .iter()
        .map(|id| i64::try_from(most(id)).unwrap_or(i64::MAX));
    let most: Vec<i64> = most.collect();
    let mut free = HashMap::new();
    for row in connection.rows(FIRST_ROWS, &[&numbers(&busy), &most])? {
        let id = id_of(&row, 0)?;
        if let Some(position) = position_of(&row, 1)?
            && !is_in_flight(in_flight, id, position)
        {
            free.entry(id).or_insert(position);
        }
    }
    Ok(free)
}

/// A part of a scan. See `SQLite`'s for what it promises.
fn waiting(
    connection: &mut Connection,
    (after, at_most): (ScanCursor, usize),
    buckets: &[i16],
    in_flight: &InFlight,
) -> Result<ScanPart, Failure> {
    let after = i32::try_from(after.0).unwrap_or(i32::MAX);
    let limit = i64::try_from(at_most).unwrap_or(i64::MAX);
    let rows = connection.rows(SCAN, &[&after, &limit, &buckets])?;
    let stepped: Vec<Stepped> = rows.iter().map(Stepped::of).collect::<Result<_, _>>()?;
    let free = first_free(connection, &stepped, in_flight)?;
    let mut part = ScanPart::default();
    for one in &stepped {
        let first = one
            .first
            .filter(|first| !is_in_flight(in_flight, one.id, *first));
        let Some(((at, _), origin)) = first.or(free.get(&one.id).copied()).zip(one.origin) else {
            continue;
        };
        if one.has_open_breaker {
            part.waiting.push((origin, Timestamp::from_millis(0)));
        } else if at < BLOCKED {
            part.waiting.push((origin, at));
        }
    }
    let last = stepped.last().filter(|_| stepped.len() >= at_most);
    part.next = last.map(|last| ScanCursor(last.id.0));
    Ok(part)
}

fn statuses(
    connection: &mut Connection,
    names: &[String],
) -> Result<Vec<Option<DestinationStatus>>, Failure> {
    let mut found: Vec<_> = names.iter().map(|_| None).collect();
    if names.is_empty() {
        return Ok(found);
    }
    for row in connection.rows(STATUSES, &[&names])? {
        let nth: i64 = row.try_get(0)?;
        let place = usize::try_from(nth - 1)
            .ok()
            .and_then(|at| found.get_mut(at));
        if let Some(place) = place {
            *place = Some(DestinationStatus {
                is_paused: row.try_get(1)?,
                held_until: time_of(&row, 2)?,
                is_breaker_open: row.try_get(3)?,
            });
        }
    }
    Ok(found)
}

/// The parameters of a look at what is due.
struct Asked {
    destinations: Vec<i32>,
    times: Vec<i64>,
    intents: Vec<i64>,
    in_flight: Vec<i64>,
    counted: i64,
}

fn due(
    connection: &mut Connection,
    (asked, starts): (&Asked, &[Start]),
    now: Timestamp,
    buckets: &[i16],
) -> Result<Vec<Option<DestinationBacklog>>, Failure> {
    let mut found: Vec<Option<DestinationBacklog>> = starts.iter().map(|_| None).collect();
    let rows = connection.rows(
        DUE,
        &[
            &asked.destinations,
            &asked.times,
            &asked.intents,
            &asked.in_flight,
            &now.as_millis(),
            &asked.counted,
            &buckets,
        ],
    )?;
    for row in rows {
        let nth = usize::try_from(row.try_get::<_, i64>(0)? - 1).unwrap_or(usize::MAX);
        let (Some(place), Some(start)) = (found.get_mut(nth), starts.get(nth)) else {
            continue;
        };
        let backlog = match place {
            Some(backlog) => backlog,
            None => place.insert(backlog_of(&row, start, now, asked.counted)?),
        };
        if let Some(position) = position_of(&row, 7)?
            && backlog.next_attempt_at.is_none()
            && position.0 < BLOCKED
            && !start.skips(position)
        {
            backlog.next_attempt_at = Some(position.0);
        }
    }
    Ok(found)
}

/// All of a backlog but when the first delivery is due.
fn backlog_of(
    row: &Row,
    start: &Start,
    now: Timestamp,
    counted: i64,
) -> Result<DestinationBacklog, Failure> {
    let wait: Option<i64> = row.try_get(5)?;
    let wait = wait.map(|wait| Duration::from_millis(wait.unsigned_abs()));
    // A delivery in flight was due once, unless the clock was set back.
    let in_flight = start.in_flight.iter().filter(|(at, _)| *at <= now).count();
    let ready: i64 = row.try_get(6)?;
    let ready = usize::try_from(ready)
        .unwrap_or(0)
        .saturating_sub(in_flight);
    Ok(DestinationBacklog {
        name: row.try_get(1)?,
        next_attempt_at: None,
        ready: ready.min(usize::try_from(counted).unwrap_or(usize::MAX)),
        is_paused: row.try_get(2)?,
        held_until: time_of(row, 3)?,
        probe: time_of(row, 4)?.zip(wait),
    })
}

impl Reader {
    /// Looks for destinations with waiting deliveries.
    pub fn scan(&self, look: &DueScan<'_>) -> Result<DueScanned, StoreError> {
        let shared = self.shared();
        let buckets = shared.node.buckets();
        if look.cursor == Some(ScanCursor::START) {
            shared.in_flight.look_from_start();
        }
        // Before the table is read: what is settled in between is no longer there.
        let in_flight = shared.in_flight.all();
        self.read(|connection| {
            let mut newcomers = Vec::new();
            if !look.newcomers.is_empty() {
                let asked = numbers(look.newcomers);
                for row in connection.rows(ORIGINS, &[&asked, &&*buckets])? {
                    newcomers.extend(origin_of(&row, id_of(&row, 0)?, 1)?);
                }
            }
            let part = match look.cursor {
                Some(after) => waiting(connection, (after, look.at_most), &buckets, &in_flight)?,
                None => ScanPart::default(),
            };
            Ok(DueScanned {
                newcomers,
                part,
                statuses: statuses(connection, look.names)?,
            })
        })
    }

    /// The waiting deliveries of these destinations, those due at `now` counted up to `counted`
    /// each; none of a destination that no longer exists, or is another node's.
    pub fn due(
        &self,
        destinations: impl Iterator<Item = DestinationId>,
        now: Timestamp,
        counted: usize,
    ) -> Result<Vec<Option<DestinationBacklog>>, StoreError> {
        let shared = self.shared();
        let buckets = shared.node.buckets();
        let ids: Vec<DestinationId> = destinations.collect();
        let starts = shared.in_flight.starts(&ids, shared.clock.now());
        let length = |start: &Start| i64::try_from(start.in_flight.len()).unwrap_or(i64::MAX);
        let asked = Asked {
            // No destination has the number 0.
            destinations: ids
                .iter()
                .map(|id| i32::try_from(id.0).unwrap_or(0))
                .collect(),
            times: starts.iter().map(|one| one.after.0.as_millis()).collect(),
            intents: starts.iter().map(|one| one.after.1.0).collect(),
            in_flight: starts.iter().map(length).collect(),
            counted: i64::try_from(counted).unwrap_or(i64::MAX / 2),
        };
        self.read(|connection| due(connection, (&asked, &starts), now, &buckets))
    }
}
