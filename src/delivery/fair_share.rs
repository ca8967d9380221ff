//! Shares free workers out among lanes, and within a lane among its destinations. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::delivery::admission::{Refusal, Reputation};
use crate::delivery::lane::Lane;
use crate::delivery::target::Target;
use crate::delivery::turn::Turn;

/// A destination with deliveries due, and the workers that it is assigned.
pub(in crate::delivery) struct Candidate {
    pub target: Arc<Target>,
    pub lane: Lane,
    /// Its next turn within the lane.
    pub turn: Turn,
    /// The rounds that an attempt costs.
    pub cost: u64,
    pub reputation: Reputation,
    pub in_flight: usize,
    pub prefetched: usize,
    /// Deliveries that are due, counted up to a limit.
    pub ready: usize,
    /// Workers that it is assigned.
    pub share: usize,
    /// Why it is assigned no more.
    pub refused: Option<Refusal>,
}

impl Candidate {
    /// Attempts in flight, with those that are assigned.
    pub fn under_way(&self) -> usize {
        self.in_flight + self.share
    }

    /// Deliveries are to follow at once on the attempts that it is assigned: each is a turn.
    pub fn follow(&mut self, count: usize, served: &mut HashMap<Lane, Served>) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.turn = self.turn.later(count * self.cost);
        if let Some(served) = served.get_mut(&self.lane) {
            served.next = served.next.later(count * self.cost_to_lane());
        }
    }

    /// The rounds that an attempt costs its lane.
    fn cost_to_lane(&self) -> u64 {
        // The other origins of an API key don't pay for a slow one.
        if self.lane.is_named() { self.cost } else { 1 }
    }
}

/// Free workers, assigned one by one to the lane whose turn it is, of those that have work and may
/// have one.
pub(in crate::delivery) struct FairShare {
    free: usize,
    lanes: BTreeMap<Turn, Members>,
    /// The next turn of each lane that was offered.
    turns: HashMap<Lane, Turn>,
    /// Candidates that are assigned no more.
    done: Vec<Candidate>,
    served: HashMap<Lane, Served>,
}

/// One lane's candidates, by their turns.
type Members = BTreeMap<Turn, Candidate>;

/// A lane of which a candidate was assigned a worker.
#[derive(Clone, Copy, Debug)]
pub(in crate::delivery) struct Served {
    /// The turn that came first.
    pub since: Turn,
    /// The turn of the first candidate.
    pub first_member: Turn,
    /// The lane's next turn.
    pub next: Turn,
}

/// The outcome of a sharing.
pub(in crate::delivery) struct Shares {
    /// All that were offered, each with its share and its next turn.
    pub candidates: Vec<Candidate>,
    pub served: HashMap<Lane, Served>,
}

impl FairShare {
    pub fn new(free: usize) -> Self {
        Self {
            free,
            lanes: BTreeMap::new(),
            turns: HashMap::new(),
            done: Vec::new(),
            served: HashMap::new(),
        }
    }

    /// Workers that are left.
    pub fn free(&self) -> usize {
        self.free
    }

    /// Adds candidates, each with the turn of its lane.
    pub fn offer(&mut self, candidates: impl IntoIterator<Item = (Turn, Candidate)>) {
        for (turn, candidate) in candidates {
            let lane = candidate.lane;
            let turn = *self.turns.entry(lane).or_insert(turn);
            let members = self.lanes.entry(turn).or_default();
            members.insert(candidate.turn, candidate);
        }
    }

    /// Assigns workers until none is left, or no candidate may have one.
    pub fn assign(&mut self, mut admit: impl FnMut(&Candidate) -> Result<(), Refusal>) {
        while self.free > 0
            && let Some((turn, mut members)) = self.lanes.pop_first()
        {
            while let Some((_, mut candidate)) = members.pop_first() {
                if candidate.share >= candidate.ready {
                    self.done.push(candidate);
                    continue;
                }
                if let Err(refused) = admit(&candidate) {
                    candidate.refused = Some(refused);
                    self.done.push(candidate);
                    continue;
                }
                let next = self.served(turn, &candidate);
                candidate.share += 1;
                candidate.turn = candidate.turn.later(candidate.cost);
                members.insert(candidate.turn, candidate);
                self.lanes.insert(next, members);
                break;
            }
        }
    }

    /// A worker goes to a candidate. Returns the next turn of its lane.
    fn served(&mut self, turn: Turn, candidate: &Candidate) -> Turn {
        let lane = candidate.lane;
        let next = turn.later(candidate.cost_to_lane());
        self.free -= 1;
        self.turns.insert(lane, next);
        let served = self.served.entry(lane).or_insert(Served {
            since: turn,
            first_member: candidate.turn,
            next,
        });
        served.next = next;
        next
    }

    pub fn into_shares(self) -> Shares {
        let rest = self.lanes.into_values();
        let rest = rest.flat_map(Members::into_values);
        Shares {
            candidates: self.done.into_iter().chain(rest).collect(),
            served: self.served,
        }
    }
}

#[cfg(test)]
mod tests;
