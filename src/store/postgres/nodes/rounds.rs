//! The thread that finds what others made due: events that other nodes accepted, and deliveries
//! that somebody replayed. It listens for their notifications; looking every 250 ms is the truth,
//! and all there is behind a pooler that keeps no session.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Stopwatch;
use crate::stop::{Deadline, Ending, Stop};
use crate::store::postgres::connection::{Connection, Notification};
use crate::store::postgres::failure::Failure;
use crate::store::postgres::in_flight::LATE;
use crate::store::postgres::retry::{Link, Patience};
use crate::store::postgres::shared::Shared;
use crate::store::postgres::told::Told;
use crate::store::types::DestinationId;

/// The time between two rounds.
const EVERY: Duration = Duration::from_millis(250);

/// A commit is seen by a round if it came within this time after its ids were given: [`LATE`],
/// since whoever commits later lets owners look from the beginning. Looking costs as much as has
/// arrived meanwhile and still waits.
const LATELY: Duration = LATE;

/// The same for one round in [`LONG_EVERY`]: the node that committed late may have ended before it
/// told anybody. Later ones are found by the dispatcher's own scans.
const LONG: Duration = Duration::from_secs(10);
const LONG_EVERY: u32 = 8;

/// Destinations of own buckets that got an event lately. $1: the first id; $2: the own slot, whose
/// events the own writer tells of; $3: buckets. Arrivals are read first: by their destinations the
/// planner would go through all that waits.
pub const ARRIVED: &str = "SELECT DISTINCT a.destination_id
     FROM (SELECT destination_id, intent_id FROM relay.waiting
           WHERE intent_id > $1 ORDER BY intent_id OFFSET 0) AS a
     CROSS JOIN LATERAL (
         SELECT 1 FROM relay.destinations
         WHERE id = a.destination_id AND bucket = ANY($3) OFFSET 0) AS d
     WHERE (a.intent_id & 31) <> $2::int8";

/// Changes if something old became due in an own bucket.
const POKED: &str = "SELECT coalesce(sum(poked), 0)::int8 FROM relay.buckets
     WHERE bucket = ANY($1)";

/// Why a round begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The time between two rounds is over.
    Time,
    /// Something became due in a bucket of this node's.
    Work,
    /// Buckets became free.
    Nodes,
}

struct Rounds {
    shared: Arc<Shared>,
    link: Link,
    listening: Option<Connection>,
    poked: Option<(Arc<[i16]>, i64)>,
    /// The time between two rounds.
    every: Duration,
    /// The time that the last round took.
    took: Duration,
    /// Rounds until now.
    made: u32,
}

/// Starts the thread; it ends with the node.
pub fn spawn(shared: Arc<Shared>) -> std::io::Result<Ending> {
    let (running, ended) = Ending::new();
    let thread = std::thread::Builder::new().name("relay-rounds".to_owned());
    let mut rounds = Rounds::new(shared, EVERY);
    running.spawn(thread, move || rounds.run())?;
    Ok(ended)
}

impl Rounds {
    fn new(shared: Arc<Shared>, every: Duration) -> Self {
        Self {
            link: shared.connector.link(),
            shared,
            listening: None,
            poked: None,
            every,
            took: Duration::ZERO,
            made: 0,
        }
    }

    fn run(&mut self) {
        while !self.shared.node.is_ended() && !self.shared.stop.is_asked() {
            match self.wait() {
                Cause::Time => {}
                // However often operators act, at most half of the time goes here.
                Cause::Work => {
                    self.shared.stop.wait(self.took);
                }
                Cause::Nodes => self.shared.node.ask_beat(),
            }
            let began = Stopwatch::start();
            // A round that fails is made again by the next one; the outage itself is in the log.
            let _ = self.round();
            self.took = began.elapsed().min(self.every);
        }
    }

    /// Waits for a notification that concerns this node, or for the next round.
    fn wait(&mut self) -> Cause {
        let until = Deadline::within(self.every);
        while !until.left().is_zero() {
            if self.listening.is_none() {
                self.listening = self.begin_to_listen();
            }
            let notified = match &mut self.listening {
                Some(connection) => connection.notifications(until.left()),
                None => Ok(Vec::new()),
            };
            match notified {
                Ok(notified) if !notified.is_empty() => {
                    if let Some(cause) = self.hear(&notified) {
                        return cause;
                    }
                }
                _ => {
                    if notified.is_err() {
                        self.listening = None;
                    }
                    // Over, unless nobody listens.
                    self.shared.stop.wait(until.left());
                }
            }
        }
        Cause::Time
    }

    /// Tells the dispatcher what arrived; why this node has to look, if it has to.
    fn hear(&self, notified: &[Notification]) -> Option<Cause> {
        let slot = self.shared.node.slot();
        let (mut arrived, mut cause) = (Vec::new(), None);
        for one in notified {
            if one.payload == "nodes" {
                cause = Some(Cause::Nodes);
            }
            match Told::of(&one.payload, slot) {
                Some(Told::Arrived(ids)) => arrived.extend(ids),
                Some(Told::Look) => cause = cause.or(Some(Cause::Work)),
                None => {}
            }
        }
        if !arrived.is_empty() {
            (self.shared.on_work)(&arrived);
        }
        cause
    }

    fn begin_to_listen(&self) -> Option<Connection> {
        if self.shared.connector.away_for().is_some() {
            return None;
        }
        let mut connection = self.shared.connector.connect().ok()?;
        connection.batch("LISTEN relay").ok()?;
        Some(connection)
    }

    /// Tells the dispatcher what arrived. True if it has to look from the beginning, since somebody
    /// poked.
    fn round(&mut self) -> Result<bool, Failure> {
        let buckets = self.shared.node.buckets();
        if buckets.is_empty() {
            return Ok(false);
        }
        let slot = i64::from(self.shared.node.slot());
        let since = self.shared.clock.now().minus(looks_back(self.made));
        self.made = self.made.wrapping_add(1);
        let since = since.as_millis().max(0) << 12;
        let never = Stop::default();
        let patience = Patience {
            limit: Duration::ZERO,
            stop: &never,
        };
        let (arrived, poked) = self.link.call(patience, |sql| {
            let arrived = sql.rows(ARRIVED, &[&since, &slot, &&*buckets])?;
            let arrived = arrived.iter().map(|row| row.try_get(0));
            let arrived: Vec<i32> = arrived.collect::<Result<_, _>>()?;
            let poked: i64 = sql.one(POKED, &[&&*buckets])?.try_get(0)?;
            Ok((arrived, poked))
        })?;
        if !arrived.is_empty() {
            let ids: Vec<_> = arrived
                .iter()
                .map(|id| DestinationId(i64::from(*id)))
                .collect();
            (self.shared.on_work)(&ids);
        }
        // Of buckets that are new here, nobody knows what was counted when they were read first.
        let is_known = |(of, count): &(Arc<[i16]>, i64)| *of == buckets && *count == poked;
        let is_poked = !self.poked.as_ref().is_some_and(is_known);
        if is_poked {
            (self.shared.on_outside_write)();
        }
        self.poked = Some((buckets, poked));
        Ok(is_poked)
    }
}

/// How far a round looks back; the first one has the number 0.
fn looks_back(round: u32) -> Duration {
    if round.is_multiple_of(LONG_EVERY) {
        LONG
    } else {
        LATELY
    }
}

#[cfg(test)]
mod tests;
