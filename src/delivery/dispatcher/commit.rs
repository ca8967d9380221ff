//! The transactions of a tick: settles, releases, and claims.

use std::time::Duration;

use crate::delivery::dispatcher::Dispatcher;
use crate::store::{ClaimRequest, SettleAndClaim, StoreError};

/// A commit that succeeded.
#[derive(Default)]
pub(super) struct Committed {
    /// Deliveries that were claimed, and handed to workers.
    pub claimed: usize,
    /// Outcomes that are durable now.
    pub settled: usize,
}

impl Dispatcher {
    /// Settles and releases, and then claims and dispatches what was planned at this time. A large
    /// commit takes several steps, and each step's claims are dispatched before the next step, so
    /// that a thousand workers don't begin at once. None if the store refused: then all that isn't
    /// durable is kept for the next commit, and nothing more is claimed.
    pub(super) fn commit(
        &mut self,
        claims: &[ClaimRequest],
        planned_at: Duration,
    ) -> Option<Committed> {
        let without_breaker = &self.targets.without_breaker;
        if self.unsettled.is_empty()
            && self.releases.is_empty()
            && without_breaker.is_empty()
            && claims.is_empty()
        {
            return Some(Committed::default());
        }
        let claim = self.next_claim;
        self.next_claim = claim.next();
        let (settled, mut claimed) = (self.unsettled.len(), 0);
        let mut change = SettleAndClaim::new(
            std::mem::take(&mut self.unsettled),
            std::mem::take(&mut self.releases),
            without_breaker.clone(),
            claims.to_vec(),
            claim,
        );
        let written = loop {
            match self.context.store.settle_and_claim(&mut change) {
                Ok(true) => {
                    let step = change.take_claimed();
                    claimed += step.len();
                    self.dispatch(step, planned_at);
                }
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let (settlements, releases) = change.durable();
        self.schedule_again(settlements, releases);
        match written {
            Ok(()) => {
                self.is_refused = false;
                self.targets.without_breaker.clear();
                self.successors.clear();
                Some(Committed { claimed, settled })
            }
            Err(error) => {
                // Beside the releases of claims that could not be dispatched.
                let (settlements, releases) = change.into_unfinished();
                self.unsettled = settlements;
                self.releases.extend(releases);
                self.refused(&error);
                // The outcomes of prefetched deliveries couldn't be recorded either.
                self.pool.recall(self.targets.ids());
                None
            }
        }
    }

    fn refused(&mut self, error: &StoreError) {
        match error {
            // The store would refuse for ever. The next start releases what is claimed.
            StoreError::Rejected(_) | StoreError::Unexpected(_) => {
                self.is_over = true;
                let fatal = &self.context.fatal;
                fatal.raise(format!("outcomes can't be recorded: {error}"));
            }
            StoreError::Stopped => self.is_over = true,
            _ if !self.is_refused => {
                let outcomes = self.unsettled.len();
                log::warn!(
                    error:% = error, outcomes;
                    "outcomes can't be recorded: nothing is delivered until they can"
                );
            }
            _ => {}
        }
        self.is_refused = true;
    }
}
