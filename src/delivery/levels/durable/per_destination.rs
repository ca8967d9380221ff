//! What each destination may have: a rate, a number of attempts at once that follows how it fares, a
//! circuit breaker; and how much of the pool those may take that aren't known to be well.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::RateLimiter;
use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};

use crate::config::{RateLimit, Resolved};
use crate::delivery::Context;
use crate::delivery::admission::{Admission, Change, Refusal};
use crate::delivery::outcome::{Class, Outcome};
use crate::delivery::pool::QUICK;
use crate::delivery::target::Target;
use crate::limiter::{Monotonic, quota};
use crate::model::{Breaker, FailureKind, Health};

type Bucket = RateLimiter<NotKeyed, InMemoryState, Monotonic, NoOpMiddleware<Duration>>;

/// How well a destination is known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nothing has come back from it yet.
    Fresh,
    /// The last that came back was an answer.
    Proven,
    /// The last that came back was a timeout, or took nearly as long: it may keep a worker for long.
    Suspect,
}

pub(in crate::delivery::levels) struct PerDestination {
    config: Arc<Resolved>,
    clock: Monotonic,
    known: HashMap<i64, Limits>,
    /// Workers that are busy with, or promised to, destinations that aren't proven; and with suspect
    /// ones among them.
    unproven: Share,
    suspect: Share,
    /// All workers that are busy or promised; from its end on a destination gets but one.
    crowd: Share,
    /// The fewest attempts that somebody has under way who was kept from more in this round for the
    /// crowd's sake.
    fewest: usize,
}

/// A part of the pool, of which the origins of ad hoc URLs may take some: anybody with an API key
/// makes up as many of those as they like, and named destinations must not wait for them.
#[derive(Clone, Copy, Debug)]
struct Share {
    most: usize,
    most_adhoc: usize,
    named: Taken,
    adhoc: Taken,
}

#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    busy: usize,
    promised: usize,
}

impl Share {
    /// So many workers, all of them for anybody.
    fn of(workers: usize) -> Self {
        let most = workers.max(1);
        Self {
            most,
            most_adhoc: most,
            named: Taken::default(),
            adhoc: Taken::default(),
        }
    }

    /// The same, and half of it at most for ad hoc origins.
    fn half_for_adhoc(self) -> Self {
        Self {
            most_adhoc: (self.most / 2).max(1),
            ..self
        }
    }

    fn is_spent(&self, is_named: bool) -> bool {
        let [named, adhoc] = [self.named, self.adhoc].map(|taken| taken.busy + taken.promised);
        if is_named {
            // Ad hoc origins may have one worker even of a share of one: the named have theirs, too.
            let reserved = (self.most - self.most_adhoc).max(1);
            named + adhoc >= self.most && named >= reserved
        } else {
            named + adhoc >= self.most || adhoc >= self.most_adhoc
        }
    }

    fn taken(&mut self, is_named: bool) -> &mut Taken {
        if is_named {
            &mut self.named
        } else {
            &mut self.adhoc
        }
    }

    fn new_round(&mut self) {
        self.named.promised = 0;
        self.adhoc.promised = 0;
    }

    fn promise(&mut self, is_named: bool) {
        self.taken(is_named).promised += 1;
    }

    fn begin(&mut self, is_named: bool) {
        self.taken(is_named).busy += 1;
    }

    fn end(&mut self, is_named: bool) {
        self.taken(is_named).busy -= 1;
    }
}

struct Limits {
    standing: Standing,
    /// Attempts at once, as long as all is well.
    most_at_once: usize,
    /// Attempts at once for now: doubles with each round of successes, falls to one on a timeout.
    window: usize,
    rate: Option<(RateLimit, Bucket)>,
    /// Whether it was kept waiting, so that what piled up meanwhile must not go all at once.
    is_rested: bool,
    breaker: Option<Breaker>,
    /// An attempt that takes so long is as bad as one that times out, whatever comes of it: half the
    /// timeout.
    too_slow: Duration,
    /// Attempts in a row that went well and took no longer than [`QUICK`].
    quick: usize,
    /// What is under way counts by the standing it began with.
    counted: Vec<Standing>,
}

/// So many in a row before anything is claimed ahead, and then no more than were: what fails now and then
/// would have most of it handed back.
const QUICK_IN_A_ROW: usize = 16;

