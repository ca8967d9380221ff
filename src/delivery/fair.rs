//! Shares free workers out among lanes, and within a lane among its destinations. Pure.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::dispatcher::Lane;
use super::levels::Refusal;
use super::target::Target;

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
mod tests {
    use super::*;
    use crate::model::RetryPlan;
    use proptest::prelude::*;

    /// A lane's candidates: how much of each is ready, and how much it may have.
    type Wishes = Vec<(usize, usize)>;

    fn share_out(free: usize, lanes: &[Wishes]) -> (FairShare, impl Fn(i64) -> usize) {
        let config = crate::Config::default();
        let limits: Vec<usize> = lanes.iter().flatten().map(|(_, limit)| *limit).collect();
        let limit = move |id: i64| limits[usize::try_from(id).expect("small")];
        let mut shares = FairShare::of(free);
        let lanes = (0_i64..).zip(lanes);
        let all = lanes.flat_map(|(lane, wishes)| wishes.iter().map(move |wish| (lane, wish)));
        let candidates = (0_i64..)
            .zip(all)
            .map(|(id, (lane, (ready, _)))| Candidate {
                target: Arc::new(Target::new(id, "http://x", &config, RetryPlan::Never, true)),
                lane: Lane::Proven(Some(lane)),
                in_flight: 0,
                waiting: 0,
                ready: *ready,
                share: 0,
                refused: None,
            });
        shares.offer(candidates);
        shares.go_round(|candidate| {
            if candidate.share < limit(candidate.target.id) {
                Ok(())
            } else {
                Err(Refusal::UntilAnAttemptEnds)
            }
        });
        (shares, limit)
    }

    proptest! {
        #[test]
        fn lanes_get_equal_shares_and_no_worker_is_wasted(
            free in 0usize..100,
            lanes in prop::collection::vec(prop::collection::vec((0usize..40, 0usize..40), 0..9), 0..12),
        ) {
            let (shares, limit) = share_out(free, &lanes);
            let takable = |wishes: &Wishes| wishes.iter().map(|(ready, most)| *ready.min(most)).sum::<usize>();
            let all: usize = lanes.iter().map(takable).sum();
            let given = shares.given().clone();
            prop_assert_eq!(given.values().sum::<usize>(), free.min(all));
            prop_assert_eq!(shares.given_to_adhoc(), free.min(all));
            prop_assert_eq!(shares.free(), free - free.min(all));
            let most = given.values().max().copied().unwrap_or(0);
            for (lane, wishes) in (0_i64..).zip(&lanes) {
                let got = given.get(&Lane::Proven(Some(lane))).copied().unwrap_or(0);
                prop_assert!(got + 1 >= most || got == takable(wishes), "no lane is passed over");
            }
            let candidates: Vec<_> = shares.into_shares().collect();
            prop_assert_eq!(candidates.len(), lanes.iter().map(Vec::len).sum::<usize>());
            for candidate in candidates {
                prop_assert!(candidate.share <= candidate.ready.min(limit(candidate.target.id)));
            }
        }
    }

    #[test]
    fn a_key_with_many_origins_gets_no_more_than_a_key_with_one() {
        let (shares, _) = share_out(10, &[vec![(9, 9); 1000], vec![(9, 9)]]);
        let given: Vec<usize> = shares.given().values().copied().collect();
        assert_eq!(given, [5, 5]);
    }
}
