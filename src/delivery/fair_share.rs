//! Shares free workers out among lanes, and within a lane among its destinations. Pure.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::delivery::admission::{Refusal, Reputation};
use crate::delivery::lane::Lane;
use crate::delivery::target::Target;

/// A destination with deliveries due, and the workers that it is assigned.
pub(in crate::delivery) struct Candidate {
    pub target: Arc<Target>,
    pub lane: Lane,
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
}

/// Free workers, assigned one in turn to each lane that has work and may have one.
pub(in crate::delivery) struct FairShare {
    free: usize,
    lanes: VecDeque<LaneQueue>,
    /// Candidates that are assigned no more.
    done: Vec<Candidate>,
    assigned: HashMap<Lane, usize>,
}

/// One lane's candidates: those without a worker come first.
struct LaneQueue {
    lane: Lane,
    fresh: VecDeque<Candidate>,
    served: VecDeque<Candidate>,
}

/// The outcome of a sharing.
pub(in crate::delivery) struct Shares {
    /// All that were offered, each with its share.
    pub candidates: Vec<Candidate>,
    /// Workers assigned to each lane.
    pub by_lane: HashMap<Lane, usize>,
}

impl FairShare {
    pub fn new(free: usize) -> Self {
        Self {
            free,
            lanes: VecDeque::new(),
            done: Vec::new(),
            assigned: HashMap::new(),
        }
    }

    /// Workers that are left.
    pub fn free(&self) -> usize {
        self.free
    }

    /// Adds candidates. Lanes take turns in the order in which they appear first.
    pub fn offer(&mut self, candidates: impl IntoIterator<Item = Candidate>) {
        let places = self.lanes.iter().enumerate();
        let mut places: HashMap<Lane, usize> = places.map(|(at, q)| (q.lane, at)).collect();
        for candidate in candidates {
            let lane = candidate.lane;
            let at = *places.entry(lane).or_insert_with(|| {
                self.lanes.push_back(LaneQueue {
                    lane,
                    fresh: VecDeque::new(),
                    served: VecDeque::new(),
                });
                self.lanes.len() - 1
            });
            self.lanes[at].fresh.push_back(candidate);
        }
    }

    /// Assigns workers until none is left, or no candidate may have one.
    pub fn assign(&mut self, mut admit: impl FnMut(&Candidate) -> Result<(), Refusal>) {
        while self.free > 0
            && let Some(mut lane) = self.lanes.pop_front()
        {
            while let Some(mut candidate) = lane.next() {
                if candidate.share >= candidate.ready {
                    self.done.push(candidate);
                    continue;
                }
                match admit(&candidate) {
                    Ok(()) => {
                        candidate.share += 1;
                        self.free -= 1;
                        *self.assigned.entry(lane.lane).or_default() += 1;
                        lane.served.push_back(candidate);
                        self.lanes.push_back(lane);
                        break;
                    }
                    Err(refused) => {
                        candidate.refused = Some(refused);
                        self.done.push(candidate);
                    }
                }
            }
        }
    }

    pub fn into_shares(self) -> Shares {
        let rest = self.lanes.into_iter();
        let rest = rest.flat_map(|lane| lane.fresh.into_iter().chain(lane.served));
        Shares {
            candidates: self.done.into_iter().chain(rest).collect(),
            by_lane: self.assigned,
        }
    }
}

impl LaneQueue {
    fn next(&mut self) -> Option<Candidate> {
        self.fresh.pop_front().or_else(|| self.served.pop_front())
    }
}

#[cfg(test)]
mod tests;
