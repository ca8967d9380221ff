use proptest::prelude::*;

use super::*;
use crate::model::FailureKind;
use crate::ops::rollup_counters::{AttemptResult, EndedAttempt, ErrorClass, RollupCounters};

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000).plus(Duration::from_secs(seconds))
}

/// A destination, and what was told of it.
struct Scene {
    counters: RollupCounters,
    watch: HealthWatch,
    condition: (Condition, Timestamp),
    is_open: bool,
    told: Vec<(u64, Condition)>,
}

impl Scene {
    fn new() -> Self {
        let counters = RollupCounters::new();
        counters.declare([].into_iter(), ["d"].into_iter());
        Self {
            counters,
            watch: HealthWatch::default(),
            condition: (Condition::Well, at(0)),
            is_open: false,
            told: Vec::new(),
        }
    }

    fn attempt(&self, seconds: u64, is_success: bool) {
        let error = ErrorClass {
            kind: FailureKind::Timeout,
            status_code: None,
        };
        self.counters.attempt(EndedAttempt {
            destination: Some("d"),
            result: if is_success {
                AttemptResult::Delivered(Duration::ZERO)
            } else {
                AttemptResult::Failed {
                    is_dead: false,
                    error,
                }
            },
            at: at(seconds),
        });
    }

    fn look(&mut self, seconds: u64) {
        let attempts = self.counters.health()["d"].clone();
        let (now, is_open) = (at(seconds), self.is_open);
        if let Some(next) = self.watch.look(self.condition, is_open, &attempts, now) {
            self.condition = (next, now);
            self.told.push((seconds, next));
        }
    }

    /// A process that was killed: memory is gone, the database is not.
    fn restart(&mut self) {
        self.watch = HealthWatch::default();
        self.counters = Self::new().counters;
    }
}

#[test]
fn an_open_breaker_is_told_at_once_and_recovery_after_two_minutes() {
    let mut scene = Scene::new();
    scene.is_open = true;
    scene.look(1);
    scene.look(2);
    scene.is_open = false;
    scene.look(100);
    scene.look(219);
    // It opens again within the two minutes: the destination flaps, and is failing all the time.
    scene.is_open = true;
    scene.look(219);
    scene.is_open = false;
    scene.look(300);
    scene.look(419);
    scene.look(420);
    scene.look(421);
    assert_eq!(scene.told, [(1, Condition::Open), (420, Condition::Well)]);
}

#[test]
fn five_minutes_of_failures_without_a_success_are_told_where_there_is_no_breaker() {
    let mut scene = Scene::new();
    for minute in 0..5 {
        scene.attempt(minute * 60, false);
        scene.look(minute * 60);
    }
    // A success begins the time anew.
    scene.attempt(299, true);
    scene.attempt(300, false);
    scene.look(300);
    scene.attempt(599, false);
    scene.look(10_000);
    assert_eq!(scene.told, [], "nothing has failed for five minutes");
    scene.attempt(10_001, false);
    scene.look(10_001);
    // Time alone doesn't heal it.
    scene.look(20_000);
    scene.attempt(20_001, true);
    scene.look(20_001);
    // A single failure is no relapse.
    scene.attempt(20_050, false);
    scene.look(20_121);
    let told = [(10_001, Condition::Failing), (20_121, Condition::Well)];
    assert_eq!(scene.told, told);
}

#[test]
fn a_restart_tells_nothing_again_and_forgets_no_recovery() {
    let mut scene = Scene::new();
    scene.is_open = true;
    scene.look(1);
    scene.restart();
    scene.look(2);
    scene.is_open = false;
    scene.look(3);
    scene.restart();
    scene.look(4);
    scene.look(124);
    assert_eq!(scene.told, [(1, Condition::Open), (124, Condition::Well)]);
    // Failing without a breaker: a restart is no success.
    let mut scene = Scene::new();
    scene.attempt(0, false);
    scene.attempt(300, false);
    scene.look(300);
    scene.restart();
    scene.look(301);
    scene.look(10_000);
    assert_eq!(scene.told, [(300, Condition::Failing)]);
}

proptest! {
    /// Failing and recovered alternate, whatever happens, and no two changes are closer than the
    /// time of a recovery.
    #[test]
    fn failing_and_recovered_alternate(
        steps in prop::collection::vec((0..100u64, 0..5u8), 0..400)
    ) {
        let mut scene = Scene::new();
        let mut now = 0;
        for (pause, step) in steps {
            now += pause;
            match step {
                0 => scene.attempt(now, true),
                1 => scene.attempt(now, false),
                2 => scene.is_open = true,
                3 => scene.is_open = false,
                _ => scene.restart(),
            }
            scene.look(now);
        }
        for pair in scene.told.windows(2) {
            let is_well = |(_, condition): (u64, Condition)| condition == Condition::Well;
            prop_assert_ne!(is_well(pair[0]), is_well(pair[1]), "{:?}", pair);
            if is_well(pair[1]) {
                prop_assert!(pair[1].0 - pair[0].0 >= 120, "{:?}", pair);
            }
        }
        if let Some(first) = scene.told.first() {
            prop_assert_ne!(first.1, Condition::Well);
        }
    }
}
