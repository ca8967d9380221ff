//! The order in which ready destinations are looked at: lanes by their turns, and the members of a
//! lane by theirs.

use std::collections::btree_set::Range;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::iter::Peekable;
use std::ops::Bound::{Excluded, Unbounded};

use crate::delivery::admission::Reputation;
use crate::delivery::fair_share::Served;
use crate::delivery::lane::{KINDS, Lane};
use crate::delivery::turn::Turn;
use crate::store::DestinationId;

/// The lanes of all scheduled destinations.
#[derive(Default)]
pub(super) struct Turns {
    lanes: HashMap<Lane, Members>,
    /// Lanes with a ready member, each kind by itself: while a part of the pool is spent, ten
    /// thousand lanes that may have none of it cost nothing.
    ready: [BTreeSet<(Turn, Lane)>; KINDS],
    rounds: Rounds,
}

/// The destinations of a lane.
#[derive(Default)]
struct Members {
    /// The lane's own turn.
    turn: Turn,
    /// Scheduled destinations, ready or not: without any, the lane is forgotten.
    count: usize,
    ready: BTreeSet<(Turn, DestinationId)>,
    rounds: Rounds,
}

/// The rounds of those that take turns with one another.
#[derive(Default)]
struct Rounds {
    /// The round of the last turn that came.
    present: u64,
    /// The place of the next one that comes.
    next_place: u64,
}

impl Rounds {
    /// A place in the present round, behind those that wait; or in a later one, if the turn before
    /// has cost so much.
    fn enter(&mut self, before: Turn) -> Turn {
        let place = self.next_place;
        self.next_place += 1;
        self.at_present(Turn { place, ..before })
    }

    /// The turn as it counts now: nobody saves up turns.
    fn at_present(&self, turn: Turn) -> Turn {
        Turn {
            round: turn.round.max(self.present),
            ..turn
        }
    }

    /// A turn of this round has come.
    fn advance(&mut self, round: u64) {
        self.present = self.present.max(round);
    }
}

/// The progress of one walk through the lanes.
#[derive(Default)]
pub(in crate::delivery) struct Picks {
    /// The lane of each kind that was visited last for the first time.
    last: [Option<(Turn, Lane)>; KINDS],
    /// Lanes that were visited, each with the member that was picked last.
    again: VecDeque<(Lane, (Turn, DestinationId))>,
}

/// The lanes of a kind that were not visited yet.
type Unvisited<'a> = Peekable<Range<'a, (Turn, Lane)>>;

impl Turns {
    /// A destination is scheduled. If its lane is new, this is the lane's turn.
    pub fn join(&mut self, lane: Lane, turn: Turn) {
        let members = self.lanes.entry(lane).or_default();
        members.count += 1;
        if members.count == 1 {
            members.turn = turn;
        }
    }

    /// A destination, not ready, is scheduled no more. Returns the turn of its lane.
    pub fn quit(&mut self, lane: Lane) -> Turn {
        let members = members(&mut self.lanes, lane);
        members.count -= 1;
        let turn = members.turn;
        if members.count == 0 {
            self.lanes.remove(&lane);
        }
        turn
    }

    /// A member of a lane becomes ready after a turn that it had. Returns its next turn.
    pub fn enter(&mut self, lane: Lane, id: DestinationId, before: Turn) -> Turn {
        let members = members(&mut self.lanes, lane);
        if members.ready.is_empty() {
            members.turn = self.rounds.enter(members.turn);
            self.ready[lane.kind()].insert((members.turn, lane));
        }
        let turn = members.rounds.enter(before);
        members.ready.insert((turn, id));
        turn
    }

    /// A member of a lane is ready no more.
    pub fn leave(&mut self, lane: Lane, id: DestinationId, turn: Turn) {
        let members = members(&mut self.lanes, lane);
        members.ready.remove(&(turn, id));
        if members.ready.is_empty() {
            self.ready[lane.kind()].remove(&(members.turn, lane));
        }
    }

    /// The turns of a ready member: its lane's, and its own.
    pub fn at_present(&self, lane: Lane, turn: Turn) -> (Turn, Turn) {
        let members = &self.lanes[&lane];
        let of_lane = self.rounds.at_present(members.turn);
        (of_lane, members.rounds.at_present(turn))
    }

