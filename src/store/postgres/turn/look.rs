//! Finds due deliveries that may be claimed.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::settle::number_of;
use crate::clock::Timestamp;
use crate::store::postgres::connection::{Connection, Param};
use crate::store::postgres::failure::Failure;
use crate::store::postgres::in_flight::{Held, Position, Start};
use crate::store::types::{ClaimId, ClaimRequest, Claimed, DestinationId, IntentRow};

/// The due deliveries of destinations, each after a position, the longest due first. $1:
/// destinations; $2, $3: the time and the intent of each position; $4: how many of each; $5: now.
pub const LOOK: &str = "
SELECT a.d, w.intent_id, w.next_attempt_at, w.attempts, w.history,
       CASE WHEN w.place IS NOT NULL THEN w.order_key END, t.bucket,
       position('://' IN t.name) > 0
FROM unnest($1::int4[], $2::int8[], $3::int8[], $4::int8[]) WITH ORDINALITY AS a(d, at, id, n, o)
CROSS JOIN LATERAL (
    SELECT bucket, name FROM relay.destinations WHERE id = a.d OFFSET 0) AS t
CROSS JOIN LATERAL (
    SELECT * FROM relay.waiting w
    WHERE w.destination_id = a.d AND w.next_attempt_at <= $5::int8
      AND (w.next_attempt_at, w.intent_id) > (a.at, a.id)
    ORDER BY w.next_attempt_at, w.intent_id LIMIT a.n) AS w
ORDER BY a.o, w.next_attempt_at, w.intent_id";

/// A delivery that a look found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub claimed: Claimed,
    pub line: Option<i64>,
    pub bucket: i16,
    pub is_adhoc: bool,
}

impl Found {
    pub fn of(row: &Row) -> Result<Self, Failure> {
        let attempts: i32 = row.try_get(3)?;
        let history: i32 = row.try_get(4)?;
        Ok(Self {
            claimed: Claimed {
                intent: IntentRow(row.try_get(1)?),
                destination: DestinationId(i64::from(row.try_get::<_, i32>(0)?)),
                claim: ClaimId(0),
                due: Timestamp::from_millis(row.try_get(2)?),
                attempt: attempts.unsigned_abs().saturating_add(1),
                history: history.unsigned_abs(),
            },
            line: row.try_get(5)?,
            bucket: row.try_get(6)?,
            is_adhoc: row.try_get(7)?,
        })
    }

    pub fn position(&self) -> Position {
        (self.claimed.due, self.claimed.intent)
    }
}

/// The parameters of a look.
pub struct Looks {
    destinations: Vec<i32>,
    times: Vec<i64>,
    intents: Vec<i64>,
    counts: Vec<i64>,
}

impl Looks {
    /// Looks for what each request asks for, besides what is in flight.
    pub fn of(requests: &[ClaimRequest], starts: &[Start]) -> Self {
        let most = |(request, start): (&ClaimRequest, &Start)| {
            let most = request.begin + request.prefetch + start.in_flight.len();
            i64::try_from(most).unwrap_or(i64::MAX)
        };
        Self {
            destinations: requests
                .iter()
                .map(|one| number_of(one.destination.0))
                .collect(),
            times: starts.iter().map(|one| one.after.0.as_millis()).collect(),
            intents: starts.iter().map(|one| one.after.1.0).collect(),
            counts: requests.iter().zip(starts).map(most).collect(),
        }
    }

    /// The parameters from $1 on.
    pub fn params(&self) -> [&(dyn ToSql + Sync); 4] {
        [&self.destinations, &self.times, &self.intents, &self.counts]
    }
}

/// Finds the due deliveries of destinations behind the given positions.
pub fn look(
    connection: &mut Connection,
    looks: &Looks,
    now: Timestamp,
) -> Result<Vec<Found>, Failure> {
    let now = now.as_millis();
    let mut params: Vec<Param<'_>> = looks.params().to_vec();
    params.push(&now);
    let rows = connection.rows(LOOK, &params)?;
    rows.iter().map(Found::of).collect()
}

/// The deliveries to be claimed, in the order of the requests. Of each destination those that
/// begin at once come first.
pub fn choose(
    requests: &[ClaimRequest],
    starts: &[Start],
    found: &[Found],
    claim: ClaimId,
) -> Vec<Found> {
    let mut of: HashMap<DestinationId, Vec<Found>> = HashMap::new();
    for one in found {
        of.entry(one.claimed.destination).or_default().push(*one);
    }
    let mut chosen = Vec::new();
    for (request, start) in requests.iter().zip(starts) {
        let found = of.remove(&request.destination).unwrap_or_default();
        let free = found.into_iter().filter(|one| !start.skips(one.position()));
        for (at, mut one) in free.take(request.begin + request.prefetch).enumerate() {
            let is_begun = at < request.begin;
            one.claimed.claim = if is_begun { claim } else { claim.prefetched() };
            chosen.push(one);
        }
    }
    chosen
}

/// How far each destination was read: all that was found up to there is in flight now.
pub fn read_up_to(
    requests: &[ClaimRequest],
    starts: &[Start],
    found: &[Found],
    held: &[Held],
) -> HashMap<DestinationId, Position> {
    let starts: HashMap<_, _> = requests
        .iter()
        .map(|one| one.destination)
        .zip(starts)
        .collect();
    let key = |one: &Claimed| (one.destination, one.intent);
    let held: HashSet<_> = held.iter().map(|held| key(&held.claimed)).collect();
    let (mut read, mut is_over) = (HashMap::new(), HashSet::new());
    for one in found {
        let (destination, _) = key(&one.claimed);
        let skipped = starts.get(&destination);
        let skipped = skipped.is_some_and(|start| start.skips(one.position()));
        if !skipped && !held.contains(&key(&one.claimed)) {
            is_over.insert(destination);
        } else if !is_over.contains(&destination) {
            read.insert(destination, one.position());
        }
    }
    read
}
