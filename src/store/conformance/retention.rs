//! Finished intents and expired keys are deleted.

use std::time::Duration;

use crate::model::DeliveryState;
use crate::store::Cutoffs;
use crate::store::conformance::NewStore;
use crate::store::conformance::scene::{DAY, Scene, WINDOW, event, event_of, event_to};
use crate::store::types::{Accept, Accepted, Prune, PruneCursor};

pub fn finished_intents_are_deleted_after_their_time_counted_from_their_end(new: NewStore) {
    let mut scene = Scene::new(new);
    let ages = DAY * 10_000;
    // Retrying for longer than anything is kept.
    scene.accept(event("pending"));
    scene.settle_due(|scene, claimed| scene.retry(claimed, ages));
    // Delivered to one of two destinations, so it is pending, too.
    let half = scene.accept(event_to(&["d", "pending"]));
    let d = scene.destination("d");
    let claimed = scene.claim(d, 1)[0];
    let delivered = scene.delivered(claimed);
    scene.settle(vec![delivered]);
    scene.settle_due(|scene, claimed| scene.retry(claimed, ages));
    // Accepted long before they are delivered: the end counts.
    let late = (0..100).map(|key| event_of("s", &format!("late{key}"), &["d"]));
    scene.accept_all(late);
    scene.clock.advance(DAY * 10);
    scene.deliver_due();
    scene.accept(event_of("s", "dead", &["d"]));
    scene.dead_letter_due("answered 410 Gone");
    scene.clock.advance(DAY * 6);
    scene.sweep();
    assert_eq!(scene.size().0, 103, "none has ended long enough ago");
    scene.clock.advance(DAY);
    scene.sweep();
    assert_eq!(scene.size(), (3, 4));
    assert_eq!(scene.list(Some(DeliveryState::DeadLettered)).len(), 1);
    scene.clock.advance(DAY * 24);
    scene.sweep();
    assert_eq!(scene.size().0, 2, "dead letters are kept for thirty days");
    scene.clock.advance(DAY * 3650);
    scene.sweep();
    assert_eq!(scene.size(), (2, 3), "pending ones are never deleted");
    assert_eq!(scene.states(half).len(), 2);
    scene.stop();
}

pub fn without_cutoffs_nothing_is_deleted(new: NewStore) {
    let mut scene = Scene::new(new);
    scene.accept(event("d"));
    scene.deliver_due();
    scene.accept(event("d"));
    scene.dead_letter_due("e");
    scene.clock.advance(DAY * 3650);
    let forever = Cutoffs {
        delivered: None,
        dead_lettered: None,
        keys: scene.now(),
    };
    scene.prune(&forever);
    assert_eq!(scene.size(), (2, 2));
    let dead_only = Cutoffs {
        dead_lettered: Some(scene.now()),
        ..forever
    };
    scene.prune(&dead_only);
    assert_eq!(scene.list(None)[0].state, DeliveryState::Delivered);
    assert_eq!(scene.size(), (1, 1));
    scene.stop();
}

pub fn expired_keys_are_deleted_and_others_are_kept(new: NewStore) {
    const KEYS: usize = 200;
    let mut scene = Scene::new(new);
    let keyed =
        |age: &'static str| (0..KEYS).map(move |key| event_of("s", &format!("{age}{key}"), &["d"]));
    scene.accept_all(keyed("old"));
    scene.clock.advance(WINDOW);
    scene.accept_all(keyed("new"));
    scene.restart();
    scene.sweep();
    for key in 0..KEYS {
        let long = |name: String| Accept {
            // A longer window than that of retention finds the key if it is still stored.
            window: DAY,
            ..event_of("s", &name, &["d"])
        };
        let new = scene
            .try_accept(long(format!("new{key}")))
            .expect("an answer");
        assert!(matches!(new, Accepted::Duplicate(_)), "{new:?}");
    }
    assert_eq!(scene.size(), (2 * KEYS, 2 * KEYS), "pending events stay");
    scene.stop();
}

