//! The maintenance thread's worker: retention and bulk operations as the configuration says.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, FakeClock, Timestamp};
use crate::config::{Config, Live};
use crate::maintenance::{LONGEST_PAUSE, Worker};
use crate::model::{DeliveryState, Level};
use crate::ops::notices::Notices;
use crate::store::conformance::NewStore;
use crate::store::conformance::scene::{DAY, START, Scene, event, event_of, event_to};
use crate::store::types::{Accepted, BulkAction, Duplicate};

/// A worker on the scene's store.
fn worker(scene: &Scene, change: impl FnOnce(&mut Config)) -> Worker {
    let mut config = Config::default();
    config.delivery.level = Some(Level::Off);
    change(&mut config);
    let clock: Arc<dyn Clock> = Arc::<FakeClock>::clone(&scene.clock);
    Worker::new(
        scene.store.clone(),
        Live::from(config.resolve()),
        clock,
        Arc::clone(&scene.metrics),
        Notices::default(),
    )
}

/// Makes a whole sweep of retention.
fn sweep(scene: &Scene, worker: &mut Worker) {
    scene.clock.advance(LONGEST_PAUSE);
    worker.run_once().expect("a step");
    while worker.is_sweeping() {
        worker.run_once().expect("a step");
    }
}

pub fn retention_follows_the_configured_times(new: NewStore) {
    let mut scene = Scene::new(new);
    let mut worker = worker(&scene, |_| {});
    scene.accept(event_to(&["http://delivered", "named"]));
    scene.deliver_due();
    scene.accept(event("named"));
    scene.dead_letter_due("answered 410 Gone");
    scene.accept(event("named"));
    scene.clock.advance(DAY * 6);
    sweep(&scene, &mut worker);
    assert_eq!(scene.size().0, 3, "none has ended long enough ago");
    scene.clock.advance(DAY);
    sweep(&scene, &mut worker);
    assert_eq!(scene.size().0, 2, "delivered ones are kept for seven days");
    assert!(!scene.knows("http://delivered") && scene.knows("named"));
    scene.clock.advance(DAY * 23);
    sweep(&scene, &mut worker);
    assert_eq!(scene.size().0, 1, "dead letters are kept for thirty days");
    scene.clock.advance(DAY * 3650);
    sweep(&scene, &mut worker);
    assert_eq!(scene.list(None)[0].state, DeliveryState::Queued);
    scene.stop();
}

/// Otherwise the next sweep has more to delete and takes longer, and so on.
pub fn a_sweep_that_deletes_for_long_is_followed_by_the_usual_pause(new: NewStore) {
    let mut scene = Scene::new(new);
    let kept = Duration::from_secs(1);
    let mut worker = worker(&scene, |config| config.retention.delivered = Some(kept));
    scene.accept_all((0..300).map(|_| event("d")));
    scene.deliver_due();
    scene.clock.advance(LONGEST_PAUSE);
    worker.run_once().expect("a step");
    let mut steps = 0;
    while worker.is_sweeping() {
        scene.clock.advance(Duration::from_secs(60));
        worker.run_once().expect("a step");
        steps += 1;
    }
    assert!(steps > 4, "{steps} steps");
    assert_eq!(scene.size(), (0, 0));
    scene.clock.advance(Duration::from_secs(59));
    worker.run_once().expect("a step");
    assert!(!worker.is_sweeping());
    scene.clock.advance(Duration::from_secs(1));
    worker.run_once().expect("a step");
    assert!(worker.is_sweeping());
    scene.stop();
}

pub fn without_a_retention_time_nothing_is_deleted(new: NewStore) {
    let mut scene = Scene::new(new);
    let mut worker = worker(&scene, |config| {
        config.retention.delivered = None;
        config.retention.dead_lettered = None;
    });
    scene.accept(event("d"));
    scene.deliver_due();
    scene.accept(event("d"));
    scene.dead_letter_due("e");
    scene.clock.advance(DAY * 3650);
    sweep(&scene, &mut worker);
    assert_eq!(scene.size(), (2, 2));
    scene.stop();
}

