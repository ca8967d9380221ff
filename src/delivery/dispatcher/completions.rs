//! Turns the completions of workers into settlements and releases.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::delivery::admission::Change;
use crate::delivery::attempt::Completion;
use crate::delivery::dispatcher::Dispatcher;
use crate::delivery::dispatcher::plan::LOOK_EVERY;
use crate::delivery::outcome::{Class, Decision, Outcome, decide};
use crate::model::{BreakerChange, FailureKind, OnDead, Transition};
use crate::ops::rollup_counters::{AttemptResult, EndedAttempt, ErrorClass};
use crate::store::{AttemptRecord, DestinationChange, DestinationId, Settlement};

impl Dispatcher {
    /// Takes in the completions since the last call: their workers are free, and the level learns
    /// from the outcomes. The next commit makes them durable.
    pub(super) fn collect_completions(&mut self) {
        let now = self.context.clock.now();
        let monotonic = self.context.clock.monotonic();
        for mut completion in self.pool.take_completions() {
            let attempt = &completion.attempt;
            let Some(closed) = self.ledger.close(attempt.claim()) else {
                continue;
            };
            if !closed.was_in_flight {
                self.releases.push(closed.release);
                continue;
            }
            let is_present = self.is_about_present(attempt);
            let change = match &completion.outcome {
                Some(outcome) if is_present => {
                    let (target, took) = (&attempt.target, completion.took);
                    self.admission.ended(target, outcome, took, monotonic)
                }
                _ => Change::default(),
            };
            let reputation = self.admission.reputation(&attempt.target);
            self.schedule.set_reputation(attempt.target.id, reputation);
            self.schedule.set_free(attempt.target.id);
            if let Some(next) = completion.followed_by {
                self.promote(next);
            }
            match completion.outcome.take() {
                Some(outcome) => {
                    self.log_damage(&completion, &outcome, monotonic);
                    let change = is_present.then_some(change);
                    self.settle(&completion, outcome, change, now);
                }
                // Relay couldn't begin the attempt, and tries again in a moment.
                None => self.releases.push(closed.release.delayed()),
            }
        }
        let busy = self.ledger.in_flight();
        self.context.metrics.workers_busy(busy);
    }

    /// Recalls prefetched deliveries that wait behind slow attempts: a free worker may take them.
    pub(super) fn recall_stalled(&mut self) {
        let now = self.context.clock.monotonic();
        let (admission, targets) = (&mut self.admission, &self.targets);
        let stalled = self.ledger.stalled(now, LOOK_EVERY);
        self.pool.recall(stalled.inspect(|id| {
            if let Some(state) = targets.get(*id) {
                admission.prefetch_stalled(&state.target);
            }
        }));
    }

    /// Writes the log lines that are due about destinations, whether or not they are attempted
    /// again.
    pub(super) fn log_due_outages(&mut self) {
        let now = self.context.clock.now();
        while let Some(destination) = self.outages.next_due(now) {
            if let Some(state) = self.targets.get_mut(destination) {
                self.outages.log_due(&mut state.outage, &state.target, now);
            }
        }
    }

    /// Logs the first of a series of damaged payloads. Each is a dead letter.
    fn log_damage(&mut self, completion: &Completion, outcome: &Outcome, now: Duration) {
        if outcome.failure == Some(FailureKind::PayloadDamaged) && self.damaged.begins(now) {
            let attempt = &completion.attempt;
            log::error!(
                event_id = attempt.event_id(), destination = attempt.target.name.as_str();
                "a payload is damaged: its bytes in the database are not those that were accepted, \
                 and it is not delivered; others may be, too: relay list --status dead_lettered"
            );
        }
    }

