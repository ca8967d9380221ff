use super::*;
use crate::clock::{Clock as _, FakeClock, Timestamp};
use crate::config::{Config, RateLimit};
use crate::delivery::attempt::QUICK;
use crate::delivery::levels::durable::limits::MIN_STREAK;
use crate::delivery::outcome::Class;
use crate::model::{BreakerChange, FailureKind, Level};

struct Scene {
    clock: FakeClock,
    limits: PerDestination,
    config: Resolved,
    /// The reputations with which attempts in flight began, by destination.
    in_flight: HashMap<i64, Vec<Reputation>>,
    occupancy: Occupancy,
    /// Attempts of the destination with the fewest that was refused one more for a reserve.
    fewest: usize,
}

impl Scene {
    fn new(workers: usize, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.delivery.workers = workers;
        config.delivery.level = Some(Level::Durable);
        change(&mut config);
        let config = config.resolve();
        Self {
            limits: PerDestination::new(&config),
            clock: FakeClock::at(Timestamp::from_millis(0)),
            config,
            in_flight: HashMap::new(),
            occupancy: Occupancy::default(),
            fewest: usize::MAX,
        }
    }

    /// A destination that is taken up. One with a negative id is named.
    fn target(&mut self, id: i64) -> Target {
        self.remembered(id, Remembered::default())
    }

    fn remembered(&mut self, id: i64, remembered: Remembered) -> Target {
        let name = if id < 0 {
            format!("named{id}")
        } else {
            format!("http://{id}.example")
        };
        let target = Target::new(DestinationId::of_test(id), &name, &self.config, true);
        self.limits
            .take_up(&target, remembered, self.clock.monotonic());
        target
    }

    fn admit(&mut self, target: &Target, planned: usize) -> Result<(), Refusal> {
        let in_flight = self.count(target.id.number());
        let occupancy = self.occupancy;
        self.limits.admit(&Request {
            target,
            in_flight,
            planned,
            occupancy: &occupancy,
            now: self.clock.monotonic(),
        })
    }

    /// Begins as many attempts as are admitted, up to `at_most`.
    fn begin(&mut self, id: i64, at_most: usize) -> usize {
        let target = self.target(id);
        let (is_named, now) = (target.is_named(), self.clock.monotonic());
        let reputation = self.limits.reputation(&target);
        let before = self.count(id);
        self.fewest = usize::MAX;
        let mut begun = 0;
        while begun < at_most {
            match self.admit(&target, begun) {
                Ok(()) => self.occupancy.add(is_named, reputation),
                Err(Refusal::Reserved) => {
                    self.fewest = self.fewest.min(before + begun);
                    break;
                }
                Err(_) => break,
            }
            begun += 1;
        }
        if at_most > 0 {
            self.limits.resume(&target, before, now);
        }
        for _ in 0..begun {
            self.limits.spend(&target, now);
        }
        let all = self.in_flight.entry(id).or_default();
        all.extend(std::iter::repeat_n(reputation, begun));
        begun
    }

    fn count(&self, id: i64) -> usize {
        self.in_flight.get(&id).map_or(0, Vec::len)
    }

    fn suspects(&self) -> usize {
        self.occupancy.count(false, &[Suspect])
    }

    fn end(&mut self, id: i64, outcome: &Outcome) -> Option<BreakerChange> {
        self.end_after(id, outcome, Duration::from_millis(5))
    }

    fn end_after(&mut self, id: i64, outcome: &Outcome, took: Duration) -> Option<BreakerChange> {
        self.withdraw(id);
        let (target, now) = (self.target(id), self.clock.monotonic());
        self.limits.ended(&target, outcome, took, now).breaker
    }

    /// An attempt comes back without having been made.
    fn withdraw(&mut self, id: i64) {
        let began = self.in_flight.get_mut(&id).and_then(Vec::pop);
        self.occupancy.remove(id < 0, began.expect("it began"));
    }

    fn all_end(&mut self, id: i64, outcome: &Outcome) {
        for _ in 0..self.count(id) {
            self.end(id, outcome);
        }
    }

    /// Deliveries that may be prefetched for a destination that doesn't yield to others.
    fn max_prefetched(&mut self, id: i64) -> usize {
        let target = self.target(id);
        if self.count(id) > self.fewest.saturating_add(1) {
            0
        } else {
            self.limits.max_prefetched(&target)
        }
    }
}

fn timeout() -> Outcome {
    Outcome::failed(Class::Transient, FailureKind::Timeout, "slow")
}

fn refused() -> Outcome {
    Outcome::failed(Class::Transient, FailureKind::Refused, "down")
}

