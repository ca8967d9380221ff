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
//! `turns`: the order of those that are ready.
//!
//! An entry without waiting deliveries is removed, and comes back with the next one. Every look
//! asks the database; the schedule only says where a look may be worth it.

mod turns;

use std::collections::{BTreeSet, HashMap};

use crate::clock::Timestamp;
use crate::delivery::admission::Reputation;
use crate::delivery::fair_share::Served;
use crate::delivery::lane::Lane;
use crate::delivery::turn::Turn;
use crate::store::DestinationId;
use crate::store::Origin;
pub(in crate::delivery) use turns::Picks;
use turns::Turns;

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
    reputation: Reputation,
    place: Place,
    turn: Turn,
}

impl Entry {
    fn lane(&self) -> Lane {
        Lane::of(&self.origin, self.reputation)
    }
}

/// Bounded by the destinations with deliveries waiting, some 200 bytes each; those of one API key
/// are bounded at acceptance (`MAX_WAITING_ORIGINS`).
#[derive(Default)]
pub(in crate::delivery) struct Schedule {
    entries: HashMap<DestinationId, Entry>,
    by_time: BTreeSet<(Timestamp, DestinationId)>,
    ready: Turns,
}

impl Schedule {
    /// A delivery to a destination is due at this time. A known destination only comes forward: an
    /// entry that is further off had a reason, and the look will find it.
    pub fn insert(&mut self, origin: Origin, reputation: Reputation, at: Timestamp) {
        match self.entries.get(&origin.id) {
            None => self.put(origin, reputation, Place::At(at), Turn::default()),
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

    /// A destination's reputation by now: another one puts it into another lane. A named one, which
    /// has its lane for itself, keeps its turn there.
    pub fn set_reputation(&mut self, id: DestinationId, reputation: Reputation) {
        let entry = self.entries.get(&id);
        if entry.is_none_or(|entry| entry.reputation == reputation) {
            return;
        }
        if let Some((entry, turn)) = self.take(id) {
            let turn = if entry.origin.is_named {
                turn
            } else {
                Turn::default()
            };
            self.put(entry.origin, reputation, entry.place, turn);
        }
    }

    /// Nothing waits for a destination any more.
    pub fn remove(&mut self, id: DestinationId) {
        self.take(id);
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

    /// The next destinations of a walk by turns, `at_most` of them, of the kinds (named or not, and
    /// a reputation) that `is_open` lets.
    pub fn pick(
        &self,
        picks: &mut Picks,
        at_most: usize,
        is_open: impl Fn(bool, Reputation) -> bool,
    ) -> Vec<Origin> {
        let picked = self.ready.pick(picks, at_most, is_open).into_iter();
        let origins = picked.filter_map(|id| self.entries.get(&id).map(|entry| entry.origin));
        origins.collect()
    }

    /// Whether an open kind has members that weren't picked.
    pub fn has_more(&self, picks: &Picks, is_open: impl Fn(bool, Reputation) -> bool) -> bool {
        self.ready.has_more(picks, is_open)
    }

    /// A ready destination's lane, and the turns of the lane and of the destination.
    pub fn turns(&self, id: DestinationId) -> Option<(Lane, Turn, Turn)> {
        let entry = self.entries.get(&id)?;
        let (of_lane, turn) = self.ready.at_present(entry.lane(), entry.turn);
        Some((entry.lane(), of_lane, turn))
    }

    /// The next turn of a destination comes at this one, or in the present round if that is later.
    pub fn set_turn(&mut self, id: DestinationId, turn: Turn) {
        if let Some(entry) = self.entries.get_mut(&id) {
            let before = std::mem::replace(&mut entry.turn, turn);
            if entry.place == Place::Ready {
                let lane = entry.lane();
                self.ready.leave(lane, id, before);
                entry.turn = self.ready.enter(lane, id, turn);
            }
        }
    }

    /// Some members of a lane have got workers.
    pub fn serve(&mut self, lane: Lane, served: &Served) {
        self.ready.serve(lane, served);
    }

    fn put(&mut self, origin: Origin, reputation: Reputation, place: Place, of_lane: Turn) {
        let mut entry = Entry {
            origin,
            reputation,
            place,
            turn: Turn::default(),
        };
        self.ready.join(entry.lane(), of_lane);
        self.place(&mut entry);
        self.entries.insert(origin.id, entry);
    }

    /// Removes a destination. Returns it with the turn of its lane.
    fn take(&mut self, id: DestinationId) -> Option<(Entry, Turn)> {
        let entry = self.entries.remove(&id)?;
        self.unplace(&entry);
        let of_lane = self.ready.quit(entry.lane());
        Some((entry, of_lane))
    }

    fn move_to(&mut self, id: DestinationId, place: Place) {
        if let Some(mut entry) = self.entries.remove(&id) {
            self.unplace(&entry);
            entry.place = place;
            self.place(&mut entry);
            self.entries.insert(id, entry);
        }
    }

    fn place(&mut self, entry: &mut Entry) {
        let Origin { id, .. } = entry.origin;
        match entry.place {
            Place::Ready => entry.turn = self.ready.enter(entry.lane(), id, entry.turn),
            Place::At(at) => {
                self.by_time.insert((at, id));
            }
            Place::Busy => {}
        }
    }

    fn unplace(&mut self, entry: &Entry) {
        let Origin { id, .. } = entry.origin;
        match entry.place {
            Place::Ready => self.ready.leave(entry.lane(), id, entry.turn),
            Place::At(at) => {
                self.by_time.remove(&(at, id));
            }
            Place::Busy => {}
        }
    }
}

#[cfg(test)]
mod tests;
