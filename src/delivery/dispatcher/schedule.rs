//! The destinations for which deliveries wait, and when each is looked at next. In memory, so that
//! a tick costs as much as it claims, however many destinations wait.
//!
//! An entry is where one of these facts put it:
//!
//! ```text
//!                due, at its time                      an attempt has ended
//!   At(time) ──────────────────────► Ready ◄──────────────────────────── Busy
//!      ▲                              │ │                                  ▲
//!      └──────────────────────────────┘ └──────────────────────────────────┘
//!       not yet due, held, paused, out      as many attempts under way
//!       of tokens, breaker open             as it may have
//! ```
//!
//! An entry without waiting deliveries is removed, and comes back with the next one. Every look
//! asks the database; the schedule only says where a look may be worth it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound::{Excluded, Included, Unbounded};

use crate::clock::Timestamp;

/// Destinations that one tick makes ready: some 8 ms. 100 000 that are due at once, as after a clock
/// that jumped, would hold up a tick for a tenth of a second (measured).
const MAX_MOVES: usize = 8192;

/// A place in the round robin. Each has one worker in turn, as long as it has work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::delivery) enum Lane {
    /// A destination of relay.toml.
    Named(i64),
    /// The origins of one API key that are known to answer: a key with ten thousand origins gets
    /// no more turns than one with a single origin.
    Proven(Option<i64>),
    /// The other origins of that API key.
    Unproven(Option<i64>),
}

impl Lane {
    pub fn is_named(self) -> bool {
        matches!(self, Self::Named(_))
    }
}

/// What decides about a destination's lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::delivery) struct Origin {
    pub id: i64,
    /// Whether it is one of relay.toml's, rather than the origin of an ad hoc URL.
    pub is_named: bool,
    /// The API key whose relays go there; unknown for origins of schema version 3 and before.
    pub owner: Option<i64>,
    pub is_proven: bool,
}

