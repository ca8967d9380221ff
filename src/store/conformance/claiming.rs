//! Due deliveries are found, claimed, released and recovered.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::model::DeliveryState;
use crate::store::conformance::NewStore;
use crate::store::conformance::scene::{Scene, event, event_to, relay_to};
use crate::store::types::{Accept, ClaimRequest, DestinationId, DueScan, Release, ScanCursor};

const SECOND: Duration = Duration::from_secs(1);

pub fn a_claim_takes_the_due_deliveries_that_were_requested(new: NewStore) {
    let mut scene = Scene::new(new);
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(scene.accept(event("d")));
        scene.clock.advance(SECOND);
    }
    let other = scene.accept(event("other"));
    let destination = scene.destination("d");
    let request = ClaimRequest {
        destination,
        begin: 2,
        prefetch: 1,
    };
    let claimed = scene.change(Vec::new(), Vec::new(), vec![request]);
    assert_eq!(claimed.len(), 3);
    for one in &claimed {
        assert_eq!(
            (one.destination, one.attempt, one.history),
            (destination, 1, 0)
        );
    }
    assert_eq!(
        claimed
            .iter()
            .filter(|one| one.claim.is_prefetched())
            .count(),
        1
    );
    assert!(claimed.is_sorted_by_key(|one| one.due), "those due first");
    for (at, id) in ids.iter().enumerate() {
        let state = if at < 3 {
            (DeliveryState::Processing, 1)
        } else {
            (DeliveryState::Queued, 0)
        };
        assert_eq!(scene.states(*id), [state], "{at}");
    }
    assert_eq!(scene.states(other), [(DeliveryState::Queued, 0)]);
    // A delivery that is due later is not claimed earlier.
    let retries = claimed
        .into_iter()
        .map(|one| scene.retry(one, SECOND))
        .collect();
    scene.settle(retries);
    assert_eq!(scene.claim(destination, 100).len(), 2);
    scene.clock.advance(SECOND);
    let claimed = scene.claim(destination, 100);
    assert_eq!(claimed.len(), 3);
    assert!(
        claimed
            .iter()
            .all(|one| (one.attempt, one.history) == (2, 1))
    );
    scene.stop();
}

pub fn a_delivery_is_claimed_once(new: NewStore) {
    let mut scene = Scene::new(new);
    for _ in 0..20 {
        scene.accept(event("d"));
    }
    let destination = scene.destination("d");
    let mut seen = HashSet::new();
    for begin in [3, 7, 0, 100, 100] {
        for one in scene.claim(destination, begin) {
            assert!(seen.insert(one.intent), "claimed twice");
        }
    }
    assert_eq!(seen.len(), 20);
    scene.stop();
}

pub fn a_scan_finds_each_waiting_destination_once(new: NewStore) {
    let mut scene = Scene::new(new);
    for n in 0..23 {
        scene.accept(event(&format!("d{n}")));
    }
    scene.accept(event("d4"));
    // A delivered delivery doesn't wait, and neither does one in flight.
    let (done, in_flight) = (scene.destination("d7"), scene.destination("d9"));
    let claimed = scene.claim(done, 1);
    let settlement = scene.delivered(claimed[0]);
    scene.settle(vec![settlement]);
    scene.claim(in_flight, 1);
    let reader = scene.store.reader();
    for at_most in [1, 4, 7, 21, 50] {
        let mut cursor = Some(ScanCursor::START);
        let mut ids: Vec<DestinationId> = Vec::new();
        while cursor.is_some() {
            let scan = DueScan {
                newcomers: &HashSet::new(),
                cursor,
                at_most,
                names: &[],
            };
            let found = reader.scan(&scan).expect("a scan");
            assert!(found.part.waiting.len() <= at_most && found.newcomers.is_empty());
            assert!(
                found
                    .part
                    .waiting
                    .iter()
                    .all(|(_, due)| *due == scene.now())
            );
            ids.extend(found.part.waiting.iter().map(|(origin, _)| origin.id));
            cursor = found.part.next;
        }
        let distinct: BTreeSet<_> = ids.iter().copied().collect();
        assert_eq!((ids.len(), distinct.len()), (21, 21), "{at_most} at a time");
        assert!(!distinct.contains(&done) && !distinct.contains(&in_flight));
    }
    scene.stop();
}

