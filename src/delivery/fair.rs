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

/// Gives out `free` workers, one in turn to each candidate that has work and may have it.
pub(super) fn share_out(
    mut free: usize,
    mut ring: VecDeque<Candidate>,
    mut admits: impl FnMut(&Candidate) -> bool,
) -> Vec<Candidate> {
    let mut done = Vec::new();
    while free > 0
        && let Some(mut candidate) = ring.pop_front()
    {
        if candidate.share < candidate.ready && admits(&candidate) {
            candidate.share += 1;
            free -= 1;
            ring.push_back(candidate);
        } else {
            done.push(candidate);
        }
    }
    done.extend(ring);
    done
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
            let ring = (0i64..)
                .zip(&candidates)
                .map(|(id, (ready, _))| Candidate {
                    target: Arc::new(Target::new(id, "http://x", &config, RetryPlan::Never, true)),
                    in_flight: 0,
                    waiting: 0,
                    ready: *ready,
                    share: 0,
                })
                .collect();
            // The second number is how many a candidate may have.
            let limit = |id: i64| candidates[usize::try_from(id).expect("small")].1;
            let shares = share_out(free, ring, |candidate| candidate.share < limit(candidate.target.id));
            let given: usize = shares.iter().map(|candidate| candidate.share).sum();
            let takable: usize = candidates.iter().map(|(ready, limit)| *ready.min(limit)).sum();
            prop_assert_eq!(given, free.min(takable));
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