impl PerDestination {
    pub fn new(context: &Context) -> Self {
        let clock = Monotonic(Arc::clone(&context.clock));
        Self::with(Arc::clone(&context.config), clock)
    }

    fn with(config: Arc<Resolved>, clock: Monotonic) -> Self {
        let workers = config.delivery.workers;
        let share = |workers| {
            let share = Share::of(workers);
            if config.destinations.is_empty() {
                share
            } else {
                share.half_for_adhoc()
            }
        };
        Self {
            known: HashMap::new(),
            // Whatever hangs, most workers are for those that are known to be well; and no more than a
            // quarter for those that are known to hang, so that new ones get a chance, also in a pool of
            // four.
            unproven: share((workers.saturating_sub(1) / 2).max((workers * 3 / 4).min(3))),
            suspect: share(workers / 4),
            // Those that were well may begin to hang all at once: an eighth of the workers is for
            // destinations that have none.
            crowd: Share::of(workers - workers / 8),
            fewest: usize::MAX,
            config,
            clock,
        }
    }

    /// The parts of the pool from which a destination of this standing takes its workers.
    fn shares_of(&mut self, standing: Standing) -> impl Iterator<Item = &mut Share> {
        let unproven = (standing != Standing::Proven).then_some(&mut self.unproven);
        let suspect = (standing == Standing::Suspect).then_some(&mut self.suspect);
        [unproven, suspect, Some(&mut self.crowd)]
            .into_iter()
            .flatten()
    }

    fn limits(&mut self, target: &Target) -> &mut Limits {
        let (config, clock) = (&self.config, &self.clock);
        self.known
            .entry(target.id)
            .or_insert_with(|| Limits::new(target, config, clock))
    }
}

impl Limits {
    fn new(target: &Target, config: &Resolved, clock: &Monotonic) -> Self {
        let policy = &target.policy;
        // Never the whole pool, whatever is configured.
        let below_pool = config.delivery.workers.saturating_sub(1).max(1);
        Self {
            standing: Standing::Fresh,
            most_at_once: (policy.concurrency as usize).min(below_pool),
            window: 1,
            rate: policy
                .rate_limit
                .map(|limit| (limit, bucket(&limit, clock))),
            is_rested: false,
            breaker: policy.breaker.map(Breaker::new),
            too_slow: policy.timeout / 2,
            quick: 0,
            counted: Vec::new(),
        }
    }

    /// After a rest the bucket is full, and everything that piled up would like to go: it starts
    /// empty instead, and the number at once from one.
    fn start_gently(&mut self, clock: &Monotonic) {
        self.is_rested = false;
        self.window = 1;
        if let Some((limit, tokens)) = &mut self.rate {
            *tokens = bucket(limit, clock);
            let all = NonZeroU32::new(limit.burst).unwrap_or(NonZeroU32::MIN);
            // A new bucket holds just so many.
            let _ = tokens.check_n(all);
        }
    }

    fn adapt(&mut self, outcome: &Outcome, took: Duration) {
        let is_slow = outcome.failure == Some(FailureKind::Timeout) || took >= self.too_slow;
        self.quick = if outcome.class == Class::Delivered && took <= QUICK && !is_slow {
            self.quick.saturating_add(1)
        } else {
            0
        };
        match (is_slow, outcome.health()) {
            (true, _) => {
                self.window = 1;
                self.standing = Standing::Suspect;
            }
            (_, Health::Failing) => {
                self.window = (self.window / 2).max(1);
                self.standing = Standing::Proven;
            }
            (_, Health::Well) => {
                self.window = (self.window + 1).min(self.most_at_once);
                self.standing = Standing::Proven;
            }
            (_, Health::Unknown) => {}
        }
    }
}

fn bucket(limit: &RateLimit, clock: &Monotonic) -> Bucket {
    RateLimiter::direct_with_clock(quota(limit), clock.clone())
}

impl Admission for PerDestination {
    fn new_round(&mut self) {
        self.unproven.new_round();
        self.suspect.new_round();
        self.crowd.new_round();
        self.fewest = usize::MAX;
    }

    fn has_room(&self, is_named: bool, is_proven: bool) -> bool {
        is_proven || !self.unproven.is_spent(is_named)
    }

