//! One destination's window, breaker and rate.

use super::*;

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
fn an_attempt_costs_a_round_for_each_20_ms_and_16_at_most() {
    let mut scene = Scene::new(64, |_| {});
    let target = scene.target(1);
    assert_eq!(scene.limits.cost(&target), 1, "nothing is known");
    for (millis, cost) in [
        (0, 1),
        (19, 1),
        (20, 2),
        (299, 15),
        (300, 16),
        (60_000, 16),
        (5, 1),
    ] {
        scene.begin(1, 1);
        scene.end_after(1, &Outcome::delivered(), Duration::from_millis(millis));
        assert_eq!(scene.limits.cost(&target), cost, "{millis} ms");
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
    quick(&mut scene, 2);
    assert_eq!(scene.max_prefetched(1), MIN_STREAK + 1);
    assert_eq!(scene.begin(1, 1), 1);
    scene.end_after(1, &refuses_one_event(), QUICK);
    assert_eq!(scene.max_prefetched(1), MIN_STREAK + 2);
    for (outcome, took) in [
        (Outcome::delivered(), QUICK + Duration::from_millis(1)),
        (refuses_one_event(), QUICK + Duration::from_millis(1)),
        (refused(), Duration::ZERO),
    ] {
        quick(&mut scene, MIN_STREAK);
        assert!(scene.max_prefetched(1) > 0);
        assert_eq!(scene.begin(1, 1), 1);
        scene.end_after(1, &outcome, took);
        assert_eq!(scene.max_prefetched(1), 0);
    }
}

#[test]
fn an_attempt_that_was_not_made_leaves_an_open_breaker_as_it_is() {
    let mut scene = Scene::new(64, |_| {});
    let open = Remembered {
        is_proven: false,
        has_backlog: false,
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

#[test]
fn a_rest_outlasts_a_move_to_another_server() {
    let mut scene = Scene::new(64, |config| {
        config.delivery.defaults.rate_limit = Some(RateLimit {
            per_second: 1.0,
            burst: 50,
        });
    });
    let target = scene.target(1);
    scene.limits.rest(&target);
    let now = scene.clock.monotonic();
    scene.limits.replace(&target, Replaced::Moved, now);
    let mut begun = 0;
    for _ in 0..100 {
        begun += scene.begin(1, 100);
        scene.all_end(1, &Outcome::delivered());
    }
    assert_eq!(begun, 0, "the bucket starts empty");
    scene.clock.advance(Duration::from_secs(1));
    assert_eq!(scene.begin(1, 100), 1);
}

#[test]
fn limits_have_something_to_lose_until_tokens_and_failures_are_over() {
    let mut scene = Scene::new(64, |config| {
        config.delivery.defaults.rate_limit = Some(RateLimit {
            per_second: 0.1,
            burst: 2,
        });
    });
    let id = DestinationId::of_test(1);
    let has_nothing = |scene: &Scene| {
        let now = scene.clock.monotonic();
        scene.limits.has_nothing_to_lose(id, now)
    };
    assert!(has_nothing(&scene), "it isn't known");
    let target = scene.target(1);
    assert!(has_nothing(&scene));
    scene.begin(1, 1);
    scene.end(1, &Outcome::delivered());
    assert!(!has_nothing(&scene), "a token is spent");
    scene.clock.advance(Duration::from_secs(10));
    assert!(has_nothing(&scene));
    scene.begin(1, 1);
    scene.end(1, &refused());
    scene.clock.advance(Duration::from_secs(10));
    assert!(!has_nothing(&scene), "a failure in a row");
    scene.begin(1, 1);
    scene.end(1, &Outcome::delivered());
    scene.clock.advance(Duration::from_secs(10));
    assert!(!has_nothing(&scene), "a failure in the breaker's window");
    scene.clock.advance(Duration::from_secs(300));
    assert!(has_nothing(&scene));
    scene.limits.rest(&target);
    assert!(!has_nothing(&scene), "a backlog was kept back");
    scene.limits.resume(&target, 0, scene.clock.monotonic());
    scene.clock.advance(Duration::from_secs(20));
    assert!(has_nothing(&scene));
    scene.begin(1, 1);
    scene.end(1, &timeout());
    scene.clock.advance(Duration::from_secs(3_600));
    assert!(!has_nothing(&scene), "it is slow");
}

#[test]
fn of_a_backlog_that_waited_at_the_start_one_goes_at_once_and_the_others_at_the_rate() {
    for burst in [1, 50] {
        let mut scene = Scene::new(64, |config| {
            config.delivery.defaults.rate_limit = Some(RateLimit {
                per_second: 0.1,
                burst,
            });
        });
        let waiting = Remembered {
            has_backlog: true,
            ..Remembered::default()
        };
        scene.remembered(1, waiting);
        assert_eq!(scene.begin(1, 100), 1);
        for _ in 0..5 {
            scene.all_end(1, &Outcome::delivered());
            assert_eq!(scene.begin(1, 100), 0);
            scene.clock.advance(Duration::from_secs(10));
            assert_eq!(scene.begin(1, 100), 1);
        }
    }
}