pub fn a_scan_reports_newcomers_and_statuses(new: NewStore) {
    let scene = Scene::new(new);
    scene.accept(event("named"));
    scene.accept(relay_to("key", "http://origin"));
    scene.operator().pause("named", "why").expect("paused");
    let (named, origin) = (
        scene.destination("named"),
        scene.destination("http://origin"),
    );
    let newcomers = HashSet::from([named, origin, DestinationId::of_test(1 << 40)]);
    let scan = DueScan {
        newcomers: &newcomers,
        cursor: None,
        at_most: 10,
        names: &["named".to_owned(), "unknown".to_owned()],
    };
    let found = scene.store.reader().scan(&scan).expect("a scan");
    assert!(
        found.part.waiting.is_empty() && found.part.next.is_none(),
        "no scan is under way"
    );
    assert_eq!(found.newcomers.len(), 2, "those that exist");
    for one in found.newcomers {
        assert_eq!(one.is_named, one.id == named);
        assert_eq!(one.owner.is_some(), one.id == origin);
        assert!(!one.is_proven);
    }
    let statuses: Vec<_> = found.statuses.iter().map(Option::as_ref).collect();
    let paused = statuses[0].expect("it is stored");
    assert!(paused.is_paused && !paused.is_breaker_open && paused.held_until.is_none());
    assert!(statuses[1].is_none(), "nothing was ever sent there");
    scene.stop();
}

pub fn a_backlog_counts_due_deliveries_up_to_its_limit(new: NewStore) {
    let mut scene = Scene::new(new);
    for _ in 0..5 {
        scene.accept(event("d"));
    }
    let destination = scene.destination("d");
    let first_due = scene.now();
    let claimed = scene.claim(destination, 2);
    let retries = claimed
        .into_iter()
        .map(|one| scene.retry(one, SECOND))
        .collect();
    scene.settle(retries);
    let unknown = DestinationId::of_test(1 << 40);
    let due = |scene: &Scene, at: Timestamp, counted| {
        let asked = [destination, unknown].into_iter();
        let mut found = scene
            .store
            .reader()
            .due(asked, at, counted)
            .expect("a read");
        assert!(found.pop().expect("two answers").is_none());
        found.pop().expect("two answers").expect("it is stored")
    };
    let now = scene.now();
    let backlog = due(&scene, now, 100);
    assert_eq!((&*backlog.name, backlog.ready), ("d", 3));
    assert_eq!(backlog.next_attempt_at, Some(first_due));
    assert!(!backlog.is_paused && backlog.held_until.is_none() && backlog.probe.is_none());
    assert_eq!(due(&scene, now, 2).ready, 2);
    assert_eq!(due(&scene, now.plus(SECOND), 100).ready, 5);
    scene.deliver_due();
    let backlog = due(&scene, now, 100);
    assert_eq!(
        (backlog.ready, backlog.next_attempt_at),
        (0, Some(now.plus(SECOND)))
    );
    scene.stop();
}

pub fn a_released_delivery_is_due_again_and_has_spent_no_attempt(new: NewStore) {
    let mut scene = Scene::new(new);
    let id = scene.accept(event("d"));
    scene.clock.advance(SECOND);
    let destination = scene.destination("d");
    let claimed = scene.claim(destination, 1)[0];
    let untouched = Release::untouched(&claimed);
    scene.change(Vec::new(), vec![untouched], Vec::new());
    assert_eq!(scene.states(id), [(DeliveryState::Queued, 0)]);
    let stored = scene.intent(id).expect("it is stored");
    assert_eq!(stored.deliveries[0].next_attempt_at, Some(claimed.due));
    assert!(stored.deliveries[0].history.is_empty());
    // A release of a claim that is over changes nothing.
    let again = scene.claim(destination, 1)[0];
    scene.change(Vec::new(), vec![untouched], Vec::new());
    assert_eq!(scene.states(id), [(DeliveryState::Processing, 1)]);
    // After a shortage on this machine the delivery is due after a moment.
    let delayed = Release::untouched(&again).delayed();
    scene.change(Vec::new(), vec![delayed], Vec::new());
    assert!(scene.claim(destination, 1).is_empty());
    scene.clock.advance(SECOND);
    assert_eq!(scene.claim(destination, 1)[0].attempt, 1);
    scene.stop();
}

/// Claims everything due: for `begun` as begun, for `prefetched` as prefetched; returns how many.
fn claim_both(scene: &mut Scene) -> usize {
    let requests = scene.waiting().into_iter().map(|(name, destination)| {
        let is_begun = name == "begun";
        ClaimRequest {
            destination,
            begin: usize::from(is_begun),
            prefetch: usize::from(!is_begun),
        }
    });
    let requests = requests.collect();
    scene.change(Vec::new(), Vec::new(), requests).len()
}

