//! Makes the plan of a tick: reads what destinations have due, and applies what the plan found.

use std::sync::Arc;
use std::time::Duration;

use crate::delivery::dispatcher::gauges::StateGauges;
use crate::delivery::dispatcher::plan::{Found, Inputs, Look, Plan};
use crate::delivery::dispatcher::planner::Planner;
use crate::delivery::dispatcher::{Dispatcher, REFUSED_PAUSE};
use crate::store::{
    DestinationBacklog, DestinationId, DestinationStatus, Origin, Settlement, StoreError,
};

impl Dispatcher {
    /// Plans claims for ready destinations, and returns when to look again at the latest.
    pub(super) fn plan(&mut self) -> (Plan, Option<Duration>) {
        if self.ledger.room() == 0 {
            return (Plan::default(), None);
        }
        self.targets.forget_idle(
            &self.ledger,
            self.unsettled.iter().map(Settlement::destination),
            &mut *self.admission,
            self.context.clock.monotonic(),
        );
        let inputs = Inputs {
            workers: self.pool.workers(),
            free_workers: self.ledger.free_workers(),
            room: self.ledger.room(),
            occupancy: self.ledger.occupancy(),
            max_adhoc: self.max_adhoc(),
            looked_at: self.looked_at,
            has_prefetched: self.has_prefetched,
            is_held: self.context.store.is_held(),
            now: self.context.clock.now(),
            monotonic: self.context.clock.monotonic(),
        };
        let mut look_again = None;
        let mut planner = Planner::new(inputs);
        while let Some(origins) = planner.next_looks(&self.schedule, &*self.admission) {
            match self.look(&origins, planner.counted(), inputs) {
                Ok(looks) => planner.take(looks, &self.schedule, &*self.admission),
                Err(error) => {
                    self.failed_to_read(&error);
                    look_again = Some(REFUSED_PAUSE);
                    break;
                }
            }
        }
        let plan = planner.finish(&self.schedule, &*self.admission);
        if self.apply(&plan, inputs) {
            look_again = Some(Duration::ZERO);
        }
        (plan, look_again)
    }

    /// Tells the schedule, the level and the pool what a plan has found, whether or not its claims
    /// succeed. Returns whether prefetched deliveries come back.
    fn apply(&mut self, plan: &Plan, inputs: Inputs) -> bool {
        (self.looked_at, self.has_prefetched) = (plan.looks, plan.prefetches());
        for target in plan.postponed.iter().filter_map(|one| one.resting.as_ref()) {
            self.admission.rest(target);
        }
        for candidate in plan.asked() {
            let (target, in_flight) = (&candidate.target, candidate.in_flight);
            self.admission.resume(target, in_flight, inputs.monotonic);
        }
        plan.reschedule(&mut self.schedule, inputs.now);
        let recalls = plan.recalls();
        let is_any = !recalls.is_empty();
        if is_any {
            self.pool.recall(recalls);
        }
        is_any
    }

    /// Reads what destinations have due, and takes up those that are new.
    fn look(
        &mut self,
        origins: &[Origin],
        counted: usize,
        inputs: Inputs,
    ) -> Result<Vec<Look>, StoreError> {
        let now = inputs.now;
        let ids = origins.iter().map(|origin| origin.id);
        let due = self.reader.due(ids, now, counted)?;
        let looks = origins.iter().zip(due).map(|(origin, due)| {
            let found = due.and_then(|due| self.found(origin, &due, counted, inputs));
            if found.is_none() {
                self.hide_unknown(origin.id);
            }
            Look {
                origin: *origin,
                found,
            }
        });
        Ok(looks.collect())
    }

    /// A destination that is no longer configured has a state only while deliveries wait for it.
    fn hide_unknown(&mut self, id: DestinationId) {
        let state = self.targets.get(id);
        if let Some(state) = state.filter(|state| !state.target.is_known()) {
            self.gauges.forget(&state.target.label);
        }
    }

    /// A destination with deliveries waiting. None if there are none. The successors of those that
    /// the coming commit settles count as due: the claim comes after the settlements.
    fn found(
        &mut self,
        origin: &Origin,
        due: &DestinationBacklog,
        counted: usize,
        inputs: Inputs,
    ) -> Option<Found> {
        let successors = self.successors.get(&origin.id).copied().unwrap_or(0);
        let successor = (successors > 0).then_some(inputs.now);
        let next_attempt_at = due.next_attempt_at.into_iter().chain(successor).min()?;
        let now = (inputs.now, inputs.monotonic);
        let (admission, config) = (&mut *self.admission, &self.context.config);
        let is_idle = !self.ledger.has(origin.id);
        let handovers = is_idle.then(|| self.context.store.handovers(&due.name));
        let state = self
            .targets
            .take_up(origin, due, config, admission, handovers, now);
        if StateGauges::shows(&state.target) {
            let kept = DestinationStatus {
                is_paused: due.is_paused,
                held_until: due.held_until,
                is_breaker_open: state.is_breaker_open,
            };
            let is_known = state.target.is_known();
            let label = &state.target.label;
            self.gauges.see(label, is_known, kept, inputs.now);
        }
        Some(Found {
            reputation: admission.reputation(&state.target),
            target: Arc::clone(&state.target),
            counts: self.ledger.counts(origin.id),
            next_attempt_at,
            ready: (due.ready + successors).min(counted),
            is_paused: due.is_paused,
            held_until: due.held_until,
        })
    }

    /// Logs that the database can't be read: the first of a series, since each tick tries again.
    pub(super) fn failed_to_read(&mut self, error: &StoreError) {
        if self.failed_reads.begins(self.context.clock.monotonic()) {
            log::warn!(
                error:%;
                "waiting deliveries can't be read: nothing more is delivered until they can"
            );
        }
    }

    /// Workers that the origins of ad hoc URLs may have together: three quarters, if relay.toml has
    /// destinations for which to keep the rest.
    fn max_adhoc(&self) -> usize {
        let workers = self.pool.workers();
        if self.config.destinations.is_empty() {
            workers
        } else {
            (workers - workers.div_ceil(4)).max(1)
        }
    }
}