    /// Some members of a lane have got workers.
    pub fn serve(&mut self, lane: Lane, served: &Served) {
        self.rounds.advance(served.since.round);
        // All that got a worker may have been removed meanwhile.
        let Some(members) = self.lanes.get_mut(&lane) else {
            return;
        };
        members.rounds.advance(served.first_member.round);
        let before = std::mem::replace(&mut members.turn, served.next);
        if !members.ready.is_empty() {
            members.turn = self.rounds.enter(served.next);
            let of_kind = &mut self.ready[lane.kind()];
            of_kind.remove(&(before, lane));
            of_kind.insert((members.turn, lane));
        }
    }

    /// The next destinations of a walk, `at_most` of them, of kinds that are open.
    pub fn pick(
        &self,
        picks: &mut Picks,
        at_most: usize,
        is_open: impl Fn(bool, Reputation) -> bool,
    ) -> Vec<DestinationId> {
        let mut unvisited = self.unvisited(picks, is_open);
        let mut found = Vec::new();
        while found.len() < at_most
            && let Some((lane, last)) = next_lane(&mut unvisited, picks)
        {
            if let Some(next) = self.next_member(lane, last) {
                found.push(next.1);
                picks.again.push_back((lane, next));
            }
        }
        found
    }

    /// Whether an open kind has members that weren't picked.
    pub fn has_more(&self, picks: &Picks, is_open: impl Fn(bool, Reputation) -> bool) -> bool {
        let mut unvisited = self.unvisited(picks, is_open);
        let is_any_new = unvisited.iter_mut().flatten().any(|of| of.peek().is_some());
        let is_open = |lane: Lane| unvisited[lane.kind()].is_some();
        let mut again = picks.again.iter().filter(|(lane, _)| is_open(*lane));
        is_any_new || again.any(|(lane, last)| self.next_member(*lane, Some(*last)).is_some())
    }

    /// The lanes that a walk has yet to visit, for each kind that is open.
    fn unvisited(
        &self,
        picks: &Picks,
        is_open: impl Fn(bool, Reputation) -> bool,
    ) -> [Option<Unvisited<'_>>; KINDS] {
        let rest = |kind: usize| {
            let from = picks.last[kind].map_or(Unbounded, Excluded);
            self.ready[kind].range((from, Unbounded)).peekable()
        };
        std::array::from_fn(|kind| {
            let (is_named, reputation) = Lane::of_kind(kind);
            is_open(is_named, reputation).then(|| rest(kind))
        })
    }

    fn next_member(
        &self,
        lane: Lane,
        last: Option<(Turn, DestinationId)>,
    ) -> Option<(Turn, DestinationId)> {
        let from = last.map_or(Unbounded, Excluded);
        let mut rest = self.lanes[&lane].ready.range((from, Unbounded));
        rest.next().copied()
    }

    /// The lanes that are kept.
    #[cfg(test)]
    pub fn lanes(&self) -> BTreeSet<Lane> {
        self.lanes.keys().copied().collect()
    }
}

/// The lane whose turn it is, with its member that was picked last.
fn next_lane(
    unvisited: &mut [Option<Unvisited<'_>>; KINDS],
    picks: &mut Picks,
) -> Option<(Lane, Option<(Turn, DestinationId)>)> {
    let heads = unvisited.iter_mut().flatten();
    let first = heads
        .filter_map(|of| Some((*of.peek()?, of)))
        .min_by_key(|(head, _)| **head);
    if let Some((next, of_kind)) = first {
        of_kind.next();
        picks.last[next.1.kind()] = Some(*next);
        return Some((next.1, None));
    }
    loop {
        let (lane, last) = picks.again.pop_front()?;
        // A kind that is closed stays so until the plan is made.
        if unvisited[lane.kind()].is_some() {
            return Some((lane, Some(last)));
        }
    }
}

fn members(lanes: &mut HashMap<Lane, Members>, lane: Lane) -> &mut Members {
    let members = lanes.get_mut(&lane);
    members.expect("a scheduled destination has joined its lane")
}
