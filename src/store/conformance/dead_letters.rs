//! Single intents are replayed and discarded.

use std::time::Duration;

use crate::model::DeliveryState;
use crate::store::conformance::NewStore;
use crate::store::conformance::scene::{Scene, WINDOW, event, event_of, event_to};
use crate::store::types::{Accepted, BulkFilter, Duplicate, NewBulk, NoRouting};
use crate::store::{Cutoffs, StoreError};

pub fn a_replay_queues_dead_letters_with_a_fresh_budget(new: NewStore) {
    let mut scene = Scene::new(new);
    let id = scene.accept(event_to(&["a", "b"]));
    scene.settle_due(|scene, claimed| scene.retry(claimed, Duration::ZERO));
    scene.dead_letter_due("answered 400");
    assert_eq!(scene.states(id), [(DeliveryState::DeadLettered, 2); 2]);
    assert_eq!(scene.store.replay(id).expect("replayed"), 2);
    assert_eq!(scene.states(id), [(DeliveryState::Queued, 0); 2]);
    for delivery in scene.intent(id).expect("it is stored").deliveries {
        assert_eq!(delivery.next_attempt_at, Some(scene.now()));
        let last = delivery.history.last().expect("a history");
        assert_eq!(last.outcome, "replayed");
    }
    let claimed = scene.claim_due();
    assert!(claimed.iter().all(|one| one.attempt == 1));
    scene.stop();
}

pub fn only_dead_letters_are_replayed_or_discarded(new: NewStore) {
    let mut scene = Scene::new(new);
    let delivered = scene.accept(event("d"));
    scene.deliver_due();
    let retrying = scene.accept(event("d"));
    scene.settle_due(|scene, claimed| scene.retry(claimed, Duration::from_secs(60)));
    let in_flight = scene.accept(event("d"));
    scene.claim_due();
    let queued = scene.accept(event("d"));
    let before = scene.list(None);
    for id in [delivered, retrying, in_flight, queued] {
        assert_eq!(scene.store.replay(id).expect("an answer"), 0);
        assert_eq!(scene.operator().replay(id).expect("an answer"), 0);
        assert_eq!(scene.operator().discard(id).expect("an answer"), 0);
    }
    let after = scene.list(None);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(format!("{before:?}"), format!("{after:?}"));
    }
    assert_eq!(after.len(), 4);
    scene.stop();
}

pub fn a_discarded_delivery_keeps_its_row_and_the_last_one_takes_the_payload(new: NewStore) {
    let mut scene = Scene::new(new);
    let id = scene.accept(event_to(&["a", "b"]));
    let other = scene.accept(event("a"));
    let a = scene.destination("a");
    let claimed = scene.claim(a, 10);
    let dead = claimed
        .into_iter()
        .map(|one| scene.dead_letter(one, "e"))
        .collect();
    scene.settle(dead);
    assert_eq!(scene.operator().discard(id).expect("discarded"), 1);
    let intent = scene.intent(id).expect("it is kept");
    assert_eq!(intent.payload, b"{}", "b's delivery is left");
    assert!(!intent.is_payload_gone());
    let discarded = &intent.deliveries[0];
    assert_eq!(discarded.state, DeliveryState::DeadLettered);
    assert_eq!(discarded.last_error.as_deref(), Some("discarded: e"));
    assert!(discarded.discarded_at.is_some());
    assert!(discarded.history.iter().all(|one| one.response.is_none()));
    let last = discarded.history.last().expect("a history");
    assert_eq!(last.error.as_deref(), Some("discarded by an operator"));
    scene.dead_letter_due("e");
    assert_eq!(scene.operator().discard(id).expect("discarded"), 1);
    let intent = scene.intent(id).expect("it is kept");
    assert!(intent.is_payload_gone() && intent.payload.is_empty());
    assert_eq!(scene.states(other), [(DeliveryState::DeadLettered, 1)]);
    // It is no dead letter any more, and counted apart.
    assert_eq!(scene.operator().discard(id).expect("an answer"), 0);
    assert_eq!(scene.operator().replay(id).expect("an answer"), 0);
    assert_eq!(scene.list(Some(DeliveryState::DeadLettered)).len(), 1);
    let stats = scene.operator().stats().expect("a read");
    let counts = stats.iter().map(|one| (one.dead_lettered, one.discarded));
    assert_eq!(counts.collect::<Vec<_>>(), [(1, 1), (0, 1)]);
    scene.stop();
}

