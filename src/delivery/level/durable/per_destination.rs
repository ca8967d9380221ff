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

use super::super::super::Context;
use super::super::super::outcome::{Class, Outcome};
use super::super::super::target::Target;
use super::super::Admission;
use crate::config::{Config, RateLimit};
use crate::limiter::{Monotonic, quota};
use crate::model::{Breaker, BreakerChange, Failure, Health};

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

pub(in super::super) struct PerDestination {
    config: Arc<Config>,
    clock: Monotonic,
    known: HashMap<i64, Limits>,
    /// Workers that are busy with, or promised to, destinations that aren't proven; and with suspect
    /// ones among them.
    unproven: Share,
    suspect: Share,
    /// All workers that are busy or promised; from its end on a destination gets but one.
    crowd: Share,
}

/// A part of the pool.
#[derive(Clone, Copy, Debug)]
struct Share {
    most: usize,
    busy: usize,
    promised: usize,
}

impl Share {
    fn of(workers: usize) -> Self {
        Self {
            most: workers.max(1),
            busy: 0,
            promised: 0,
        }
    }

    fn is_spent(&self) -> bool {
        self.busy + self.promised >= self.most
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
    quick: u32,
    /// What is under way counts by the standing it began with.
    counted: Vec<Standing>,
}

/// What may be claimed ahead for a destination is attempted this soon, mostly, and so is still let go
/// when the destination is paused meanwhile.
const QUICK: Duration = Duration::from_millis(100);
/// So many in a row before anything is claimed ahead: what fails now and then would have most of it
/// handed back.
const QUICK_IN_A_ROW: u32 = 16;

impl PerDestination {
    pub fn new(context: &Context) -> Self {
        let clock = Monotonic(Arc::clone(&context.clock));
        Self::with(Arc::clone(&context.config), clock)
    }

    fn with(config: Arc<Config>, clock: Monotonic) -> Self {
        let workers = config.delivery.workers;
        Self {
            config,
            clock,
            known: HashMap::new(),
            // Whatever hangs, most workers are for those that are known to be well; and no more than a
            // quarter for those that are known to hang, so that new ones get a chance, also in a pool of
            // four.
            unproven: Share::of((workers.saturating_sub(1) / 2).max((workers * 3 / 4).min(3))),
            suspect: Share::of(workers / 4),
            // Those that were well may begin to hang all at once: an eighth of the workers is for
            // destinations that have none.
            crowd: Share::of(workers - workers / 8),
        }
    }

