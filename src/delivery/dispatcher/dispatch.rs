//! Hands claimed deliveries to workers.

use std::sync::Arc;
use std::time::Duration;

use crate::delivery::attempt::{Attempt, Body, DeliveryKey};
use crate::delivery::dispatcher::Dispatcher;
use crate::delivery::ops::{Claimed, HandBack, Shipment};
use crate::store::StoreError;

/// The largest body, with its headers, that is loaded at the claim, all of a tick at once; a larger
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
        let shipments = self.reader.read(|sql| {
            let load = |claimed: &Claimed| Shipment::load_small(sql, claimed.intent, MAX_PRELOADED);
            Ok(claimed.iter().map(load).collect::<Vec<_>>())
        });
        let Ok(shipments) = shipments else {
            // The deliveries are not at fault, and spend no attempt.
            self.releases.extend(claimed.iter().map(release_later));
            return;
        };
        let now = self.context.clock.monotonic();
        let (mut attempts, mut prefetched) = (Vec::with_capacity(claimed.len()), Vec::new());
        for (claimed, shipment) in claimed.into_iter().zip(shipments) {
            let state = self.targets.get(claimed.destination);
            let state = state.expect("a destination is known before it is claimed for");
            let (target, is_named) = (&state.target, state.origin.is_named);
            let attempt = Attempt {
                intent: claimed.intent,
                target: Arc::clone(target),
                claim: claimed.claim,
                number: claimed.attempt,
                history: claimed.history,
                body: body(shipment),
            };
            let release = release(&claimed);
            if claimed.claim > 0 {
                let reputation = self.admission.reputation(target);
                self.ledger.start(release, is_named, reputation);
                self.admission.spend(target, planned_at);
                attempts.push(attempt);
            } else {
                self.ledger.prefetch(release, is_named, now);
                prefetched.push(attempt);
            }
        }
        for key in self.pool.submit(attempts, prefetched) {
            self.promote(key);
        }
        let busy = self.ledger.in_flight();
        self.context.metrics.workers_busy(busy);
    }

    /// A prefetched delivery has begun.
    pub(super) fn promote(&mut self, key: DeliveryKey) {
        if let Some(state) = self.targets.get(key.1) {
            let reputation = self.admission.reputation(&state.target);
            self.ledger.promote(key, reputation);
        }
    }
}

fn body(loaded: Result<Option<Shipment>, StoreError>) -> Body {
    match loaded {
        Ok(Some(shipment)) => Body::Loaded(Arc::new(shipment)),
        Ok(None) => Body::Stored,
        Err(error) => Body::Unreadable(error.to_string().into()),
    }
}

/// Gives a claim back; the delivery is due as it was.
fn release(claimed: &Claimed) -> HandBack {
    HandBack {
        intent: claimed.intent,
        destination: claimed.destination,
        claim: claimed.claim,
        due: Some(claimed.due),
    }
}

/// Gives a claim back that can't begin for a moment.
fn release_later(claimed: &Claimed) -> HandBack {
    HandBack {
        due: None,
        ..release(claimed)
    }
}