    fn is_proven(&self, target: i64, is_remembered: bool) -> bool {
        let known = self.known.get(&target);
        known.map_or(is_remembered, |limits| limits.standing == Standing::Proven)
    }

    fn restore(&mut self, target: &Target, is_proven: bool) {
        let limits = self.limits(target);
        if is_proven && limits.standing == Standing::Fresh {
            limits.standing = Standing::Proven;
        }
    }

    fn admit(&mut self, target: &Target, in_flight: usize) -> Result<(), Refusal> {
        let now = self.clock.now();
        let clock = self.clock.clone();
        let (unproven, suspect, crowd) = (self.unproven, self.suspect, self.crowd);
        let limits = self.limits(target);
        if let Some(breaker) = &limits.breaker {
            breaker.admits(now, in_flight).map_err(|wait| match wait {
                Some(wait) => Refusal::For(wait),
                None => Refusal::UntilAnAttemptEnds,
            })?;
        }
        if limits.is_rested {
            limits.start_gently(&clock);
        }
        if in_flight >= limits.window.min(limits.most_at_once) {
            return Err(Refusal::UntilAnAttemptEnds);
        }
        let (standing, is_named) = (limits.standing, target.is_named());
        if (standing != Standing::Proven && unproven.is_spent(is_named))
            || (standing == Standing::Suspect && suspect.is_spent(is_named))
        {
            return Err(Refusal::NoShare);
        }
        if in_flight > 0 && crowd.is_spent(is_named) {
            self.fewest = self.fewest.min(in_flight);
            return Err(Refusal::NoShare);
        }
        if let Some((_, bucket)) = &self.limits(target).rate
            && let Err(until) = bucket.check()
        {
            return Err(Refusal::For(until.wait_time_from(now)));
        }
        for share in self.shares_of(standing) {
            share.promise(is_named);
        }
        Ok(())
    }

    fn may_wait(&mut self, target: &Target) -> usize {
        let fewest = self.fewest;
        let limits = self.limits(target);
        let is_quick = limits.quick >= QUICK_IN_A_ROW && !limits.is_rested;
        // What has a rate goes when its token says so. Who has more than others, and they want more,
        // gives way to them as its attempts end.
        let gives_way = limits.counted.len() > fewest.saturating_add(1);
        if is_quick && limits.rate.is_none() && !gives_way {
            limits.quick
        } else {
            0
        }
    }

    fn stuck(&mut self, target: &Target) {
        self.limits(target).quick = 0;
    }

    fn kept_waiting(&mut self, target: &Target) {
        self.limits(target).is_rested = true;
    }

    fn began(&mut self, target: &Target) {
        let limits = self.limits(target);
        let standing = limits.standing;
        limits.counted.push(standing);
        for share in self.shares_of(standing) {
            share.begin(target.is_named());
        }
    }

    fn ended(&mut self, target: &Target, outcome: &Outcome, took: Duration) -> Change {
        self.withdrawn(target);
        let now = self.clock.now();
        let limits = self.limits(target);
        let was_proven = limits.standing == Standing::Proven;
        limits.adapt(outcome, took);
        let is_proven = limits.standing == Standing::Proven;
        let breaker = limits
            .breaker
            .as_mut()
            .and_then(|breaker| breaker.note(outcome.health(), now));
        limits.is_rested |= breaker.is_some();
        Change {
            breaker,
            is_proven: (was_proven != is_proven).then_some(is_proven),
        }
    }

    fn withdrawn(&mut self, target: &Target) {
        // Which of those under way has ended doesn't matter: in the end all have.
        if let Some(standing) = self.limits(target).counted.pop() {
            for share in self.shares_of(standing) {
                share.end(target.is_named());
            }
        }
    }

    fn reopen(&mut self, target: &Target, probe_in: Duration, wait: Duration) -> bool {
        let now = self.clock.now();
        let limits = self.limits(target);
        if let Some(breaker) = &mut limits.breaker {
            breaker.reopen(now, probe_in, wait);
            limits.is_rested = true;
        }
        limits.breaker.is_some()
    }

    fn forget(&mut self, target: i64) {
        self.known.remove(&target);
    }
}

#[cfg(test)]
mod tests;
