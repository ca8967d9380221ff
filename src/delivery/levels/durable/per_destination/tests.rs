use super::*;
use crate::clock::{Clock, FakeClock, Timestamp};
use crate::config::Config;
use crate::model::BreakerChange;

struct Scene {
    clock: Arc<FakeClock>,
    limits: PerDestination,
    config: Arc<Resolved>,
    /// Under way, by destination.
    busy: HashMap<i64, usize>,
}

impl Scene {
    fn new(workers: usize, change: impl FnOnce(&mut Config)) -> Self {
        let clock = Arc::new(FakeClock::at(Timestamp::from_millis(0)));
        let mut config = Config::default();
        config.delivery.workers = workers;
        change(&mut config);
        let config = Arc::new(config.resolve());
        let shared: Arc<dyn Clock> = Arc::<FakeClock>::clone(&clock);
        Self {
            limits: PerDestination::with(Arc::clone(&config), Monotonic(shared)),
            clock,
            config,
            busy: HashMap::new(),
        }
    }

    fn target(&self, id: i64) -> Target {
        // Those below zero are named.
        let name = if id < 0 {
            format!("named{id}")
        } else {
            format!("http://{id}.example")
        };
        Target::new(id, &name, &self.config, true)
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

    fn end_after(&mut self, id: i64, outcome: &Outcome, took: Duration) -> Option<BreakerChange> {
        *self.busy.get_mut(&id).expect("it began") -= 1;
        self.limits.ended(&self.target(id), outcome, took).breaker
    }

    fn all_end(&mut self, id: i64, outcome: &Outcome) {
        for _ in 0..self.busy[&id] {
            self.end(id, outcome);
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
    assert_eq!(scene.limits.suspect.adhoc.busy, 1);
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
            scene.limits.unproven.adhoc.busy,
            scene.limits.suspect.adhoc.busy,
            scene.limits.crowd.adhoc.busy
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
    let wait = Err(Refusal::For(Duration::from_secs(30)));
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

#[test]
fn as_many_may_wait_as_were_quick_in_a_row() {
    let mut scene = Scene::new(64, |_| {});
    let target = scene.target(1);
    let quick = |scene: &mut Scene, times: usize| {
        for _ in 0..times {
            assert_eq!(scene.begin(1, 1), 1);
            scene.end_after(1, &Outcome::delivered(), QUICK);
        }
    };
    quick(&mut scene, QUICK_IN_A_ROW - 1);
    assert_eq!(scene.limits.may_wait(&target), 0);
    quick(&mut scene, 3);
    assert_eq!(scene.limits.may_wait(&target), QUICK_IN_A_ROW + 2);
    assert_eq!(scene.begin(1, 1), 1);
    scene.end_after(1, &Outcome::delivered(), QUICK + Duration::from_millis(1));
    assert_eq!(scene.limits.may_wait(&target), 0);
}

#[test]
fn who_has_more_than_another_gives_way_when_that_one_wants_more() {
    let mut scene = Scene::new(64, |_| {});
    let all = 1..=8;
    for id in all.clone() {
        for _ in 0..QUICK_IN_A_ROW {
            assert_eq!(scene.begin(id, 1), 1);
            scene.end(id, &Outcome::delivered());
        }
    }
    let may_wait = |scene: &mut Scene, id: i64| {
        let target = scene.target(id);
        scene.limits.may_wait(&target)
    };
    for id in 1..=7 {
        assert_eq!(scene.begin(id, 64), 8);
    }
    assert_eq!(may_wait(&mut scene, 7), QUICK_IN_A_ROW, "nobody wants more");
    assert_eq!(scene.begin(8, 64), 1, "the crowd's share is spent");
    for id in 1..=7 {
        assert_eq!(may_wait(&mut scene, id), 0);
    }
    assert_eq!(may_wait(&mut scene, 8), QUICK_IN_A_ROW);
    // As theirs end, its own begin.
    for id in 1..=4 {
        scene.end(id, &Outcome::delivered());
    }
    assert_eq!(scene.begin(8, 64), 3);
}

/// One destination is configured, so that some workers are kept for named ones.
fn with_a_named_one(workers: usize) -> Scene {
    Scene::new(workers, |config| {
        let url = "http://orders.example".parse().expect("a URL");
        let to = crate::config::Destination::new(url);
        config.destinations.insert("named-1".to_owned(), to);
    })
}

#[test]
fn hanging_origins_leave_workers_to_new_named_destinations() {
    for workers in [1, 2, 3, 4, 8, 64, 1000] {
        let mut scene = with_a_named_one(workers);
        let fresh: usize = (1..=3000).map(|id| scene.begin(id, 100)).sum();
        assert!(
            (1..=workers.div_ceil(4)).contains(&fresh),
            "{workers}: {fresh}"
        );
        assert!(!scene.limits.has_room(false, false));
        assert!(scene.limits.has_room(true, false), "{workers} workers");
        assert_eq!(scene.begin(-1, 100), 1, "{workers} workers");
        // A named one that hung, too, beside origins that are known to hang.
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
    let mut scene = with_a_named_one(64);
    let target = scene.target(7);
    assert!(!scene.limits.is_proven(7, false));
    assert!(scene.limits.is_proven(7, true), "what is remembered counts");
    scene.limits.restore(&target, true);
    assert!(scene.limits.is_proven(7, false));
    for id in 100..=3000 {
        scene.begin(id, 100);
    }
    assert_eq!(scene.begin(7, 100), 1, "it is none of the unproven");
    let changed = scene.limits.ended(&target, &timeout(), Duration::ZERO);
    assert_eq!(changed.is_proven, Some(false));
    let changed = scene
        .limits
        .ended(&target, &Outcome::delivered(), Duration::ZERO);
    assert_eq!(changed.is_proven, Some(true));
}

#[test]
fn an_attempt_that_was_not_made_leaves_an_open_breaker_as_it_is() {
    let mut scene = Scene::new(64, |_| {});
    let target = scene.target(1);
    scene
        .limits
        .reopen(&target, Duration::ZERO, Duration::from_secs(60));
    assert_eq!(scene.begin(1, 100), 1, "the probe");
    *scene.busy.get_mut(&1).expect("it began") -= 1;
    scene.limits.withdrawn(&target);
    assert_eq!(scene.begin(1, 100), 1, "the probe is due still");
}
