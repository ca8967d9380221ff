//! The order in which ready destinations are looked at: lane by lane in turn, and within a lane
//! member by member.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound::{Excluded, Included, Unbounded};

use crate::delivery::lane::Lane;
use crate::store::DestinationId;
use crate::store::Origin;

/// The ready destinations, by lane.
#[derive(Default)]
pub(super) struct RoundRobin {
    lanes: BTreeMap<Lane, Ring>,
    /// The next round begins after this lane.
    cursor: Option<Lane>,
}

/// The ready members of a lane.
#[derive(Default)]
struct Ring {
    members: BTreeSet<DestinationId>,
    /// The next round begins after this member.
    cursor: DestinationId,
}

impl Ring {
    /// The member after `last`, in one round that begins after `start`.
    fn next(&self, start: DestinationId, last: Option<DestinationId>) -> Option<DestinationId> {
        let to_start = |from| self.members.range((from, Included(start))).next().copied();
        let to_end = |from| {
            let rest = (Excluded(from), Unbounded);
            self.members.range(rest).next().copied()
        };
        match last {
            None => to_end(start).or_else(|| to_start(Unbounded)),
            Some(last) if last > start => to_end(last).or_else(|| to_start(Unbounded)),
            Some(last) if last == start => None,
            Some(last) => to_start(Excluded(last)),
        }
    }
}

/// The progress of one round through the lanes.
#[derive(Default)]
pub(in crate::delivery) struct Picks {
    order: Vec<Lane>,
    open: VecDeque<LanePicks>,
    /// Lanes without a further member.
    done: Vec<LanePicks>,
}

struct LanePicks {
    lane: Lane,
    /// The ring's cursor when the round began.
    start: DestinationId,
    picked: Vec<DestinationId>,
}

impl RoundRobin {
    pub fn add(&mut self, lane: Lane, id: DestinationId) {
        self.lanes.entry(lane).or_default().members.insert(id);
    }

    pub fn remove(&mut self, lane: Lane, id: DestinationId) {
        if let Some(ring) = self.lanes.get_mut(&lane) {
            ring.members.remove(&id);
            if ring.members.is_empty() {
                self.lanes.remove(&lane);
            }
        }
    }

    /// Begins a round through the ready destinations.
    pub fn picks(&self) -> Picks {
        let from = self.cursor.map_or(Unbounded, Excluded);
        let after = self.lanes.range((from, Unbounded));
        let up_to = self.cursor.map(|cursor| self.lanes.range(..=cursor));
        let lanes = after.chain(up_to.into_iter().flatten());
        let open: VecDeque<LanePicks> = lanes
            .map(|(lane, ring)| LanePicks {
                lane: *lane,
                start: ring.cursor,
                picked: Vec::new(),
            })
            .collect();
        Picks {
            order: open.iter().map(|picks| picks.lane).collect(),
            open,
            done: Vec::new(),
        }
    }

    /// The next destinations of a round, `at_most` of them. A lane is closed once `open` returns
    /// none for its next member.
    pub fn pick(
        &self,
        picks: &mut Picks,
        at_most: usize,
        open: impl Fn(DestinationId) -> Option<Origin>,
    ) -> Vec<Origin> {
        let mut found = Vec::new();
        while found.len() < at_most
            && let Some(mut lane) = picks.open.pop_front()
        {
            if let Some(origin) = self.next(&lane).and_then(&open) {
                lane.picked.push(origin.id);
                found.push(origin);
                picks.open.push_back(lane);
            } else {
                picks.done.push(lane);
            }
        }
        found
    }

    /// Whether an open lane has members that weren't picked.
    pub fn has_more(&self, picks: &Picks, open: impl Fn(DestinationId) -> Option<Origin>) -> bool {
        let mut next = picks.open.iter().filter_map(|lane| self.next(lane));
        next.any(|id| open(id).is_some())
    }

    /// Advances the cursors by the number of workers assigned. Not past the last member that got
    /// one: a member that was skipped because the remaining workers are reserved keeps its turn.
    /// For the end of a tick, when each member is in its place.
    pub fn advance_cursors(&mut self, picks: &Picks, assigned: &HashMap<Lane, usize>) {
        let all: usize = assigned.values().sum();
        if let Some(last) = all.checked_sub(1)
            && !picks.order.is_empty()
        {
            self.cursor = Some(picks.order[last % picks.order.len()]);
        }
        for lane in picks.done.iter().chain(&picks.open) {
            let assigned = assigned.get(&lane.lane).copied().unwrap_or(0);
            let Some(ring) = self.lanes.get_mut(&lane.lane) else {
                continue;
            };
            // A member that is no longer ready has no turn to lose.
            let picked = lane.picked.iter().filter(|id| ring.members.contains(id));
            let picked: Vec<DestinationId> = picked.copied().collect();
            if let Some(last) = assigned.checked_sub(1)
                && !picked.is_empty()
            {
                ring.cursor = picked[last % picked.len()];
            }
        }
    }

    fn next(&self, picks: &LanePicks) -> Option<DestinationId> {
        let ring = self.lanes.get(&picks.lane)?;
        ring.next(picks.start, picks.picked.last().copied())
    }
}
