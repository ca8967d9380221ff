//! Shares free workers out among lanes, and within a lane among its destinations. Pure.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::delivery::admission::Refusal;
use crate::delivery::dispatcher::Lane;
use crate::delivery::target::Target;

/// A destination that may have workers, and how many it has been given.
pub(super) struct Candidate {
    pub target: Arc<Target>,
    pub lane: Lane,
    pub in_flight: usize,
    pub waiting: usize,
    pub ready: usize,
    pub share: usize,
    /// Why it gets no more.
    pub refused: Option<Refusal>,
}

/// Free workers that are given out, one in turn to each lane that has work and may have it.
pub(super) struct FairShare {
    free: usize,
    lanes: VecDeque<Queue>,
    /// Candidates that get no more.
    done: Vec<Candidate>,
    given: HashMap<Lane, usize>,
    given_to_adhoc: usize,
}

/// One lane's candidates: those that have none yet come first.
struct Queue {
    lane: Lane,
    fresh: VecDeque<Candidate>,
    ring: VecDeque<Candidate>,
}

impl FairShare {
    /// Gives out `free` workers.
    pub fn of(free: usize) -> Self {
        Self {
            free,
            lanes: VecDeque::new(),
            done: Vec::new(),
            given: HashMap::new(),
            given_to_adhoc: 0,
        }
    }

    /// How many are left.
    pub fn free(&self) -> usize {
        self.free
    }

    /// How many the origins of ad hoc URLs were given.
    pub fn given_to_adhoc(&self) -> usize {
        self.given_to_adhoc
    }

    /// How many each lane was given.
    pub fn given(&self) -> &HashMap<Lane, usize> {
        &self.given
    }

    /// Adds candidates; lanes have their turns in the order in which they appear first.
    pub fn offer(&mut self, candidates: impl IntoIterator<Item = Candidate>) {
        let places = self.lanes.iter().enumerate();
        let mut places: HashMap<Lane, usize> = places.map(|(at, q)| (q.lane, at)).collect();
        for candidate in candidates {
            let lane = candidate.lane;
            let at = *places.entry(lane).or_insert_with(|| {
                self.lanes.push_back(Queue {
                    lane,
                    fresh: VecDeque::new(),
                    ring: VecDeque::new(),
                });
                self.lanes.len() - 1
            });
            self.lanes[at].fresh.push_back(candidate);
        }
    }

    /// Gives until no worker is left, or nobody may have one.
    pub fn go_round(&mut self, mut admits: impl FnMut(&Candidate) -> Result<(), Refusal>) {
        while self.free > 0
            && let Some(mut lane) = self.lanes.pop_front()
        {
            while let Some(mut candidate) = lane.fresh.pop_front().or_else(|| lane.ring.pop_front())
            {
                if candidate.share >= candidate.ready {
                    self.done.push(candidate);
                    continue;
                }
                match admits(&candidate) {
                    Ok(()) => {
                        candidate.share += 1;
                        self.free -= 1;
                        *self.given.entry(lane.lane).or_default() += 1;
                        self.given_to_adhoc += usize::from(!lane.lane.is_named());
                        lane.ring.push_back(candidate);
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

    /// All that were offered one, each with its share.
    pub fn into_shares(self) -> impl Iterator<Item = Candidate> {
        let rest = self
            .lanes
            .into_iter()
            .flat_map(|lane| lane.fresh.into_iter().chain(lane.ring));
        self.done.into_iter().chain(rest)
    }
}

#[cfg(test)]
mod tests;
