//! The limits of one destination.

use std::time::Duration;

use crate::delivery::admission::{Refusal, Replaced, Reputation, Request};
use crate::delivery::attempt::QUICK;
use crate::delivery::levels::durable::token_bucket::AttemptBucket;
use crate::delivery::outcome::Outcome;
use crate::delivery::target::Target;
use crate::model::{Breaker, BreakerChange, FailureKind, Health};

/// Quick attempts in a row before a delivery is prefetched; never more are prefetched than there
/// were. With 16 of them ten thousand destinations began at two thirds of the pace, and a hundred
/// that fail one attempt in twenty settled a tenth less than with four. With one, those that fail
/// each second attempt settled a quarter less than with 16, for all that is released after a
/// failure (measured). Two lies between.
pub(super) const MIN_STREAK: usize = 2;

/// An attempt costs its destination one round for each such time that it took.
const ROUND: Duration = Duration::from_millis(20);
/// The rounds that an attempt costs at most: so often do the others go first, and no more.
const MAX_COST: u64 = 16;

fn cost(took: Duration) -> u64 {
    let rounds = took.as_millis() / ROUND.as_millis();
    u64::try_from(rounds).map_or(MAX_COST, |rounds| (1 + rounds).min(MAX_COST))
}

/// A rate, a number of attempts at once that adapts to the outcomes, and a circuit breaker.
pub(super) struct Limits {
    pub reputation: Reputation,
    /// The highest number of attempts at once.
    max_window: usize,
    /// Attempts at once for now: doubles with each round of successes, falls to one on a timeout.
    window: usize,
    bucket: Option<AttemptBucket>,
    /// Whether its deliveries were kept waiting, so that the backlog must not go all at once.
    is_rested: bool,
    breaker: Option<Breaker>,
    /// An attempt that takes this long is as bad as a timeout, whatever its outcome: half the
    /// timeout.
    too_slow: Duration,
    /// Quick attempts in a row, after each of which the destination would take another.
    streak: usize,
    /// The rounds that an attempt costs, by the time that the last one took.
    pub cost: u64,
}

impl Limits {
    /// The limits of a destination that nothing is known about, in a pool of `workers`.
    pub fn new(target: &Target, workers: usize) -> Self {
        let policy = &target.policy;
        // Never the whole pool, whatever is configured.
        let below_pool = workers.saturating_sub(1).max(1);
        Self {
            reputation: Reputation::Fresh,
            max_window: (policy.concurrency as usize).min(below_pool),
            window: 1,
            bucket: policy.rate_limit.map(|limit| AttemptBucket::new(&limit)),
            is_rested: false,
            breaker: policy.breaker.map(Breaker::new),
            too_slow: policy.timeout / 2,
            streak: 0,
            cost: 1,
        }
    }

    /// Goes on under the policy of a reload. The token bucket keeps its level, whatever else is
    /// forgotten: the receiver has had those requests.
    pub fn replace(&mut self, target: &Target, replaced: Replaced, workers: usize, now: Duration) {
        let policy = &target.policy;
        let fresh = Self::new(target, workers);
        let bucket = match (self.bucket, &policy.rate_limit) {
            (Some(bucket), Some(limit)) => Some(bucket.with_limit(limit, now)),
            // A name that left the configuration may come back as it was.
            (Some(bucket), None) if replaced == Replaced::Defaults && target.is_named() => {
                Some(bucket)
            }
            _ => fresh.bucket,
        };
        if replaced == Replaced::Moved {
            // The backlog that was kept waiting has grown all the same.
            let is_rested = self.is_rested;
            *self = Self {
                bucket,
                is_rested,
                ..fresh
            };
            return;
        }
        self.bucket = bucket;
        self.max_window = fresh.max_window;
        self.window = self.window.min(self.max_window);
        self.too_slow = fresh.too_slow;
        self.breaker = match (self.breaker.take(), policy.breaker) {
            (Some(mut breaker), Some(rules)) => {
                breaker.set_rules(rules);
                Some(breaker)
            }
            _ => fresh.breaker,
        };
        if let Some(breaker) = &mut self.breaker
            && replaced == Replaced::Changed
        {
            breaker.probe_now(now);
        }
    }

    /// Whether the breaker and the window admit one more attempt. Asked before the shares of the
    /// pool; [`Self::admit_by_rate`] is asked after them.
    pub fn admit_by_window(&self, request: &Request<'_>) -> Result<(), Refusal> {
        let under_way = request.in_flight + request.planned;
        if let Some(breaker) = &self.breaker {
            let admitted = breaker.admits(request.now, under_way);
            admitted.map_err(|wait| match wait {
                Some(wait) => Refusal::For(wait),
                None => Refusal::UntilAnAttemptEnds,
            })?;
        }
        let window = if self.is_rested { 1 } else { self.window };
        if under_way >= window.min(self.max_window) {
            return Err(Refusal::UntilAnAttemptEnds);
        }
        Ok(())
    }