pub fn a_clock_that_jumps_deletes_nothing(new: NewStore) {
    const KEYS: usize = 100;
    let mut scene = Scene::new(new);
    // A sweep lets an hour pass.
    let mut worker = worker(&scene, |config| config.api.idempotency_window = DAY);
    let keyed = |key: usize| {
        let mut keyed = event_of("s", &key.to_string(), &["d"]);
        keyed.window = DAY;
        keyed
    };
    let ids = scene.accept_all((0..KEYS).map(keyed));
    scene.deliver_due();
    for wall in [START.plus(DAY * 3650), Timestamp::from_millis(0)] {
        scene.clock.set_wall(wall);
        sweep(&scene, &mut worker);
        assert_eq!(scene.size(), (KEYS, KEYS));
        for (key, id) in ids.iter().enumerate() {
            let again = scene.try_accept(keyed(key)).expect("an answer");
            let duplicate = Accepted::Duplicate(Duplicate::of_same_body(*id));
            assert_eq!(again, duplicate);
        }
    }
    scene.stop();
}

/// Accepts this many events, and dead-letters their deliveries.
fn dead_letters(scene: &mut Scene, count: usize, destination: &str) {
    scene.accept_all((0..count).map(|_| event(destination)));
    scene.dead_letter_due("answered 500");
}

pub fn a_replay_waits_for_deliveries_only_if_a_level_delivers(new: NewStore) {
    let mut scene = Scene::new(new);
    // No section has to name an ad hoc origin.
    dead_letters(&mut scene, 500, "http://d");
    let ids = scene.create_bulk(BulkAction::Replay, |_| {});
    if crate::COMPILED_LEVEL != Level::Off {
        let mut paced = worker(&scene, |config| {
            config.delivery.level = Some(crate::COMPILED_LEVEL);
        });
        for _ in 0..20 {
            paced.run_once().expect("a step");
        }
        // None is claimed, so no more than these are queued before new events.
        assert_eq!(scene.bulk(&ids), [(200, 500, false, false)]);
        scene.deliver_due();
        paced.run_once().expect("a step");
        assert_eq!(scene.bulk(&ids), [(300, 500, false, false)]);
    }
    let mut unpaced = worker(&scene, |_| {});
    for _ in 0..20 {
        unpaced.run_once().expect("a step");
    }
    assert_eq!(scene.bulk(&ids), [(500, 500, true, false)]);
    scene.stop();
}

pub fn a_replay_does_not_wait_for_a_destination_that_left_the_configuration(new: NewStore) {
    // Without delivery no operation waits.
    if crate::COMPILED_LEVEL == Level::Off {
        return;
    }
    let mut scene = Scene::new(new);
    let mut worker = worker(&scene, |config| {
        config.delivery.level = Some(crate::COMPILED_LEVEL);
    });
    dead_letters(&mut scene, 500, "removed");
    let ids = scene.create_bulk(BulkAction::Replay, |_| {});
    for _ in 0..20 {
        worker.run_once().expect("a step");
    }
    assert_eq!(scene.bulk(&ids), [(500, 500, true, false)]);
    scene.stop();
}

pub fn another_worker_continues_a_bulk_operation(new: NewStore) {
    let mut scene = Scene::new(new);
    dead_letters(&mut scene, 350, "d");
    let ids = scene.create_bulk(BulkAction::Discard, |_| {});
    worker(&scene, |_| {}).run_once().expect("a step");
    let mut second = worker(&scene, |_| {});
    second.run_once().expect("a step");
    let done = scene.bulk(&ids)[0].0;
    assert!((2..350).contains(&done), "{done}");
    assert!(scene.operator().cancel_bulk(ids[0]).expect("cancelled"));
    second.run_once().expect("a step");
    assert_eq!(scene.bulk(&ids), [(done, 350, true, true)]);
    let left = usize::try_from(350 - done).expect("some");
    let dead = scene.list(Some(DeliveryState::DeadLettered)).len();
    assert_eq!(dead, left, "discarded ones stay discarded");
    scene.stop();
}

pub fn many_waiting_operations_do_not_block_the_next_one(new: NewStore) {
    // Without delivery no operation waits.
    if crate::COMPILED_LEVEL == Level::Off {
        return;
    }
    let mut scene = Scene::new(new);
    let mut worker = worker(&scene, |config| {
        config.delivery.level = Some(crate::COMPILED_LEVEL);
    });
    scene.accept(event_to(&["http://crowded", "calm"]));
    scene.dead_letter_due("e");
    scene.accept_all((0..250).map(|_| event("http://crowded")));
    let create = |destination: &str| {
        scene.create_bulk(BulkAction::Replay, |filter| {
            filter.destination = Some(destination.to_owned());
        })
    };
    for _ in 0..200 {
        create("http://crowded");
    }
    let calm = create("calm");
    for _ in 0..5 {
        worker.run_once().expect("a step");
    }
    assert_eq!(scene.bulk(&calm), [(1, 1, true, false)]);
    scene.stop();
}