pub fn a_delivery_replayed_after_it_was_found_expired_keeps_its_intent(new: NewStore) {
    let mut scene = Scene::new(new);
    let id = scene.accept(event("d"));
    scene.dead_letter_due("answered 500");
    scene.clock.advance(DAY * 40);
    let find = |scene: &Scene| {
        let reader = scene.store.reader();
        reader
            .expired(&scene.cutoffs(), PruneCursor::START)
            .expect("a read")
    };
    let found = find(&scene);
    assert_eq!(found.count(), (1, 0));
    scene.store.replay(id).expect("replayed");
    let mut prune = Prune::new(found);
    while scene.store.prune(&mut prune).expect("a step") {}
    assert_eq!((prune.deleted, scene.size()), (0, (1, 1)));
    assert_eq!(find(&scene).count(), (0, 0), "it isn't found again");
    scene.stop();
}

/// More rows of an event than are deleted at once, and fewer than a history keeps.
const ATTEMPTS: usize = 40;
const DESTINATIONS: usize = 8;

/// Accepts an event for several destinations, and dead-letters its deliveries after many attempts
/// each.
fn accept_wide_event(scene: &mut Scene) -> crate::model::IntentId {
    let names: Vec<String> = (0..DESTINATIONS).map(|n| format!("d{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let id = scene.accept(Accept {
        body: vec![b'1'; 300].into(),
        ..event_to(&names)
    });
    for _ in 1..ATTEMPTS {
        scene.settle_due(|scene, claimed| scene.retry(claimed, Duration::ZERO));
    }
    scene.dead_letter_due("answered 500");
    id
}

fn entries(scene: &Scene, id: crate::model::IntentId) -> usize {
    let stored = scene.intent(id).expect("it is stored");
    stored.deliveries.iter().map(|one| one.history.len()).sum()
}

pub fn an_event_with_many_destinations_and_attempts_is_deleted_as_a_whole(new: NewStore) {
    let mut scene = Scene::new(new);
    let ids = [(); 2].map(|()| accept_wide_event(&mut scene));
    assert_eq!(entries(&scene, ids[0]), DESTINATIONS * ATTEMPTS);
    scene.clock.advance(DAY * 31);
    let reader = scene.store.reader();
    let cutoffs = scene.cutoffs();
    let mut cursor = PruneCursor::START;
    let mut steps = 0;
    while !cursor.is_at_end() {
        let expired = reader.expired(&cutoffs, cursor).expect("a read");
        cursor = expired.next;
        let mut prune = Prune::new(expired);
        while scene.store.prune(&mut prune).expect("a step") {
            steps += 1;
            // An event is stored with all its deliveries, or not at all.
            let (intents, deliveries) = scene.size();
            assert_eq!(deliveries, DESTINATIONS * intents);
        }
    }
    assert!(steps > 3, "{steps} steps");
    assert_eq!(scene.size(), (0, 0));
    scene.stop();
}

pub fn an_event_replayed_while_it_is_deleted_is_kept(new: NewStore) {
    let mut scene = Scene::new(new);
    let id = accept_wide_event(&mut scene);
    scene.clock.advance(DAY * 31);
    let reader = scene.store.reader();
    let expired = reader.expired(&scene.cutoffs(), PruneCursor::START);
    let mut prune = Prune::new(expired.expect("a read"));
    assert!(scene.store.prune(&mut prune).expect("a step"));
    let begun = entries(&scene, id);
    assert!(
        (1..DESTINATIONS * ATTEMPTS).contains(&begun),
        "{begun}: the deletion has begun"
    );
    scene.store.replay(id).expect("replayed");
    let left = entries(&scene, id);
    // The deliveries end anew at once, which is not long ago.
    scene.deliver_due();
    while scene.store.prune(&mut prune).expect("a step") {}
    scene.sweep();
    assert_eq!(scene.size(), (1, DESTINATIONS));
    assert_eq!(entries(&scene, id), left + DESTINATIONS);
    scene.stop();
}