    /// Whether the bucket has a token for one more attempt.
    pub fn admit_by_rate(&self, request: &Request<'_>) -> Result<(), Refusal> {
        let Some(mut bucket) = self.bucket else {
            return Ok(());
        };
        if self.is_rested {
            bucket.empty(request.now);
        }
        match bucket.wait(request.planned, request.now) {
            Some(wait) => Err(Refusal::For(wait)),
            None => Ok(()),
        }
    }

    /// Ends a rest once the breaker admits an attempt. The bucket is full, and the whole backlog is
    /// due: so the bucket starts empty, and the window at one.
    pub fn resume(&mut self, in_flight: usize, now: Duration) {
        let breaker = self.breaker.as_ref();
        let is_refused = breaker.is_some_and(|breaker| breaker.admits(now, in_flight).is_err());
        if self.is_rested && !is_refused {
            self.is_rested = false;
            self.window = 1;
            if let Some(bucket) = &mut self.bucket {
                bucket.empty(now);
            }
        }
    }

    pub fn rest(&mut self) {
        self.is_rested = true;
    }

    pub fn spend(&mut self, now: Duration) {
        if let Some(bucket) = &mut self.bucket {
            bucket.spend(now);
        }
    }

    /// Leaves one token of a full bucket: a backlog goes at the rate, and its first one at once.
    pub fn leave_one_token(&mut self, now: Duration) {
        if let Some(bucket) = &mut self.bucket {
            bucket.leave_one(now);
        }
    }

    /// Deliveries that may be prefetched. A delivery under a rate begins when its token is there.
    pub fn max_prefetched(&self) -> usize {
        let is_quick = self.streak >= MIN_STREAK && !self.is_rested;
        if is_quick && self.bucket.is_none() {
            self.streak
        } else {
            0
        }
    }

    pub fn end_streak(&mut self) {
        self.streak = 0;
    }

    /// Opens the breaker as the database remembers it, if there is one.
    pub fn reopen(&mut self, now: Duration, probe_in: Duration, wait: Duration) {
        if let Some(breaker) = &mut self.breaker {
            breaker.reopen(now, probe_in, wait);
            self.is_rested = true;
        }
    }

    /// The next probe goes after this wait at the latest.
    pub fn probe_in(&mut self, wait: Duration, now: Duration) {
        if let Some(breaker) = &mut self.breaker {
            breaker.bring_probe_forward(now.saturating_add(wait));
        }
    }

    /// Whether the limits differ from new ones only by the window: the database remembers whether a
    /// destination is proven.
    pub fn has_nothing_to_lose(&self, now: Duration) -> bool {
        !self.is_rested
            && self.reputation != Reputation::Suspect
            && self.bucket.is_none_or(|bucket| bucket.is_full(now))
            && self
                .breaker
                .as_ref()
                .is_none_or(|breaker| breaker.has_no_failures(now))
    }

    pub fn has_breaker(&self) -> bool {
        self.breaker.is_some()
    }

    pub fn is_breaker_open(&self) -> bool {
        self.breaker.as_ref().is_some_and(Breaker::is_open)
    }

    /// Learns from a completion.
    pub fn learn(
        &mut self,
        outcome: &Outcome,
        took: Duration,
        now: Duration,
    ) -> Option<BreakerChange> {
        self.adapt(outcome, took);
        let breaker = self.breaker.as_mut();
        let change = breaker.and_then(|breaker| breaker.note(outcome.health(), now));
        self.is_rested |= change.is_some();
        change
    }

    fn adapt(&mut self, outcome: &Outcome, took: Duration) {
        let is_slow = outcome.failure == Some(FailureKind::Timeout) || took >= self.too_slow;
        self.cost = cost(took);
        let is_quick = took <= QUICK && !is_slow;
        self.streak = if is_quick && outcome.invites_another() {
            self.streak.saturating_add(1)
        } else {
            0
        };
        match (is_slow, outcome.health()) {
            (true, _) => {
                self.window = 1;
                self.reputation = Reputation::Suspect;
            }
            (_, Health::Failing) => {
                self.window = (self.window / 2).max(1);
                self.reputation = Reputation::Proven;
            }
            (_, Health::Well) => {
                self.window = (self.window + 1).min(self.max_window);
                self.reputation = Reputation::Proven;
            }
            (_, Health::Unknown) => {}
        }
    }
}
