//! What workers have done, and what follows from it.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::delivery::admission::Change;
use crate::delivery::dispatcher::{Dispatcher, LOOK_EVERY, hand_back};
use crate::delivery::ops::{HandBack, Settlement};
use crate::delivery::outcome::{Class, Outcome, decide};
use crate::delivery::pool::Done;
use crate::model::{BreakerChange, FailureKind, Transition};

impl Dispatcher {
    /// Makes settlements of what workers have done. They are free again; what they did is not
    /// durable yet.
    pub(super) fn take_done(&mut self) {
        let now = self.context.clock.now();
        for mut done in self.pool.take_done() {
            let outcome = done.outcome.take();
            let job = &done.job;
            let key = (job.intent, job.target.id);
            if self.in_flight.remove(&key).is_none() {
                continue;
            }
            if !done.has_begun {
                self.no_longer_waits(job.target.id);
                self.hand_backs.push(hand_back(job));
                continue;
            }
            let change = if let Some(outcome) = &outcome {
                self.admission.ended(&job.target, outcome, done.took)
            } else {
                self.admission.withdrawn(&job.target);
                Change::default()
            };
            self.ends(job.target.id, change);
            if done.is_followed {
                self.begins(job.target.id);
            }
            if let Some(outcome) = outcome {
                self.settle(&done, outcome, change, now);
            } else {
                let due = None;
                self.hand_backs.push(HandBack {
                    due,
                    ..hand_back(job)
                });
            }
        }
        self.context.metrics.workers_busy(self.busy_workers());
    }

    /// Says what is due about destinations that may not be attempted again for long.
    pub(super) fn say_due(&mut self) {
        let now = self.context.clock.now();
        while let Some(destination) = self.outages.next_due(now) {
            if let Some(state) = self.states.get_mut(&destination) {
                self.outages.say_due(&mut state.outage, &state.target, now);
            }
        }
    }

    /// What waits behind attempts that take their time may go to a free worker instead.
    pub(super) fn recall_stuck(&mut self) {
        if self.waiting == 0 {
            return;
        }
        let now = self.context.clock.monotonic();
        let (admission, states) = (&mut self.admission, self.states.values());
        let stuck = states.filter(|state| {
            state.prefetched > 0 && now.saturating_sub(state.claimed_at) >= LOOK_EVERY
        });
        self.pool.recall(stuck.map(|state| {
            admission.stuck(&state.target);
            state.target.id
        }));
    }

    /// An attempt has ended: the destination may have another.
    fn ends(&mut self, destination: i64, change: Change) {
        if let Some(state) = self.states.get_mut(&destination) {
            state.in_flight -= 1;
            self.adhoc_in_flight -= usize::from(!state.origin.is_named);
            if let Some(is_proven) = change.is_proven {
                state.origin.is_proven = is_proven;
                self.schedule.prove(destination, is_proven);
            }
        }
        self.schedule.is_free(destination);
    }

    /// A prefetched delivery has begun.
    pub(super) fn begins(&mut self, destination: i64) {
        self.no_longer_waits(destination);
        if let Some(state) = self.states.get_mut(&destination) {
            state.in_flight += 1;
            self.adhoc_in_flight += usize::from(!state.origin.is_named);
            self.admission.began(&state.target);
        }
    }

    fn no_longer_waits(&mut self, destination: i64) {
        self.waiting -= 1;
        if let Some(state) = self.states.get_mut(&destination) {
            state.prefetched -= 1;
        }
    }

    fn settle(&mut self, done: &Done, outcome: Outcome, change: Change, now: Timestamp) {
        let breaker = change.breaker;
        let job = &done.job;
        let decision = decide(
            job.attempt,
            &outcome,
            &job.target.policy.retry,
            now,
            rand::random(),
        );
        let metrics = &self.context.metrics;
        metrics.attempt(&job.target.label, outcome.class.name(), done.took);
        if decision.step == Transition::Deliver {
            metrics.delivered(now.since(job.accepted_at().unwrap_or(now)));
        }
        // Gone for good, says the destination; whoever configured it should look. An ad hoc origin is
        // many people's, and stays open.
        let is_gone = outcome.class == Class::Permanent && outcome.status_code == Some(410);
        let pause =
            (is_gone && job.target.policy.is_configured()).then_some("it answered 410 Gone");
        if let Some(state) = self.states.get_mut(&job.target.id) {
            let log = &mut state.outage;
            self.outages
                .note(log, job, &outcome, decision.step, breaker, now);
            match breaker {
                Some(BreakerChange::Open(_)) => state.is_broken = true,
                Some(BreakerChange::Closed) => state.is_broken = false,
                None => {}
            }
            if let Some(reason) = pause {
                self.outages.paused(log, &job.target, reason, now);
            }
        }
        self.gauges.change(&job.target.label, now, |kept| {
            kept.is_open = match breaker {
                Some(BreakerChange::Open(_)) => true,
                Some(BreakerChange::Closed) => false,
                None => kept.is_open,
            };
            kept.is_paused |= pause.is_some();
            kept.held_until = kept.held_until.max(decision.hold_until);
        });
        let millis = |took: Option<Duration>| {
            took.map(|took| i64::try_from(took.as_millis()).unwrap_or(i64::MAX))
        };
        self.unsettled.push(Settlement {
            intent: job.intent,
            destination: job.target.id,
            claim: job.claim,
            attempt: job.attempt,
            history: job.history,
            started_at: done.started_at,
            duration_ms: i64::try_from(done.took.as_millis()).unwrap_or(i64::MAX),
            step: decision.step,
            next_attempt_at: decision.next_attempt_at,
            hold_until: decision.hold_until,
            pause,
            breaker,
            is_proven: change.is_proven,
            outcome: outcome.class.number(),
            status_code: outcome.status_code,
            failure: outcome.failure.map(FailureKind::name),
            error: outcome.error,
            response: outcome.response,
            address: outcome.trace.address,
            resolve_ms: millis(outcome.trace.resolve),
            connect_ms: millis(outcome.trace.connect),
            first_byte_ms: millis(outcome.trace.first_byte),
            next: decision.next,
        });
    }
}
