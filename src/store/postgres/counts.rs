//! Deliveries by state, and the numbers of single destinations.
//!
//! No node knows all changes, so that the stored deliveries are counted again and again, for a
//! fiftieth of the time at most: while somebody asks, totals are some seconds old. A number of a
//! single destination is counted when it is asked for, as far as [`COUNTED`]; beyond it is the last
//! recount's.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_postgres::Row;

use crate::clock::Stopwatch;
use crate::model::DeliveryState;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::values::number;
use crate::store::types::{COUNTED_STATES, DestinationId};

/// Deliveries of a destination that are counted when they are asked for: some 2 ms in an index.
pub const COUNTED: i64 = 10_000;

/// The shortest time between two recounts, and how many times the duration of one passes before
/// the next.
const REST: Duration = Duration::from_secs(2);
const REST_OF_DURATION: u32 = 50;

/// How long a request waits for a recount. One that takes longer is for the next request.
const WAIT: Duration = Duration::from_secs(2);

/// Waiting deliveries by destination, claimed ones included.
pub const COUNT_WAITING: &str =
    "SELECT destination_id, count(*) FROM relay.waiting GROUP BY destination_id";
/// Those of them that were attempted.
pub const COUNT_RETRYING: &str = "SELECT count(*) FROM relay.waiting WHERE state = 2";
/// Claimed deliveries by their state before.
pub const COUNT_CLAIMED: &str = "SELECT count(*) FILTER (WHERE w.state = 0),
            count(*) FILTER (WHERE w.state = 2)
     FROM relay.claimed u
          JOIN relay.waiting w ON w.intent_id = ANY(ARRAY[u.intent_id])
               AND w.destination_id = ANY(ARRAY[u.destination_id]) AND w.history = u.history";
/// Dead letters by destination.
pub const COUNT_DEAD: &str = "SELECT destination_id, count(*) FROM relay.ended
     WHERE state = 4 AND discarded_at IS NULL GROUP BY destination_id";
/// Waiting deliveries of each of these destinations, and dead letters, up to a limit. Claims are
/// read once, and not once for each destination.
pub const COUNT_SOME: &str = "SELECT id, sum(waiting)::int8, sum(dead)::int8, sum(blocking)::int8,
            sum(claimed)::int8
     FROM (SELECT t.id,
                  (SELECT count(*) FROM (SELECT 1 FROM relay.waiting w
                   WHERE w.destination_id = ANY(ARRAY[t.id]) LIMIT $2) x) AS waiting,
                  (SELECT count(*) FROM (SELECT 1 FROM relay.ended e
                   WHERE e.destination_id = t.id AND e.state = 4 AND e.discarded_at IS NULL
                   LIMIT $2) x) AS dead,
                  (SELECT count(*) FROM (SELECT 1 FROM relay.ended e
                   WHERE e.destination_id = t.id AND e.place IS NOT NULL LIMIT $2) x) AS blocking,
                  0 AS claimed
           FROM unnest($1::int[]) AS t(id)
           UNION ALL
           SELECT u.destination_id, 0, 0, 0, count(*)
           FROM relay.claimed u
                JOIN relay.waiting w ON w.intent_id = ANY(ARRAY[u.intent_id])
                     AND w.destination_id = ANY(ARRAY[u.destination_id]) AND w.history = u.history
           WHERE (u.destination_id IN (SELECT unnest($1::int[]))) IS TRUE
           GROUP BY u.destination_id) n
     GROUP BY id";

/// The numbers of a destination.
#[derive(Clone, Copy, Debug, Default)]
pub struct Numbers {
    /// Without those under way.
    pub waiting: i64,
    pub processing: i64,
    pub dead: i64,
    pub blocking: i64,
}

/// The counts of the last recount.
#[derive(Debug, Default)]
pub struct Counts {
    known: Mutex<Known>,
    /// A recount has ended.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Known {
    stored: Option<Stored>,
    /// Recounts that have begun, and the last one that was kept.
    begun: u64,
    kept: u64,
    /// Since the last recount ended, and how long it took; none while one is under way.
    rest: Option<(Stopwatch, Duration)>,
    is_under_way: bool,
    /// Destinations that had blocking dead letters.
    have_blocked: BTreeSet<DestinationId>,
}

#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// By state, as [`COUNTED_STATES`] has them.
    totals: [i64; COUNTED_STATES.len()],
    /// Waiting ones and dead letters, if there are more than [`COUNTED`].
    waiting: HashMap<DestinationId, i64>,
    dead: HashMap<DestinationId, i64>,
}

impl Counts {
    /// Deliveries by state, of the last recount.
    pub fn totals(&self) -> Option<[(DeliveryState, i64); COUNTED_STATES.len()]> {
        let totals = self.known().stored.as_ref()?.totals;
        Some(std::array::from_fn(|at| (COUNTED_STATES[at], totals[at])))
    }

    /// Counts the stored deliveries by `read`, and keeps the result.
    pub fn recount<E>(&self, read: impl FnOnce() -> Result<Stored, E>) -> Result<(), E> {
        let (recount, begun) = (self.begin(), Stopwatch::start());
        let stored = read();
        let (stored, failed) = match stored {
            Ok(stored) => (Some(stored), Ok(())),
            Err(error) => (None, Err(error)),
        };
        self.end(recount, begun.elapsed(), stored);
        failed
    }