    fn limits(&mut self, target: &Target) -> &mut Limits {
        let (config, clock) = (&self.config, &self.clock);
        self.known
            .entry(target.id)
            .or_insert_with(|| Limits::new(target, config, clock))
    }
}

impl Limits {
    fn new(target: &Target, config: &Config, clock: &Monotonic) -> Self {
        let settings = target.settings.as_ref();
        let defaults = &config.delivery.defaults;
        let rate: Option<RateLimit> = settings
            .and_then(|settings| settings.rate_limit)
            .or(defaults.rate_limit);
        let at_once = settings
            .and_then(|settings| settings.concurrency)
            .or(defaults.concurrency)
            .unwrap_or(Config::CONCURRENCY);
        // Never the whole pool, whatever is configured.
        let below_pool = config.delivery.workers.saturating_sub(1).max(1);
        let timeout = settings
            .and_then(|settings| settings.timeout)
            .unwrap_or(config.delivery.timeout);
        Self {
            standing: Standing::Fresh,
            most_at_once: (at_once as usize).min(below_pool),
            window: 1,
            rate: rate.map(|limit| (limit, bucket(&limit, clock))),
            is_rested: false,
            breaker: config.breaker(&target.name).map(Breaker::new),
            too_slow: timeout / 2,
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
        let is_slow = outcome.failure == Some(Failure::Timeout) || took >= self.too_slow;
        self.quick = if outcome.class == Class::Delivered && took <= QUICK {
            self.quick.saturating_add(1)
        } else {
            0
        };
        match (is_slow, health(outcome)) {
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

/// What an attempt says about the destination's health. One that refuses this one event is well; one
/// that asks for patience is neither.
fn health(outcome: &Outcome) -> Health {
    match (outcome.class, outcome.failure) {
        (Class::Delivered, _) | (Class::Permanent, Some(Failure::Status)) => Health::Well,
        (_, Some(Failure::Internal)) | (Class::Permanent, _) => Health::Unknown,
        (Class::Transient, _) if outcome.status_code == Some(429) => Health::Unknown,
        (Class::Transient, _) => Health::Failing,
    }
}

fn bucket(limit: &RateLimit, clock: &Monotonic) -> Bucket {
    RateLimiter::direct_with_clock(quota(limit), clock.clone())
}

impl Admission for PerDestination {
    fn new_round(&mut self) {
        self.unproven.promised = 0;
        self.suspect.promised = 0;
        self.crowd.promised = 0;
    }

    fn admit(&mut self, target: &Target, in_flight: usize) -> Result<(), Option<Duration>> {
        let now = self.clock.now();
        let clock = self.clock.clone();
        let (unproven, suspect, crowd) = (self.unproven, self.suspect, self.crowd);
        let limits = self.limits(target);
        if let Some(breaker) = &limits.breaker {
            breaker.admits(now, in_flight)?;
        }
        if limits.is_rested {
            limits.start_gently(&clock);
        }
        if in_flight >= limits.window.min(limits.most_at_once) {
            return Err(None);
        }
        let standing = limits.standing;
        if (standing != Standing::Proven && unproven.is_spent())
            || (standing == Standing::Suspect && suspect.is_spent())
            || (in_flight > 0 && crowd.is_spent())
        {
            return Err(None);
        }
        if let Some((_, bucket)) = &limits.rate
            && let Err(until) = bucket.check()
        {
            return Err(Some(until.wait_time_from(now)));
        }
        self.unproven.promised += usize::from(standing != Standing::Proven);
        self.suspect.promised += usize::from(standing == Standing::Suspect);
        self.crowd.promised += 1;
        Ok(())
    }

    fn may_wait(&mut self, target: &Target) -> bool {
        let limits = self.limits(target);
        // What has a rate goes when its token says so.
        limits.quick >= QUICK_IN_A_ROW && limits.rate.is_none() && !limits.is_rested
    }

    fn kept_waiting(&mut self, target: &Target) {
        self.limits(target).is_rested = true;
    }

    fn began(&mut self, target: &Target) {
        let limits = self.limits(target);
        let standing = limits.standing;
        limits.counted.push(standing);
        self.unproven.busy += usize::from(standing != Standing::Proven);
        self.suspect.busy += usize::from(standing == Standing::Suspect);
        self.crowd.busy += 1;
    }

    fn ended(
        &mut self,
        target: &Target,
        outcome: &Outcome,
        took: Duration,
    ) -> Option<BreakerChange> {
        let now = self.clock.now();
        let limits = self.limits(target);
        // Which of those under way has ended doesn't matter: in the end all have.
        let began_as = limits.counted.pop();
        limits.adapt(outcome, took);
        let change = limits
            .breaker
            .as_mut()
            .and_then(|breaker| breaker.note(health(outcome), now));
        limits.is_rested |= change.is_some();
        if let Some(standing) = began_as {
            self.unproven.busy -= usize::from(standing != Standing::Proven);
            self.suspect.busy -= usize::from(standing == Standing::Suspect);
            self.crowd.busy -= 1;
        }
        change
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
mod tests {
    use super::*;
    use crate::clock::{Clock, FakeClock, Timestamp};
    use crate::model::RetryPlan;

    struct Scene {
        clock: Arc<FakeClock>,
        limits: PerDestination,
        config: Arc<Config>,
        /// Under way, by destination.
        busy: HashMap<i64, usize>,
    }

    impl Scene {
        fn new(workers: usize, change: impl FnOnce(&mut Config)) -> Self {
            let clock = Arc::new(FakeClock::at(Timestamp::from_millis(0)));
            let mut config = Config::default();
            config.delivery.workers = workers;
            change(&mut config);
            let config = Arc::new(config);
            let shared: Arc<dyn Clock> = Arc::<FakeClock>::clone(&clock);
            Self {
                limits: PerDestination::with(Arc::clone(&config), Monotonic(shared)),
                clock,
                config,
                busy: HashMap::new(),
            }
        }

        fn target(&self, id: i64) -> Target {
            let name = format!("http://{id}.example");
            Target::new(id, &name, &self.config, RetryPlan::Schedule, true)
        }

        /// Begins as many as may, up to `most`.
        fn begin(&mut self, id: i64, most: usize) -> usize {
            let target = self.target(id);
            self.limits.new_round();
            let busy = self.busy.entry(id).or_default();
            let mut begun = 0;
            while begun < most && self.limits.admit(&target, *busy + begun).is_ok() {
                begun += 1;
            }
            *busy += begun;
            for _ in 0..begun {
                self.limits.began(&target);
            }
            begun
        }

        fn end(&mut self, id: i64, outcome: &Outcome) -> Option<BreakerChange> {
            self.end_after(id, outcome, Duration::from_millis(5))
        }

        fn end_after(
            &mut self,
            id: i64,
            outcome: &Outcome,
            took: Duration,
        ) -> Option<BreakerChange> {
            *self.busy.get_mut(&id).expect("it began") -= 1;
            self.limits.ended(&self.target(id), outcome, took)
        }

        fn all_end(&mut self, id: i64, outcome: &Outcome) {
            for _ in 0..self.busy[&id] {
                self.end(id, outcome);
            }
        }
    }

    fn timeout() -> Outcome {
        Outcome::failed(Class::Transient, Failure::Timeout, "slow")
    }

    fn refused() -> Outcome {
        Outcome::failed(Class::Transient, Failure::Refused, "down")
    }

    #[test]
    fn the_number_at_once_grows_with_success_and_falls_to_one_on_a_timeout() {
        let mut scene = Scene::new(64, |_| {});
        for expected in [1, 2, 4, 8, 8] {
            assert_eq!(scene.begin(1, 100), expected);
            scene.all_end(1, &Outcome::delivered());
        }
        assert_eq!(scene.begin(1, 100), 8);
        scene.end(1, &timeout());
        assert_eq!(scene.begin(1, 100), 0, "seven are still under way");
        scene.all_end(1, &timeout());
        assert_eq!(scene.begin(1, 100), 1);
        scene.all_end(1, &Outcome::delivered());
        assert_eq!(scene.begin(1, 100), 2, "and grows back");
        scene.all_end(1, &refused());
        assert_eq!(scene.begin(1, 100), 1);
    }

    #[test]
    fn who_answers_only_just_in_time_is_no_better_than_who_times_out() {
        let mut scene = Scene::new(64, |_| {});
        for _ in 0..10 {
            scene.begin(1, 100);
            scene.all_end(1, &Outcome::delivered());
        }
        assert_eq!(scene.begin(1, 100), 8);
        for _ in 0..8 {
            scene.end_after(1, &Outcome::delivered(), Duration::from_secs(14));
        }
        assert_eq!(scene.begin(1, 100), 1);
        assert_eq!(scene.limits.suspect.busy, 1);
    }

    #[test]
    fn nobody_may_have_the_whole_pool() {
        let mut scene = Scene::new(4, |config| {
            config.delivery.defaults.concurrency = Some(100);
        });
        for _ in 0..10 {
            scene.begin(1, 100);
            scene.all_end(1, &Outcome::delivered());
        }
        assert_eq!(scene.begin(1, 100), 3);
    }

    #[test]
    fn however_many_hang_most_workers_are_left() {
        const WORKERS: usize = 64;
        let mut scene = Scene::new(WORKERS, |_| {});
        // One that is known to be well.
        scene.begin(0, 1);
        scene.all_end(0, &Outcome::delivered());
        // Two hundred that nobody knows, and which all hang.
        let first: usize = (1..=200).map(|id| scene.begin(id, 100)).sum();
        assert!(first < WORKERS / 2, "most are for those that are well");
        assert_eq!(scene.begin(0, 100), 2);
        for id in 1..=200 {
            scene.all_end(id, &timeout());
        }
        for id in 201..=250 {
            scene.begin(id, 1);
            scene.all_end(id, &timeout());
        }
        // Now many are known to hang: those share a quarter.
        let again: usize = (1..=250).map(|id| scene.begin(id, 100)).sum();
        assert!(again < WORKERS / 2);
        let known: Vec<i64> = (1..=31).chain(201..=250).collect();
        assert!(known.len() > WORKERS);
        let suspects: usize = known.iter().map(|id| scene.busy[id]).sum();
        assert_eq!(suspects, WORKERS / 4);
    }

    #[test]
    fn those_that_were_well_and_hang_together_leave_some_workers_to_others() {
        let mut scene = Scene::new(64, |_| {});
        for id in 0..20 {
            for _ in 0..10 {
                scene.begin(id, 100);
                scene.all_end(id, &Outcome::delivered());
            }
        }
        // Eight of them could take all.
        let hanging: usize = (0..10).map(|id| scene.begin(id, 100)).sum();
        assert_eq!(hanging, 56 + 3, "seven have eight, three have one");
        // The others get one each, time and again.
        for _ in 0..10 {
            for id in 10..15 {
                assert_eq!(scene.begin(id, 100), 1);
            }
            for id in 10..15 {
                scene.all_end(id, &Outcome::delivered());
            }
        }
    }

    #[test]
    fn a_hanging_one_keeps_no_new_one_out_of_a_small_pool() {
        for workers in 3..=8 {
            let mut scene = Scene::new(workers, |_| {});
            scene.begin(1, 100);
            scene.all_end(1, &timeout());
            assert_eq!(scene.begin(1, 100), 1);
            assert_eq!(scene.begin(2, 100), 1, "{workers} workers");
        }
    }

    #[test]
    fn nothing_is_counted_twice_or_for_ever() {
        let mut scene = Scene::new(8, |_| {});
        for round in 0..100 {
            let id = round % 7;
            scene.begin(id, 3);
            if round % 3 == 0 {
                scene.all_end(id, &timeout());
            } else if round % 3 == 1 {
                scene.all_end(id, &Outcome::delivered());
            }
        }
        for id in 0..7 {
            scene.all_end(id, &Outcome::delivered());
        }
        assert_eq!(
            (
                scene.limits.unproven.busy,
                scene.limits.suspect.busy,
                scene.limits.crowd.busy
            ),
            (0, 0, 0)
        );
    }

    #[test]
    fn ten_failures_open_the_breaker_and_waiting_costs_nothing() {
        let mut scene = Scene::new(64, |_| {});
        for n in 1..=10 {
            assert_eq!(scene.begin(1, 1), 1);
            let change = scene.end(1, &refused());
            assert_eq!(change.is_some(), n == 10, "{n}");
        }
        let target = scene.target(1);
        let wait = Err(Some(Duration::from_secs(30)));
        assert_eq!(scene.limits.admit(&target, 0), wait);
        scene.clock.advance(Duration::from_secs(30));
        assert_eq!(scene.begin(1, 100), 1, "one probe");
        let closed = scene.end(1, &Outcome::delivered());
        assert_eq!(closed, Some(BreakerChange::Closed));
        // Gently at first.
        assert_eq!(scene.begin(1, 100), 1);
    }

    #[test]
    fn a_refusal_of_one_event_is_no_failure_of_the_destination() {
        let mut scene = Scene::new(64, |_| {});
        let status = |class, code| Outcome {
            status_code: Some(code),
            ..Outcome::failed(class, Failure::Status, "answered")
        };
        let internal = Outcome::failed(Class::Transient, Failure::Internal, "no descriptors");
        for outcome in [
            status(Class::Permanent, 422),
            status(Class::Transient, 429),
            internal,
        ] {
            for _ in 0..50 {
                scene.begin(1, 1);
                assert_eq!(scene.end(1, &outcome), None, "{outcome:?}");
            }
        }
        for _ in 0..9 {
            scene.begin(1, 1);
            assert_eq!(scene.end(1, &status(Class::Transient, 404)), None);
        }
    }

    #[test]
    fn after_a_rest_the_rate_is_kept_from_the_first_second_on() {
        let mut scene = Scene::new(1000, |config| {
            config.delivery.defaults.rate_limit = Some(RateLimit {
                per_second: 10.0,
                burst: 100,
            });
            config.delivery.defaults.concurrency = Some(1000);
        });
        // It has been well for long: its bucket is full, and it may have many at once.
        for _ in 0..12 {
            scene.begin(1, 1);
            scene.all_end(1, &Outcome::delivered());
        }
        scene.clock.advance(Duration::from_secs(3600));
        let target = scene.target(1);
        scene.limits.kept_waiting(&target);
        let mut sent = Vec::new();
        for _ in 0..20 {
            let mut in_second = 0;
            for _ in 0..100 {
                in_second += scene.begin(1, 1000);
                scene.all_end(1, &Outcome::delivered());
                scene.clock.advance(Duration::from_millis(10));
            }
            sent.push(in_second);
        }
        assert!(sent.iter().all(|&count| count <= 11), "{sent:?}");
        assert!(sent[2..].iter().all(|&count| count >= 9), "{sent:?}");
    }
}