    /// Settles an attempt. `change` is what its outcome changes at its destination; none if that is
    /// another server by now.
    fn settle(
        &mut self,
        completion: &Completion,
        outcome: Outcome,
        change: Option<Change>,
        now: Timestamp,
    ) {
        let attempt = &completion.attempt;
        let target = &attempt.target;
        let policy = self.present_policy(attempt);
        let (retry, on_dead) = (&policy.retry, policy.on_dead());
        let mut decision = decide(attempt.number, &outcome, retry, now, rand::random());
        if change.is_none() {
            decision.hold_until = None;
        }
        self.count(completion, &outcome, decision.step, now);
        // The destination says that it is gone for good: its operator should look. An ad hoc origin
        // has many users, and stays open.
        let may_pause = change.is_some() && target.policy.is_configured();
        let pause = (outcome.is_gone() && may_pause).then_some("it answered 410 Gone");
        let is_open = change
            .and_then(|change| change.breaker)
            .map(|change| match change {
                BreakerChange::Open(_) => true,
                BreakerChange::Closed => false,
            });
        if let (Some(state), Some(change)) = (self.targets.get_mut(target.id), change) {
            let log = &mut state.outage;
            let breaker = change.breaker;
            self.outages
                .note(log, attempt, &outcome, decision.step, breaker, now);
            state.is_breaker_open = is_open.unwrap_or(state.is_breaker_open);
            if let Some(reason) = pause {
                self.outages.paused(log, target, reason, now);
            }
        }
        self.gauges.change(&target.label, now, |kept| {
            kept.is_breaker_open = is_open.unwrap_or(kept.is_breaker_open);
            kept.is_paused |= pause.is_some();
            kept.held_until = kept.held_until.max(decision.hold_until);
        });
        if on_dead.is_some() && decision.step != Transition::Retry {
            self.expect_successor(target.id, now);
        }
        let change = change.unwrap_or_default();
        let is_of_payload = outcome.failure.is_some_and(FailureKind::is_of_payload);
        // Nobody can mend the payload, so its dead letter blocks nothing.
        let on_dead = on_dead.map(|fate| if is_of_payload { OnDead::Skip } else { fate });
        let settlement = settlement(completion, outcome, decision, change, pause);
        self.unsettled.push(settlement.ordered(on_dead));
    }

    /// The coming commit may let the next delivery of an order go: this tick's plan claims it, in
    /// the same transaction.
    fn expect_successor(&mut self, destination: DestinationId, now: Timestamp) {
        *self.successors.entry(destination).or_default() += 1;
        if let Some(state) = self.targets.get(destination) {
            let reputation = self.admission.reputation(&state.target);
            self.schedule.insert(state.origin, reputation, now);
        }
    }
}

impl Dispatcher {
    /// Counts an attempt that has ended.
    fn count(&self, completion: &Completion, outcome: &Outcome, step: Transition, now: Timestamp) {
        let (attempt, metrics) = (&completion.attempt, &self.context.metrics);
        let target = &attempt.target;
        metrics.attempt(&target.label, outcome.class.name(), completion.took);
        let result = if step == Transition::Deliver {
            let latency = now.since(attempt.accepted_at().unwrap_or(now));
            metrics.delivered(latency);
            AttemptResult::Delivered(latency)
        } else {
            AttemptResult::Failed {
                is_dead: step == Transition::DeadLetter,
                error: ErrorClass {
                    kind: outcome.failure.unwrap_or(FailureKind::Internal),
                    status_code: outcome.status_code,
                },
            }
        };
        let is_named = target.policy.is_configured();
        metrics.rollups.attempt(EndedAttempt {
            destination: is_named.then_some(target.name.as_str()),
            result,
            at: now,
        });
    }
}

fn settlement(
    completion: &Completion,
    outcome: Outcome,
    decision: Decision,
    change: Change,
    pause: Option<&'static str>,
) -> Settlement {
    let record = AttemptRecord {
        attempt: completion.attempt.number,
        history: completion.attempt.history,
        started_at: completion.started_at,
        took: completion.took,
        status_code: outcome.status_code,
        failure: outcome.failure.map(FailureKind::name),
        is_transient: outcome.class == Class::Transient,
        error: outcome.error,
        response: outcome.response,
        address: outcome.trace.address,
        resolve: outcome.trace.resolve,
        connect: outcome.trace.connect,
        tls: outcome.trace.tls,
        first_byte: outcome.trace.first_byte,
        next: decision.next,
    };
    let change = DestinationChange {
        hold_until: decision.hold_until,
        pause,
        breaker: change.breaker,
        is_proven: change.is_proven,
    };
    let claim = completion.attempt.claim();
    match (decision.step, decision.next_attempt_at) {
        (Transition::Deliver, _) => Settlement::delivered(claim, record, change),
        (_, Some(at)) => Settlement::retry(claim, record, at, change),
        (_, None) => Settlement::dead_letter(claim, record, change),
    }
}
