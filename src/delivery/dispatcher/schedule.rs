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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// Two are named, the others belong to three keys.
    fn origin(id: i64) -> Origin {
        Origin {
            id,
            is_named: id <= 2,
            owner: (id > 2).then_some(id % 3),
            is_proven: id % 2 == 0,
        }
    }

    fn pick_all(schedule: &Schedule, step: usize) -> Vec<i64> {
        let mut picks = schedule.picks();
        let mut all = Vec::new();
        loop {
            let found = schedule.pick(&mut picks, step, |_| true);
            if found.is_empty() {
                assert!(!schedule.has_more(&picks, |_| true));
                return all;
            }
            all.extend(found.iter().map(|origin| origin.id));
        }
    }

    #[derive(Clone, Debug)]
    enum Event {
        Insert(i64, i64),
        LookNow(i64),
        LookAt(i64, i64),
        Busy(i64),
        Free(i64),
        Prove(i64, bool),
        Remove(i64),
        Pass(i64),
        Serve(usize),
    }

    fn event() -> impl Strategy<Value = Event> {
        let id = || 1i64..20;
        prop_oneof![
            (id(), 0i64..50).prop_map(|(id, at)| Event::Insert(id, at)),
            id().prop_map(Event::LookNow),
            (id(), 0i64..50).prop_map(|(id, at)| Event::LookAt(id, at)),
            id().prop_map(Event::Busy),
            id().prop_map(Event::Free),
            (id(), any::<bool>()).prop_map(|(id, is)| Event::Prove(id, is)),
            id().prop_map(Event::Remove),
            (0i64..20).prop_map(Event::Pass),
            (1usize..6).prop_map(Event::Serve),
        ]
    }

    proptest! {
        /// The model keeps a place for each destination in a plain map.
        #[test]
        fn each_destination_is_where_the_last_event_put_it(
            events in prop::collection::vec(event(), 0..120),
            step in 1usize..7,
        ) {
            let mut schedule = Schedule::default();
            let mut model: BTreeMap<i64, Place> = BTreeMap::new();
            let mut now = 0;
            for event in events {
                match event {
                    Event::Insert(id, time) => {
                        schedule.insert(origin(id), at(time));
                        let place = model.entry(id).or_insert(Place::At(at(time)));
                        if let Place::At(earlier) = place {
                            *earlier = at(time).min(*earlier);
                        }
                    }
                    Event::LookNow(id) => {
                        prop_assert_eq!(schedule.look_now(id), model.contains_key(&id));
                        if let Some(place @ Place::At(_)) = model.get_mut(&id) {
                            *place = Place::Ready;
                        }
                    }
                    Event::LookAt(id, time) => {
                        schedule.look_at(id, at(time));
                        model.entry(id).and_modify(|place| *place = Place::At(at(time)));
                    }
                    Event::Busy(id) => {
                        schedule.is_busy(id);
                        model.entry(id).and_modify(|place| *place = Place::Busy);
                    }
                    Event::Free(id) => {
                        schedule.is_free(id);
                        if let Some(place @ Place::Busy) = model.get_mut(&id) {
                            *place = Place::Ready;
                        }
                    }
                    Event::Prove(id, is) => schedule.prove(id, is),
                    Event::Remove(id) => {
                        schedule.remove(id);
                        model.remove(&id);
                    }
                    Event::Pass(by) => {
                        now += by;
                        schedule.advance(at(now));
                        for place in model.values_mut() {
                            if matches!(place, Place::At(time) if *time <= at(now)) {
                                *place = Place::Ready;
                            }
                        }
                    }
                    Event::Serve(count) => {
                        let mut picks = schedule.picks();
                        let mut given = HashMap::new();
                        for origin in schedule.pick(&mut picks, count, |_| true) {
                            *given.entry(origin.lane()).or_default() += 1;
                        }
                        schedule.turn(&picks, &given);
                    }
                }
                let mut ready = pick_all(&schedule, step);
                ready.sort_unstable();
                let expected = model.iter().filter(|(_, place)| **place == Place::Ready);
                let expected: Vec<i64> = expected.map(|(id, _)| *id).collect();
                prop_assert_eq!(ready, expected, "each ready one is picked once");
                let times = model.values().filter_map(|place| match place {
                    Place::At(time) => Some(*time),
                    _ => None,
                });
                prop_assert_eq!(schedule.next_look(), times.min());
            }
        }

        #[test]
        fn within_a_lane_none_gets_ahead_of_another(count in 1i64..40, at_once in 1usize..7) {
            let mut schedule = Schedule::default();
            for id in 0..count {
                let origin = Origin { id: 3 + 6 * id, ..origin(3) };
                schedule.insert(origin, at(0));
            }
            schedule.advance(at(0));
            let mut turns: HashMap<i64, usize> = HashMap::new();
            for _ in 0..100 {
                let mut picks = schedule.picks();
                let found = schedule.pick(&mut picks, at_once, |_| true);
                for origin in &found {
                    *turns.entry(origin.id).or_default() += 1;
                }
                let given = HashMap::from([(found[0].lane(), found.len())]);
                schedule.turn(&picks, &given);
                let most = turns.values().max().copied().unwrap_or(0);
                let least = if turns.len() < usize::try_from(count).expect("small") {
                    0
                } else {
                    turns.values().min().copied().unwrap_or(0)
                };
                prop_assert!(most - least <= 1);
            }
        }
    }

    #[test]
    fn any_number_that_is_due_at_once_is_made_ready_in_parts() {
        let mut schedule = Schedule::default();
        let count = i64::try_from(MAX_MOVES).expect("small") + 1;
        for id in 0..count {
            schedule.insert(Origin { id, ..origin(3) }, at(5));
        }
        schedule.advance(at(5));
        assert_eq!(schedule.next_look(), Some(at(5)), "the last one");
        schedule.advance(at(5));
        assert_eq!(schedule.next_look(), None);
    }

    #[test]
    fn a_closed_lane_is_passed_over() {
        let mut schedule = Schedule::default();
        for id in 1..20 {
            schedule.insert(origin(id), at(0));
        }
        schedule.advance(at(0));
        let mut picks = schedule.picks();
        let found = schedule.pick(&mut picks, 100, |origin| origin.is_proven);
        assert!(found.iter().all(|origin| origin.is_proven));
        assert_eq!(found.len(), 9);
    }
}