    /// Destinations have dead letters that block, though nobody may ask before they are gone.
    pub fn note_blocking(&self, destinations: impl IntoIterator<Item = DestinationId>) {
        self.known().have_blocked.extend(destinations);
    }

    /// Adds the destinations that had blocking dead letters, which have none now.
    pub fn with_former(&self, found: Vec<(DestinationId, i64)>) -> Vec<(DestinationId, i64)> {
        let have_blocked = &mut self.known().have_blocked;
        have_blocked.extend(found.iter().map(|(id, _)| *id));
        let found: HashMap<DestinationId, i64> = found.into_iter().collect();
        let of = |id: &DestinationId| (*id, found.get(id).copied().unwrap_or(0));
        have_blocked.iter().map(of).collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a recount: its number.
    fn begin(&self) -> u64 {
        let mut known = self.known();
        known.begun += 1;
        known.is_under_way = true;
        known.begun
    }

    /// Keeps a recount, unless a later one is known; none if it failed.
    fn end(&self, recount: u64, took: Duration, stored: Option<Stored>) {
        let mut known = self.known();
        known.is_under_way = false;
        known.rest = Some((Stopwatch::start(), took));
        if let Some(stored) = stored.filter(|_| known.kept < recount) {
            known.kept = recount;
            known.stored = Some(stored);
        }
        self.ended.notify_all();
    }

    /// Waits for the recount that is under way, if one is, but for [`WAIT`] at most. Blocks.
    pub fn wait(&self) {
        let is_under_way = |known: &mut Known| known.is_under_way;
        let waited = self
            .ended
            .wait_timeout_while(self.known(), WAIT, is_under_way);
        drop(waited);
    }

    /// Whether it is time for a recount, which the caller makes.
    pub fn take_due(&self) -> bool {
        let mut known = self.known();
        let has_rested = known.rest.as_ref().is_none_or(|(since, took)| {
            since.elapsed() >= REST.max(took.saturating_mul(REST_OF_DURATION))
        });
        let is_due = !known.is_under_way && has_rested;
        known.is_under_way |= is_due;
        is_due
    }

    /// The recount that was due isn't made.
    pub fn give_up(&self) {
        self.end(0, Duration::ZERO, None);
    }

    /// Replaces numbers that were counted no further than [`COUNTED`] by the last recount's.
    fn complete(&self, destination: DestinationId, numbers: &mut Numbers) {
        let known = self.known();
        let Some(stored) = &known.stored else { return };
        let of = |counts: &HashMap<_, i64>| counts.get(&destination).copied().unwrap_or(0);
        if numbers.waiting + numbers.processing > COUNTED {
            numbers.waiting = numbers
                .waiting
                .max(of(&stored.waiting) - numbers.processing);
        }
        if numbers.dead > COUNTED {
            numbers.dead = numbers.dead.max(of(&stored.dead));
        }
    }
}

/// Counts the stored deliveries, in one snapshot.
pub fn count(sql: &mut Connection) -> Result<Stored, Failure> {
    let mut found = sql
        .snapshot(&[
            (COUNT_WAITING, &[]),
            (COUNT_RETRYING, &[]),
            (COUNT_CLAIMED, &[]),
            (COUNT_DEAD, &[]),
        ])?
        .into_iter();
    let mut next = || found.next().unwrap_or_default();
    let (waiting, retrying, claimed, dead) = (next(), next(), next(), next());
    let (waiting, waiting_total) = by_destination(&waiting)?;
    let (dead, dead_total) = by_destination(&dead)?;
    let first = |rows: &[Row], at| rows.first().map_or(Ok(0), |row| number::<i64>(row, at));
    let retrying = first(&retrying, 0)?;
    let (of_queued, of_retrying) = (first(&claimed, 0)?, first(&claimed, 1)?);
    Ok(Stored {
        totals: [
            waiting_total - retrying - of_queued,
            of_queued + of_retrying,
            retrying - of_retrying,
            dead_total,
        ],
        waiting,
        dead,
    })
}

/// The counts of those with more than [`COUNTED`], and the sum of all.
fn by_destination(rows: &[Row]) -> Result<(HashMap<DestinationId, i64>, i64), Failure> {
    let (mut many, mut total) = (HashMap::new(), 0);
    for row in rows {
        let count: i64 = number(row, 1)?;
        total += count;
        if count > COUNTED {
            many.insert(row.try_get(0)?, count);
        }
    }
    Ok((many, total))
}

/// The numbers of these destinations; beyond [`COUNTED`] and one more they are those of the last
/// recount.
pub fn numbers(
    sql: &mut Connection,
    counts: &Counts,
    ids: &[DestinationId],
) -> Result<HashMap<DestinationId, Numbers>, Failure> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sql.rows(COUNT_SOME, &[&ids, &(COUNTED + 1)])?;
    let of = |row: &Row| {
        let id = row.try_get(0)?;
        let processing: i64 = number(row, 4)?;
        let mut numbers = Numbers {
            waiting: (number::<i64>(row, 1)? - processing).max(0),
            processing,
            dead: number(row, 2)?,
            blocking: number(row, 3)?,
        };
        counts.complete(id, &mut numbers);
        Ok((id, numbers))
    };
    rows.iter().map(of).collect()
}
