//! The destinations with deliveries waiting, and when each is looked at next. In memory, so that
//! the cost of a tick grows with what it claims, not with the number of waiting destinations.
//!
//! One of three facts puts an entry in its place:
//!
//! ```text
//!                due, at its time                      an attempt has ended
//!   At(time) ──────────────────────► Ready ◄──────────────────────────── Busy
//!      ▲                              │ │                                  ▲
//!      └──────────────────────────────┘ └──────────────────────────────────┘
//!       not yet due, held, paused, out      as many attempts in flight
//!       of tokens, breaker open             as it may have
//! ```
//!
//! `round_robin`: the turn of those that are ready.
//!
//! An entry without waiting deliveries is removed, and comes back with the next one. Every look
//! asks the database; the schedule only says where a look may be worth it.

mod round_robin;

use std::collections::{BTreeSet, HashMap};

use crate::clock::Timestamp;
use crate::delivery::lane::Lane;
use crate::store::DestinationId;
use crate::store::Origin;
pub(in crate::delivery) use round_robin::Picks;
use round_robin::RoundRobin;

/// Destinations that one tick makes ready: some 8 ms. 100 000 that are due at once, as after a
/// clock that jumped, would hold up a tick for a tenth of a second (measured).
const MAX_MOVES: usize = 8192;

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

/// Bounded by the destinations with deliveries waiting, some 200 bytes each; those of one API key
/// are bounded at acceptance (`MAX_WAITING_ORIGINS`).
#[derive(Default)]
pub(in crate::delivery) struct Schedule {
    entries: HashMap<DestinationId, Entry>,
    by_time: BTreeSet<(Timestamp, DestinationId)>,
    ready: RoundRobin,
}

impl Schedule {
    /// A delivery to a destination is due at this time. A known destination only comes forward: an
    /// entry that is further off had a reason, and the look will find it.
    pub fn insert(&mut self, origin: Origin, at: Timestamp) {
        match self.entries.get(&origin.id) {
            None => self.put(origin, Place::At(at)),
            Some(entry) if matches!(entry.place, Place::At(earlier) if at < earlier) => {
                self.move_to(origin.id, Place::At(at));
            }
            Some(_) => {}
        }
    }

    /// A delivery to a destination became due. A busy destination stays busy: it is looked at when
    /// one of its attempts ends. Returns whether the destination is known.
    pub fn look_now(&mut self, id: DestinationId) -> bool {
        match self.entries.get(&id).map(|entry| entry.place) {
            Some(Place::At(_)) => self.move_to(id, Place::Ready),
            Some(_) => {}
            None => return false,
        }
        true
    }

    /// Nothing may go to a destination before this time.
    pub fn look_at(&mut self, id: DestinationId, at: Timestamp) {
        self.move_to(id, Place::At(at));
    }

    /// A destination has as many attempts in flight as it may have: the next look is when one of
    /// them ends.
    pub fn set_busy(&mut self, id: DestinationId) {
        self.move_to(id, Place::Busy);
    }

    /// An attempt has ended, or a claim has failed.
    pub fn set_free(&mut self, id: DestinationId) {
        let entry = self.entries.get(&id);
        if entry.is_some_and(|entry| entry.place == Place::Busy) {
            self.move_to(id, Place::Ready);
        }
    }

    /// A destination got proven, or no longer is: it changes its lane.
    pub fn set_proven(&mut self, id: DestinationId, is_proven: bool) {
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        if entry.origin.is_proven != is_proven {
            let (origin, place) = (entry.origin, entry.place);
            self.remove(id);
            let origin = Origin {
                is_proven,
                ..origin
            };
            self.put(origin, place);
        }
    }

    /// Nothing waits for a destination any more.
    pub fn remove(&mut self, id: DestinationId) {
        if let Some(entry) = self.entries.remove(&id) {
            self.unplace(&entry);
        }
    }

    /// Makes ready the destinations whose time has come, [`MAX_MOVES`] at a time: as long as some
    /// are left, the next look is due already.
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

    /// Begins a round through the ready destinations.
    pub fn picks(&self) -> Picks {
        self.ready.picks()
    }

    /// The next destinations of a round, `at_most` of them, of the lanes that are open.
    pub fn pick(
        &self,
        picks: &mut Picks,
        at_most: usize,
        is_open: impl Fn(&Origin) -> bool,
    ) -> Vec<Origin> {
        let open = |id| self.origin(id).filter(&is_open);
        self.ready.pick(picks, at_most, open)
    }

    /// Whether an open lane has members that weren't picked.
    pub fn has_more(&self, picks: &Picks, is_open: impl Fn(&Origin) -> bool) -> bool {
        self.ready
            .has_more(picks, |id| self.origin(id).filter(&is_open))
    }

    /// Ends a round: see [`RoundRobin::advance_cursors`].
    pub fn advance_cursors(&mut self, picks: &Picks, assigned: &HashMap<Lane, usize>) {
        self.ready.advance_cursors(picks, assigned);
    }

    fn origin(&self, id: DestinationId) -> Option<Origin> {
        self.entries.get(&id).map(|entry| entry.origin)
    }

    fn put(&mut self, origin: Origin, place: Place) {
        self.place(origin, place);
        self.entries.insert(origin.id, Entry { origin, place });
    }

    fn move_to(&mut self, id: DestinationId, place: Place) {
        if let Some(entry) = self.entries.remove(&id) {
            self.unplace(&entry);
            self.put(entry.origin, place);
        }
    }

    fn place(&mut self, origin: Origin, place: Place) {
        match place {
            Place::Ready => self.ready.add(origin.lane(), origin.id),
            Place::At(at) => {
                self.by_time.insert((at, origin.id));
            }
            Place::Busy => {}
        }
    }

    fn unplace(&mut self, entry: &Entry) {
        let Origin { id, .. } = entry.origin;
        match entry.place {
            Place::Ready => self.ready.remove(entry.origin.lane(), id),
            Place::At(at) => {
                self.by_time.remove(&(at, id));
            }
            Place::Busy => {}
        }
    }
}

#[cfg(test)]
mod tests;
