//! Adopts the configuration of a reload.
//!
//! A destination is known by its name. If its URL leads to another server, the learned
//! concurrency, the hold and the breaker of the server before are forgotten. If something else of
//! it changed, an open breaker lets one probe go at once. A pause stays, and so does the level of
//! a token bucket.

use std::sync::Arc;

use crate::config::{DestinationPolicy, Resolved};
use crate::delivery::admission::Replaced;
use crate::delivery::attempt::Attempt;
use crate::delivery::dispatcher::Dispatcher;
use crate::delivery::target::Target;
use crate::store::{DestinationId, ReplacedDestinations, ScanCursor, Settlement};

impl Dispatcher {
    /// Adopts the configuration that runs, if a reload has replaced the one of the tick before.
    /// Returns false if the next tick has to go on with it at once.
    pub(super) fn adopt_configuration(&mut self) -> bool {
        if !self.context.config.is_current(&self.config) {
            let config = self.context.config.current();
            let old = std::mem::replace(&mut self.config, config);
            self.admission.reconfigure(&self.config);
            self.note_replaced(&old);
            self.replace_policies();
            // Shows the states of destinations that are new.
            self.scan = Some(ScanCursor::START);
        }
        self.record_replaced()
    }

    /// Takes note of named destinations whose memory in the database is outdated, whether or not
    /// this process has looked at them.
    fn note_replaced(&mut self, old: &Resolved) {
        for (name, policy) in &self.config.destinations {
            match old.destinations.get(name) {
                Some(before) if Arc::ptr_eq(before, policy) => {}
                Some(before) if policy.has_moved(before) => {
                    self.replaced.moved.push(name.clone());
                }
                _ => self.replaced.changed.push(name.clone()),
            }
        }
        for name in old.destinations.keys() {
            if !self.config.destinations.contains_key(name) {
                self.gauges.forget(name);
            }
        }
    }

    /// Gives the destinations that are known their new policies.
    fn replace_policies(&mut self) {
        let (now, monotonic) = (self.context.clock.now(), self.context.clock.monotonic());
        let admission = &mut *self.admission;
        let mut replaced = Vec::new();
        for (id, state) in self.targets.iter_mut() {
            let policy = self.config.destination(&state.target.name);
            if Arc::ptr_eq(policy, &state.target.policy) {
                continue;
            }
            let kind = state.replaced_by(policy);
            let moved = &mut self.replaced.moved;
            // One that was not configured in between is no change from one policy to another.
            if kind == Replaced::Moved && !moved.contains(&state.target.name) {
                moved.push(state.target.name.clone());
            }
            let target = Arc::new(Target {
                id: *id,
                name: state.target.name.clone(),
                label: state.target.label.clone(),
                policy: Arc::clone(policy),
            });
            let is_breaker_open = admission.replace(&target, kind, monotonic);
            let lost_breaker = state.is_breaker_open && !is_breaker_open;
            state.replace(target, kind, is_breaker_open);
            self.gauges.change(&state.target.label, now, |kept| {
                kept.is_breaker_open = is_breaker_open;
                if kind == Replaced::Moved {
                    kept.held_until = None;
                }
            });
            let reputation = admission.reputation(&state.target);
            self.schedule.set_reputation(*id, reputation);
            replaced.push((*id, kind, lost_breaker));
        }
        for (id, kind, lost_breaker) in replaced {
            if kind == Replaced::Moved {
                self.ledger.move_on(id);
                let of_it = self
                    .unsettled
                    .iter_mut()
                    .filter(|one| one.destination() == id);
                of_it.for_each(Settlement::forget_change);
            } else if lost_breaker {
                self.targets.without_breaker.push(id);
            }
            // They hold the policy before, and a claim under the new one follows.
            self.pool.recall([id]);
            self.look_anew(id);
        }
    }

    /// Nothing that kept the destination back before need do so now.
    fn look_anew(&mut self, id: DestinationId) {
        self.schedule.set_free(id);
        self.schedule.look_now(id);
    }

    /// Has the database forget what is outdated: a step with each tick, so that the deliveries to
    /// others go on, and again if it fails. Returns false if the next step has to follow at once.
    fn record_replaced(&mut self) -> bool {
        if self.replaced.is_empty() {
            return true;
        }
        match self.context.store.replace_destinations(&self.replaced) {
            Ok(true) => self.replaced = ReplacedDestinations::default(),
            Ok(false) => return false,
            Err(error) => {
                if self.failed_records.begins(self.context.clock.monotonic()) {
                    log::warn!(
                        error:%;
                        "what a reload has replaced can't be recorded: holds and breakers of the servers before stay until it can"
                    );
                }
            }
        }
        true
    }

    /// Whether an attempt went to the server that is there now: the outcome of any other says
    /// nothing about it.
    pub(super) fn is_about_present(&self, attempt: &Attempt) -> bool {
        let Some(state) = self.targets.get(attempt.target.id) else {
            return true;
        };
        let (present, then) = (&state.target.policy, &attempt.target.policy);
        Arc::ptr_eq(present, then) || !present.has_moved(then)
    }

    /// The rules by which an attempt is settled: today's. Of a destination that is no longer
    /// configured, those of the attempt.
    pub(super) fn present_policy<'a>(&'a self, attempt: &'a Attempt) -> &'a DestinationPolicy {
        let state = self.targets.get(attempt.target.id);
        let present = state
            .map(|state| &state.target)
            .filter(|target| target.is_known());
        &present.unwrap_or(&attempt.target).policy
    }
}