impl Origin {
    pub fn lane(&self) -> Lane {
        match (self.is_named, self.is_proven) {
            (true, _) => Lane::Named(self.id),
            (false, true) => Lane::Proven(self.owner),
            (false, false) => Lane::Unproven(self.owner),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Ready,
    At(Timestamp),
    Busy,
}

struct Entry {
    origin: Origin,
    place: Place,
}

/// The members of a lane that are ready, and the one after which the next turn begins.
#[derive(Default)]
struct Ring {
    members: BTreeSet<i64>,
    cursor: i64,
}

impl Ring {
    /// The member after `last` on the way once round from `start`.
    fn next(&self, start: i64, last: Option<i64>) -> Option<i64> {
        let to_start = |from| self.members.range((from, Included(start))).next().copied();
        let to_end = |from| {
            self.members
                .range((Excluded(from), Unbounded))
                .next()
                .copied()
        };
        match last {
            None => to_end(start).or_else(|| to_start(Unbounded)),
            Some(last) if last > start => to_end(last).or_else(|| to_start(Unbounded)),
            Some(last) if last == start => None,
            Some(last) => to_start(Excluded(last)),
        }
    }
}

/// Bounded by the destinations for which something waits, some 200 bytes each; those of one API
/// key are bounded at acceptance (`MAX_WAITING_ORIGINS`).
#[derive(Default)]
pub(in crate::delivery) struct Schedule {
    entries: HashMap<i64, Entry>,
    by_time: BTreeSet<(Timestamp, i64)>,
    ready: BTreeMap<Lane, Ring>,
    /// The lane after which the next turn begins.
    cursor: Option<Lane>,
}

impl Schedule {
    /// Something waits for a destination, and is due at this time. The entry of a known destination
    /// only comes forward: an entry that is further off had a reason, and the look will find it.
    pub fn insert(&mut self, origin: Origin, at: Timestamp) {
        match self.entries.get(&origin.id) {
            None => self.put(origin, Place::At(at)),
            Some(entry) if matches!(entry.place, Place::At(earlier) if at < earlier) => {
                self.move_to(origin.id, Place::At(at));
            }
            Some(_) => {}
        }
    }

    /// Something became due for a destination. A busy one stays as it is: it is looked at when one
    /// of its attempts ends. Returns whether the destination is known.
    pub fn look_now(&mut self, id: i64) -> bool {
        match self.entries.get(&id).map(|entry| entry.place) {
            Some(Place::At(_)) => self.move_to(id, Place::Ready),
            Some(_) => {}
            None => return false,
        }
        true
    }

    /// Nothing of a destination may go before this time.
    pub fn look_at(&mut self, id: i64, at: Timestamp) {
        self.move_to(id, Place::At(at));
    }

    /// A destination has as many attempts under way as it may have: the next look is when one of
    /// them ends.
    pub fn is_busy(&mut self, id: i64) {
        self.move_to(id, Place::Busy);
    }

    /// An attempt has ended, or a claim has failed.
    pub fn is_free(&mut self, id: i64) {
        if self
            .entries
            .get(&id)
            .is_some_and(|entry| entry.place == Place::Busy)
        {
            self.move_to(id, Place::Ready);
        }
    }

    /// A destination was found to answer, or not to.
    pub fn prove(&mut self, id: i64, is_proven: bool) {
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        if entry.origin.is_proven != is_proven {
            let (origin, place) = (entry.origin, entry.place);
            self.remove(id);
            self.put(
                Origin {
                    is_proven,
                    ..origin
                },
                place,
            );
        }
    }

    /// Nothing waits for a destination any more.
    pub fn remove(&mut self, id: i64) {
        if let Some(entry) = self.entries.remove(&id) {
            self.unplace(&entry);
        }
    }

    /// Makes ready the destinations whose time has come, [`MAX_MOVES`] at a time: the next look is
    /// due already as long as some are left.
    pub fn advance(&mut self, now: Timestamp) {
        for _ in 0..MAX_MOVES {
            match self.by_time.first() {
                Some(&(at, id)) if at <= now => self.move_to(id, Place::Ready),
                _ => break,
            }
        }
    }

    /// When the first destination that isn't ready is to be looked at.
    pub fn next_look(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// The first ready destinations of each lane, lane by lane in turn.
    pub fn picks(&self) -> Picks {
        let from = self.cursor.map_or(Unbounded, Excluded);
        let after = self.ready.range((from, Unbounded));
        let up_to = self.cursor.map(|cursor| self.ready.range(..=cursor));
        let lanes = after.chain(up_to.into_iter().flatten());
        let lanes: VecDeque<LanePicks> = lanes
            .map(|(lane, ring)| LanePicks {
                lane: *lane,
                start: ring.cursor,
                picked: Vec::new(),
            })
            .collect();
        Picks {
            order: lanes.iter().map(|picks| picks.lane).collect(),
            lanes,
            done: Vec::new(),
        }
    }

    /// The next destinations to look at, `at_most` of them, of the lanes that are open.
    pub fn pick(
        &self,
        picks: &mut Picks,
        at_most: usize,
        is_open: impl Fn(&Origin) -> bool,
    ) -> Vec<Origin> {
        let mut found = Vec::new();
        while found.len() < at_most
            && let Some(mut lane) = picks.lanes.pop_front()
        {
            let next = self.next(&lane);
            if let Some(origin) = next.filter(&is_open) {
                lane.picked.push(origin.id);
                found.push(origin);
                picks.lanes.push_back(lane);
            } else {
                picks.done.push(lane);
            }
        }
        found
    }

    /// Moves the cursors on by as many places as got a worker. Not to behind the last that got one:
    /// members refused for want of a worker that only some may have would lose their turn whenever
    /// another member is served. For the end of a tick, when each member is where it belongs.
    pub fn turn(&mut self, picks: &Picks, given: &HashMap<Lane, usize>) {
        let all: usize = given.values().sum();
        if let Some(before) = all.checked_sub(1)
            && !picks.order.is_empty()
        {
            self.cursor = Some(picks.order[before % picks.order.len()]);
        }
        for lane in picks.done.iter().chain(&picks.lanes) {
            let given = given.get(&lane.lane).copied().unwrap_or(0);
            let Some(ring) = self.ready.get_mut(&lane.lane) else {
                continue;
            };
            // A member that is ready no longer has no turn to lose.
            let picked = lane.picked.iter().filter(|id| ring.members.contains(id));
            let picked: Vec<i64> = picked.copied().collect();
            if let Some(before) = given.checked_sub(1)
                && !picked.is_empty()
            {
                ring.cursor = picked[before % picked.len()];
            }
        }
    }

    /// Whether an open lane has members that weren't picked.
    pub fn has_more(&self, picks: &Picks, is_open: impl Fn(&Origin) -> bool) -> bool {
        picks
            .lanes
            .iter()
            .any(|lane| self.next(lane).is_some_and(|origin| is_open(&origin)))
    }

    fn next(&self, picks: &LanePicks) -> Option<Origin> {
        let ring = self.ready.get(&picks.lane)?;
        let id = ring.next(picks.start, picks.picked.last().copied())?;
        self.entries.get(&id).map(|entry| entry.origin)
    }

    fn put(&mut self, origin: Origin, place: Place) {
        self.place(origin, place);
        self.entries.insert(origin.id, Entry { origin, place });
    }

    fn move_to(&mut self, id: i64, place: Place) {
        if let Some(entry) = self.entries.remove(&id) {
            self.unplace(&entry);
            self.put(entry.origin, place);
        }
    }

    fn place(&mut self, origin: Origin, place: Place) {
        match place {
            Place::Ready => {
                self.ready
                    .entry(origin.lane())
                    .or_default()
                    .members
                    .insert(origin.id);
            }
            Place::At(at) => {
                self.by_time.insert((at, origin.id));
            }
            Place::Busy => {}
        }
    }

    fn unplace(&mut self, entry: &Entry) {
        let Origin { id, .. } = entry.origin;
        match entry.place {
            Place::Ready => {
                let lane = entry.origin.lane();
                if let Some(ring) = self.ready.get_mut(&lane) {
                    ring.members.remove(&id);
                    if ring.members.is_empty() {
                        self.ready.remove(&lane);
                    }
                }
            }
            Place::At(at) => {
                self.by_time.remove(&(at, id));
            }
            Place::Busy => {}
        }
    }
}

/// How far a tick has come in each lane.
pub(in crate::delivery) struct Picks {
    order: Vec<Lane>,
    lanes: VecDeque<LanePicks>,
    done: Vec<LanePicks>,
}

struct LanePicks {
    lane: Lane,
    /// The ring's cursor when the tick began.
    start: i64,
    picked: Vec<i64>,
}

#[cfg(test)]
mod tests;