#[test]
fn the_window_grows_with_success_and_falls_to_one_on_a_timeout() {
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
fn a_success_after_half_the_timeout_counts_as_a_timeout() {
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
    assert_eq!(scene.suspects(), 1);
}

#[test]
fn no_destination_gets_the_whole_pool() {
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
fn hanging_destinations_leave_most_workers_to_proven_ones() {
    const WORKERS: usize = 64;
    let mut scene = Scene::new(WORKERS, |_| {});
    // A proven destination.
    scene.begin(0, 1);
    scene.all_end(0, &Outcome::delivered());
    // Two hundred fresh ones, which all hang.
    let first: usize = (1..=200).map(|id| scene.begin(id, 100)).sum();
    assert!(first < WORKERS / 2, "most are for proven destinations");
    assert_eq!(scene.begin(0, 100), 2);
    for id in 1..=200 {
        scene.all_end(id, &timeout());
    }
    for id in 201..=250 {
        scene.begin(id, 1);
        scene.all_end(id, &timeout());
    }
    // Now more are suspect than there are workers: they share a quarter.
    let again: usize = (1..=250).map(|id| scene.begin(id, 100)).sum();
    assert!(again < WORKERS / 2);
    let known: Vec<i64> = (1..=31).chain(201..=250).collect();
    assert!(known.len() > WORKERS);
    let suspects: usize = known.iter().map(|id| scene.count(*id)).sum();
    assert_eq!(suspects, WORKERS / 4);
}

#[test]
fn proven_destinations_that_hang_together_leave_workers_to_others() {
    let mut scene = Scene::new(64, |_| {});
    for id in 0..20 {
        for _ in 0..10 {
            scene.begin(id, 100);
            scene.all_end(id, &Outcome::delivered());
        }
    }
    // Eight of them could take all workers.
    let hanging: usize = (0..10).map(|id| scene.begin(id, 100)).sum();
    assert_eq!(hanging, 56 + 3, "seven have eight, three have one");
    // The others get one each, each time.
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
fn a_suspect_destination_keeps_no_fresh_one_out_of_a_small_pool() {
    for workers in 3..=8 {
        let mut scene = Scene::new(workers, |_| {});
        scene.begin(1, 100);
        scene.all_end(1, &timeout());
        assert_eq!(scene.begin(1, 100), 1);
        assert_eq!(scene.begin(2, 100), 1, "{workers} workers");
    }
}

#[test]
fn ten_failures_open_the_breaker_which_admits_one_probe() {
    let mut scene = Scene::new(64, |_| {});
    for n in 1..=10 {
        assert_eq!(scene.begin(1, 1), 1);
        let change = scene.end(1, &refused());
        assert_eq!(change.is_some(), n == 10, "{n}");
    }
    let target = scene.target(1);
    let wait = Err(Refusal::For(Duration::from_secs(30)));
    assert_eq!(scene.admit(&target, 0), wait);
    scene.clock.advance(Duration::from_secs(30));
    assert_eq!(scene.begin(1, 100), 1, "one probe");
    let closed = scene.end(1, &Outcome::delivered());
    assert_eq!(closed, Some(BreakerChange::Closed));
    // The window starts at one.
    assert_eq!(scene.begin(1, 100), 1);
}

#[test]
fn a_refused_event_is_no_failure_of_the_destination() {
    let mut scene = Scene::new(64, |_| {});
    let status = |class, code| Outcome {
        status_code: Some(code),
        ..Outcome::failed(class, FailureKind::Status, "answered")
    };
    let internal = Outcome::failed(Class::Transient, FailureKind::Internal, "no descriptors");
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
fn after_a_rest_the_rate_holds_from_the_first_second_on() {
    let mut scene = Scene::new(1000, |config| {
        config.delivery.defaults.rate_limit = Some(RateLimit {
            per_second: 10.0,
            burst: 100,
        });
        config.delivery.defaults.concurrency = Some(1000);
    });
    // After many successes its bucket is full, and its window is large.
    for _ in 0..12 {
        scene.begin(1, 1);
        scene.all_end(1, &Outcome::delivered());
    }
    scene.clock.advance(Duration::from_secs(3600));
    let target = scene.target(1);
    scene.limits.rest(&target);
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

#[test]
fn no_more_deliveries_are_prefetched_than_were_quick_in_a_row() {
    let mut scene = Scene::new(64, |_| {});
    let quick = |scene: &mut Scene, times: usize| {
        for _ in 0..times {
            assert_eq!(scene.begin(1, 1), 1);
            scene.end_after(1, &Outcome::delivered(), QUICK);
        }
    };
    quick(&mut scene, MIN_STREAK - 1);
    assert_eq!(scene.max_prefetched(1), 0);
    quick(&mut scene, 3);
    assert_eq!(scene.max_prefetched(1), MIN_STREAK + 2);
    assert_eq!(scene.begin(1, 1), 1);
    scene.end_after(1, &Outcome::delivered(), QUICK + Duration::from_millis(1));
    assert_eq!(scene.max_prefetched(1), 0);
}

#[test]
fn a_destination_with_more_attempts_yields_to_one_that_is_refused_more() {
    let mut scene = Scene::new(64, |_| {});
    for id in 1..=8 {
        for _ in 0..MIN_STREAK {
            assert_eq!(scene.begin(id, 1), 1);
            scene.end(id, &Outcome::delivered());
        }
    }
    for id in 1..=7 {
        assert_eq!(scene.begin(id, 64), 8);
    }
    assert_eq!(scene.max_prefetched(7), MIN_STREAK, "none wants more");
    assert_eq!(scene.begin(8, 64), 1, "the rest is reserved");
    for id in 1..=7 {
        assert_eq!(scene.max_prefetched(id), 0);
    }
    assert_eq!(scene.max_prefetched(8), MIN_STREAK);
    // As attempts of the others end, its own begin.
    for id in 1..=4 {
        scene.end(id, &Outcome::delivered());
    }
    assert_eq!(scene.begin(8, 64), 3);
}

/// A scene with a configured destination, so that some workers are kept for named ones.
fn with_a_named_destination(workers: usize) -> Scene {
    Scene::new(workers, |config| {
        let url = "http://orders.example".parse().expect("a URL");
        let to = crate::config::Destination::new(url);
        config.destinations.insert("named-1".to_owned(), to);
    })
}

#[test]
fn hanging_origins_leave_workers_to_fresh_named_destinations() {
    for workers in [1, 2, 3, 4, 8, 64, 1000] {
        let mut scene = with_a_named_destination(workers);
        let fresh: usize = (1..=3000).map(|id| scene.begin(id, 100)).sum();
        assert!(
            (1..=workers.div_ceil(4)).contains(&fresh),
            "{workers}: {fresh}"
        );
        let has_room = |named| scene.limits.has_room(named, false, &scene.occupancy);
        assert!(!has_room(false));
        assert!(has_room(true), "{workers} workers");
        assert_eq!(scene.begin(-1, 100), 1, "{workers} workers");
        // A suspect named destination beside suspect origins.
        scene.end(-1, &timeout());
        for id in 1..=3000 {
            scene.all_end(id, &timeout());
        }
        let suspects: usize = (1..=3000).map(|id| scene.begin(id, 100)).sum();
        assert!(suspects >= 1 && suspects <= workers.div_ceil(4));
        assert_eq!(scene.begin(-1, 100), 1, "{workers} workers");
    }
}

#[test]
fn a_destination_that_answered_before_a_restart_is_proven_after_it() {
    let mut scene = with_a_named_destination(64);
    assert!(!scene.limits.is_proven(DestinationId::of_test(7), false));
    assert!(
        scene.limits.is_proven(DestinationId::of_test(7), true),
        "the database remembers"
    );
    let proven = Remembered {
        is_proven: true,
        open_breaker: None,
    };
    let target = scene.remembered(7, proven);
    assert!(scene.limits.is_proven(DestinationId::of_test(7), false));
    for id in 100..=3000 {
        scene.begin(id, 100);
    }
    assert_eq!(scene.begin(7, 100), 1, "it isn't among the unproven");
    let mut end = |outcome: &Outcome| {
        let took = Duration::ZERO;
        scene.limits.ended(&target, outcome, took, Duration::ZERO)
    };
    assert_eq!(end(&timeout()).is_proven, Some(false));
    assert_eq!(end(&Outcome::delivered()).is_proven, Some(true));
}

#[test]
fn an_attempt_that_was_not_made_leaves_an_open_breaker_as_it_is() {
    let mut scene = Scene::new(64, |_| {});
    let open = Remembered {
        is_proven: false,
        open_breaker: Some((Duration::ZERO, Duration::from_secs(60))),
    };
    scene.remembered(1, open);
    assert_eq!(scene.begin(1, 100), 1, "the probe");
    scene.withdraw(1);
    assert_eq!(scene.begin(1, 100), 1, "the probe is due still");
}

#[test]
fn asking_for_an_attempt_spends_no_token() {
    let mut scene = Scene::new(64, |config| {
        config.delivery.defaults.rate_limit = Some(RateLimit {
            per_second: 0.1,
            burst: 2,
        });
    });
    let target = scene.target(1);
    for _ in 0..1_000 {
        assert_eq!(scene.admit(&target, 0), Ok(()));
    }
    assert_eq!(scene.begin(1, 1), 1);
    scene.all_end(1, &Outcome::delivered());
    let wait = Err(Refusal::For(Duration::from_secs(10)));
    assert_eq!(scene.admit(&target, 1), wait, "one of two is spent");
    assert_eq!(scene.begin(1, 1), 1);
    scene.all_end(1, &Outcome::delivered());
    assert_eq!(scene.admit(&target, 0), wait);
}