pub fn a_restart_releases_claims_and_counts_only_begun_attempts_as_interrupted(new: NewStore) {
    let mut scene = Scene::new(new);
    let begun = scene.accept(event("begun"));
    let prefetched = scene.accept(event("prefetched"));
    assert_eq!(claim_both(&mut scene), 2);
    scene.restart();
    assert_eq!(scene.states(begun), [(DeliveryState::Queued, 1)]);
    let delivery = &scene.intent(begun).expect("it is stored").deliveries[0];
    let error = delivery.last_error.as_deref().expect("an error");
    assert!(error.starts_with("interrupted"), "{error}");
    assert_eq!(delivery.history.len(), 1);
    assert_eq!(delivery.history[0].outcome, "interrupted");
    assert_eq!(scene.states(prefetched), [(DeliveryState::Queued, 0)]);
    let delivery = &scene.intent(prefetched).expect("it is stored").deliveries[0];
    assert!(delivery.history.is_empty() && delivery.last_error.is_none());
    scene.stop();
}

pub fn a_delivery_interrupted_too_often_is_dead_lettered(new: NewStore) {
    let mut scene = Scene::new(new);
    let begun = scene.accept(event("begun"));
    let prefetched = scene.accept(event("prefetched"));
    for interruptions in 1..=5 {
        assert_eq!(claim_both(&mut scene), 2);
        scene.restart();
        // A delivery that is interrupted repeatedly may be due a little later.
        scene.clock.advance(SECOND);
        let state = if interruptions < 5 {
            DeliveryState::Queued
        } else {
            DeliveryState::DeadLettered
        };
        assert_eq!(scene.states(begun)[0].0, state, "{interruptions}");
        assert_eq!(scene.states(prefetched), [(DeliveryState::Queued, 0)]);
    }
    // A prefetched delivery is never counted as interrupted.
    for _ in 0..5 {
        assert_eq!(claim_both(&mut scene), 1);
        scene.restart();
        scene.clock.advance(SECOND);
        assert_eq!(scene.states(prefetched), [(DeliveryState::Queued, 0)]);
    }
    let delivery = &scene.intent(begun).expect("it is stored").deliveries[0];
    let error = delivery.last_error.as_deref().expect("an error");
    assert!(error.starts_with("interrupted 5 times in a row"), "{error}");
    // A settled attempt begins the count anew.
    scene.store.replay(begun).expect("replayed");
    assert_eq!(claim_both(&mut scene), 2);
    scene.restart();
    assert_eq!(scene.states(begun)[0].0, DeliveryState::Queued);
    scene.stop();
}

pub fn a_message_is_loaded_if_headers_and_body_fit(new: NewStore) {
    let mut scene = Scene::new(new);
    let id = scene.accept(Accept {
        headers: vec![b'h'; 30],
        body: vec![b'b'; 70].into(),
        ..event_to(&["d"])
    });
    let relay = scene.accept(relay_to("key", "http://x"));
    let claimed = scene.claim_due();
    let reader = scene.store.reader();
    let load = |max| {
        let intents = claimed.iter().map(|one| one.intent);
        let messages = reader.messages(intents, max).expect("a read");
        let messages = messages
            .into_iter()
            .map(|message| message.expect("a message"));
        messages.collect::<Vec<_>>()
    };
    assert_eq!(load(99).iter().flatten().count(), 1, "the relay's fits");
    let messages: Vec<_> = load(100).into_iter().flatten().collect();
    let event = messages.iter().find(|message| message.id == id);
    let event = event.expect("it fits");
    assert_eq!((event.headers.len(), event.body.len()), (30, 70));
    assert_eq!(event.created_at, scene.now());
    let relayed = messages.iter().find(|message| message.id == relay);
    let relayed = relayed.expect("it fits");
    assert_eq!(relayed.url.as_deref(), Some("http://x/hook"));
    assert_eq!(relayed.label, "order.created");
    let of_event = claimed.iter().map(|one| reader.message(one.intent));
    let sizes: BTreeSet<_> = of_event
        .map(|message| message.expect("a message").body.len())
        .collect();
    assert_eq!(sizes, BTreeSet::from([2, 70]), "whatever its size");
    scene.stop();
}
