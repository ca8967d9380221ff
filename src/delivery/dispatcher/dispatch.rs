//! Hands claimed deliveries to workers.

use std::sync::Arc;
use std::time::Duration;

use crate::delivery::attempt::{Attempt, Body};
use crate::delivery::dispatcher::Dispatcher;
use crate::store::{Claim, Claimed, OutboundMessage, Release, StoreError};

/// The largest body, with its headers, that is loaded at the claim, all of a step at once; a larger
/// one is loaded by the worker that sends it. So prefetched deliveries take at most 4 MiB with
/// 64 workers.
pub(in crate::delivery) const MAX_PRELOADED: i64 = 8 * 1024;

impl Dispatcher {
    /// Loads small bodies, and submits the deliveries to the pool. Each attempt that begins spends
    /// a token of its destination, at the time of the plan.
    pub(super) fn dispatch(&mut self, claimed: Vec<Claimed>, planned_at: Duration) {
        if claimed.is_empty() {
            return;
        }
        let intents = claimed.iter().map(|claimed| claimed.intent);
        let messages = self.reader.messages(intents, MAX_PRELOADED);
        let Ok(messages) = messages else {
            // The deliveries are not at fault, and spend no attempt.
            self.releases
                .extend(claimed.iter().map(|one| Release::untouched(one).delayed()));
            return;
        };
        let now = self.context.clock.monotonic();
        let (mut attempts, mut prefetched) = (Vec::with_capacity(claimed.len()), Vec::new());
        for (claimed, message) in claimed.into_iter().zip(messages) {
            let state = self.targets.get(claimed.destination);
            let state = state.expect("a destination is known before it is claimed for");
            let (target, is_named) = (&state.target, state.origin.is_named);
            let attempt = Attempt {
                intent: claimed.intent,
                target: Arc::clone(target),
                claim: claimed.claim,
                number: claimed.attempt,
                history: claimed.history,
                body: body(message),
            };
            let release = Release::untouched(&claimed);
            if claimed.claim.is_prefetched() {
                self.ledger.prefetch(release, is_named, now);
                prefetched.push(attempt);
            } else {
                let reputation = self.admission.reputation(target);
                self.ledger.start(release, is_named, reputation);
                self.admission.spend(target, planned_at);
                attempts.push(attempt);
            }
        }
        for claim in self.pool.submit(attempts, prefetched) {
            self.promote(claim);
        }
        let busy = self.ledger.in_flight();
        self.context.metrics.workers_busy(busy);
    }

    /// A prefetched delivery has begun.
    pub(super) fn promote(&mut self, claim: Claim) {
        if let Some(state) = self.targets.get(claim.destination) {
            let reputation = self.admission.reputation(&state.target);
            self.ledger.promote(claim, reputation);
        }
    }
}

fn body(loaded: Result<Option<OutboundMessage>, StoreError>) -> Body {
    match loaded {
        Ok(Some(message)) => Body::Loaded(Arc::new(message)),
        Ok(None) => Body::Stored,
        Err(error) => Body::Unreadable(error.to_string().into()),
    }
}
