//! The parts of the pool that destinations share.

use super::*;

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
fn suspect_destinations_are_looked_at_only_while_their_part_has_a_worker() {
    let mut scene = Scene::new(64, |_| {});
    for id in 1..=40 {
        scene.begin(id, 1);
        scene.end(id, &timeout());
    }
    let has_room =
        |scene: &Scene, reputation| scene.limits.has_room(false, reputation, &scene.occupancy);
    assert!(has_room(&scene, Suspect));
    let suspects: usize = (1..=40).map(|id| scene.begin(id, 1)).sum();
    assert_eq!(suspects, 64 / 4);
    assert!(!has_room(&scene, Suspect));
    assert!(has_room(&scene, Fresh) && has_room(&scene, Proven));
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
fn a_destination_with_more_attempts_yields_to_one_that_is_refused_more() {
    /// Enough for a window of eight.
    const STREAK: usize = 16;
    let mut scene = Scene::new(64, |_| {});
    for id in 1..=8 {
        for _ in 0..STREAK {
            assert_eq!(scene.begin(id, 1), 1);
            scene.end(id, &Outcome::delivered());
        }
    }
    for id in 1..=7 {
        assert_eq!(scene.begin(id, 64), 8);
    }
    assert_eq!(scene.max_prefetched(7), STREAK, "none wants more");
    assert_eq!(scene.begin(8, 64), 1, "the rest is reserved");
    for id in 1..=7 {
        assert_eq!(scene.max_prefetched(id), 0);
    }
    assert_eq!(scene.max_prefetched(8), STREAK);
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
        let has_room = |named| scene.limits.has_room(named, Fresh, &scene.occupancy);
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
    let id = DestinationId::of_test(7);
    assert_eq!(scene.limits.reputation_of(id, false), Fresh);
    let remembered = scene.limits.reputation_of(id, true);
    assert_eq!(remembered, Proven, "the database remembers");
    let proven = Remembered {
        is_proven: true,
        has_backlog: false,
        open_breaker: None,
    };
    let target = scene.remembered(7, proven);
    assert_eq!(scene.limits.reputation_of(id, false), Proven);
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