pub fn the_key_of_a_discarded_event_names_it_until_its_window_ends(new: NewStore) {
    let mut scene = Scene::new(new);
    let keyed = || event_of("s", "key", &["d"]);
    let id = scene.accept(keyed());
    scene.dead_letter_due("e");
    assert_eq!(scene.operator().discard(id).expect("discarded"), 1);
    scene.clock.advance(WINDOW / 2);
    scene.restart();
    let again = scene.try_accept(keyed()).expect("an answer");
    assert_eq!(again, Accepted::Duplicate(Duplicate::of_same_body(id)));
    // Retention leaves it for as long as the key is kept.
    let cutoffs = |scene: &Scene| Cutoffs {
        delivered: None,
        dead_lettered: None,
        keys: scene.now().minus(WINDOW),
    };
    scene.prune(&cutoffs(&scene));
    assert_eq!(scene.size().0, 1);
    scene.clock.advance(WINDOW);
    scene.prune(&cutoffs(&scene));
    assert_eq!(scene.size().0, 0);
    scene.accept(keyed());
    scene.stop();
}

pub fn a_redelivery_does_not_revive_a_discarded_event(new: NewStore) {
    let mut scene = Scene::new(new);
    let keyed = || {
        let mut event = event_of("s", "key", &["d"]);
        event.key = event.key.map(|key| key.replaying_dead(true));
        event
    };
    let id = scene.accept(keyed());
    scene.dead_letter_due("e");
    assert_eq!(scene.operator().discard(id).expect("discarded"), 1);
    // Its body is gone, so it differs from none.
    let again = scene.try_accept(keyed()).expect("an answer");
    assert_eq!(again, Accepted::Duplicate(Duplicate::of_same_body(id)));
    assert_eq!(scene.states(id)[0].0, DeliveryState::DeadLettered);
    scene.stop();
}

pub fn a_redelivery_does_not_revive_an_erased_event(new: NewStore) {
    let mut scene = Scene::new(new);
    let keyed = || {
        let mut event = event_of("s", "key", &["d"]);
        event.key = event.key.map(|key| key.replaying_dead(true));
        event
    };
    let id = scene.accept(keyed());
    scene.dead_letter_due("e");
    let erase = NewBulk::erase(BulkFilter::events());
    let erased = scene.operator().act_on(id, &erase, &NoRouting);
    assert_eq!(
        erased.expect("an answer").map(|one| one.tally.done),
        Some(1)
    );
    // There is nothing to send: an attempt would only make it a dead letter again.
    let again = scene.try_accept(keyed()).expect("an answer");
    assert_eq!(again, Accepted::Duplicate(Duplicate::of_same_body(id)));
    assert_eq!(scene.states(id)[0].0, DeliveryState::DeadLettered);
    scene.stop();
}

pub fn commands_work_beside_a_server_and_without_one(new: NewStore) {
    let mut scene = Scene::new(new);
    let ids = [(); 4].map(|()| scene.accept(event("d")));
    scene.dead_letter_due("e");
    assert!(scene.operator().has_server());
    assert_eq!(scene.operator().replay(ids[0]).expect("replayed"), 1);
    assert_eq!(scene.operator().discard(ids[1]).expect("discarded"), 1);
    // The server sees both, and still writes.
    assert_eq!(scene.states(ids[0]), [(DeliveryState::Queued, 0)]);
    assert_eq!(scene.claim_due().len(), 1);
    scene.stop();
    let mut operator = scene.operator();
    assert!(!operator.has_server());
    assert_eq!(operator.replay(ids[2]).expect("replayed"), 1);
    assert_eq!(operator.discard(ids[3]).expect("discarded"), 1);
    drop(operator);
    let stopped = scene.store.replay(ids[2]);
    assert!(matches!(stopped, Err(StoreError::Stopped)), "{stopped:?}");
    scene.restart();
    assert_eq!(scene.states(ids[2]), [(DeliveryState::Queued, 0)]);
    assert_eq!(scene.size(), (4, 4), "discarded ones keep their rows");
    scene.stop();
}
