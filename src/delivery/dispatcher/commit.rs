//! The transaction of a tick: settles, releases, and claims.

use crate::delivery::dispatcher::Dispatcher;
use crate::store::{ClaimRequest, Claimed, SettleAndClaim, StoreError};

/// A commit that succeeded.
#[derive(Default)]
pub(super) struct Committed {
    pub claimed: Vec<Claimed>,
    /// Outcomes that are durable now.
    pub settled: usize,
}

impl Dispatcher {
    /// Settles, releases and claims. None if the store refused: then all that isn't durable is kept
    /// for the next commit, and nothing is claimed.
    pub(super) fn commit(&mut self, claims: &[ClaimRequest]) -> Option<Committed> {
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
        let settled = self.unsettled.len();
        let mut change = SettleAndClaim::new(
            std::mem::take(&mut self.unsettled),
            std::mem::take(&mut self.releases),
            without_breaker.clone(),
            claims.to_vec(),
            claim,
        );
        let written = self.context.store.settle_and_claim(&mut change);
        let (settlements, releases) = change.durable();
        self.schedule_again(settlements, releases);
        match written {
            Ok(()) => {
                self.is_refused = false;
                self.targets.without_breaker.clear();
                self.successors.clear();
                let claimed = change.into_claimed();
                Some(Committed { claimed, settled })
            }
            Err(error) => {
                (self.unsettled, self.releases) = change.into_unfinished();
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
