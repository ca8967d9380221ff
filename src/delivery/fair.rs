//! How free workers are shared out among destinations. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use super::target::Target;

/// A destination that may have workers, and how many it has been given.
pub(super) struct Candidate {
    pub target: Arc<Target>,
    pub in_flight: usize,
    pub waiting: usize,
    pub ready: usize,
    pub share: usize,
}

/// Free workers that are given out, one in turn to each candidate that has work and may have it.
pub(super) struct Sharing {
    free: usize,
    /// Who took one in every round so far, in turn.
    ring: VecDeque<Candidate>,
    /// Who didn't, and gets no more.
    done: Vec<Candidate>,
    /// How many were given.
    given: usize,
}

impl Sharing {
    /// Gives out so many.
    pub fn of(free: usize) -> Self {
        Self {
            free,
            ring: VecDeque::new(),
            done: Vec::new(),
            given: 0,
        }
    }

    /// How many are left.
    pub fn free(&self) -> usize {
        self.free
    }

    /// How many were given.
    pub fn given(&self) -> usize {
        self.given
    }

    /// The next one in the first round.
    pub fn offer(&mut self, mut candidate: Candidate, admits: impl FnOnce(&Candidate) -> bool) {
        if self.free > 0 && candidate.share < candidate.ready && admits(&candidate) {
            candidate.share += 1;
            self.free -= 1;
            self.given += 1;
            self.ring.push_back(candidate);
        } else {
            self.done.push(candidate);
        }
    }

    /// Everybody was in the first round: further ones, as long as there is anything left that anybody
    /// may have.
    pub fn go_round(&mut self, mut admits: impl FnMut(&Candidate) -> bool) {
        while self.free > 0
            && let Some(candidate) = self.ring.pop_front()
        {
            self.offer(candidate, &mut admits);
        }
    }

    /// All who were offered one, each with its share.
    pub fn into_shares(self) -> impl Iterator<Item = Candidate> {
        self.done.into_iter().chain(self.ring)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RetryPlan;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_are_fair_and_waste_no_worker(
            free in 0usize..100,
            candidates in prop::collection::vec((0usize..40, 0usize..40), 0..60),
        ) {
            let config = crate::Config::default();
            // The second number is how many a candidate may have.
            let limit = |id: i64| candidates[usize::try_from(id).expect("small")].1;
            let admits = |candidate: &Candidate| candidate.share < limit(candidate.target.id);
            let mut sharing = Sharing::of(free);
            for (id, (ready, _)) in (0i64..).zip(&candidates) {
                sharing.offer(Candidate {
                    target: Arc::new(Target::new(id, "http://x", &config, RetryPlan::Never, true)),
                    in_flight: 0,
                    waiting: 0,
                    ready: *ready,
                    share: 0,
                }, admits);
            }
            sharing.go_round(admits);
            let (left, counted) = (sharing.free(), sharing.given());
            let shares: Vec<_> = sharing.into_shares().collect();
            let given: usize = shares.iter().map(|candidate| candidate.share).sum();
            let takable: usize = candidates.iter().map(|(ready, limit)| *ready.min(limit)).sum();
            prop_assert_eq!(given, free.min(takable));
            prop_assert_eq!((left, counted), (free - given, given));
            prop_assert_eq!(shares.len(), candidates.len());
            let most = shares.iter().map(|candidate| candidate.share).max().unwrap_or(0);
            for (id, (ready, limit)) in (0i64..).zip(&candidates) {
                let share = shares
                    .iter()
                    .find(|candidate| candidate.target.id == id)
                    .map_or(0, |candidate| candidate.share);
                prop_assert!(share <= *ready.min(limit));
                prop_assert!(share + 1 >= most || share == *ready.min(limit), "nobody is passed over");
            }
        }
    }
}
