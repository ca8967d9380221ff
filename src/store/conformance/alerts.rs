//! States of alerts, their events, and the facts that alerts are made of.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::model::{BreakerChange, DeliveryState};
use crate::store::conformance::NewStore;
use crate::store::conformance::accepting::runtime;
use crate::store::conformance::scene::{Scene, event, event_of};
use crate::store::types::{
    Accept, AlertChange, AlertState, DeadLetterDigest, DeadLetterQuery, DestinationChange,
    DestinationId, NewlyDead, RaiseAlerts, Settlement,
};

fn state(subject: &str, state: &str, since: Timestamp) -> AlertState {
    AlertState {
        kind: "destination.failing".to_owned(),
        subject: subject.to_owned(),
        state: state.to_owned(),
        since,
    }
}

fn change(state: AlertState, before: Option<Timestamp>) -> AlertChange {
    AlertChange { state, before }
}

fn states(scene: &Scene) -> Vec<AlertState> {
    scene.store.reader().alert_states().expect("a read")
}

/// The event of an alert.
fn alert(destination: &str) -> Accept {
    event_of("relay", "alert", &[destination])
}

pub fn a_state_and_its_event_are_written_together_and_survive_a_restart(new: NewStore) {
    let mut scene = Scene::new(new);
    let raise = |changes, events| scene.store.raise_alerts(RaiseAlerts { changes, events });
    let now = scene.now();
    raise(
        vec![
            change(state("a", "open", now), None),
            change(state("b", "open", now), None),
        ],
        vec![alert("ops")],
    )
    .expect("written");
    let later = now.plus(Duration::from_secs(60));
    let well = change(state("a", "well", later), Some(now));
    raise(vec![well], Vec::new()).expect("written");
    scene.restart();
    let expected = [state("a", "well", later), state("b", "open", now)];
    assert_eq!(states(&scene), expected);
    assert_eq!(scene.list(None).len(), 1);
    assert_eq!(scene.waiting()[0].0, "ops");
    let gone = vec![("destination.failing".to_owned(), "b".to_owned())];
    scene.store.forget_alerts(gone).expect("written");
    assert_eq!(states(&scene), expected[..1]);
    scene.stop();
}

pub fn without_its_event_no_state_is_written(new: NewStore) {
    let scene = Scene::new(new);
    // A relay's surface wants a URL: the row is refused, and the transaction with it.
    let refused = Accept {
        surface: crate::model::Surface::Relay,
        ..alert("ops")
    };
    let raised = scene.store.raise_alerts(RaiseAlerts {
        changes: vec![change(state("a", "open", scene.now()), None)],
        events: vec![alert("ops"), refused],
    });
    assert!(raised.is_err());
    assert_eq!((states(&scene), scene.list(None).len()), (Vec::new(), 0));
    scene.stop();
}

fn digest(scene: &Scene, ids: &[DestinationId], from: Timestamp) -> DeadLetterDigest {
    let until = scene.store.settled_until().expect("a time");
    let query = DeadLetterQuery {
        destinations: ids,
        except: "ops",
        from,
        until,
    };
    scene
        .store
        .reader()
        .dead_letter_digest(&query)
        .expect("a read")
}

pub fn new_dead_letters_are_found_once_and_counted(new: NewStore) {
    let mut scene = Scene::new(new);
    let begin = scene.now();
    assert_eq!(scene.store.take_newly_dead(), NewlyDead::default());
    let ids = scene
        .accept_all((0..30).map(|number| event(if number < 20 { "orders" } else { "billing" })));
    scene.accept(event("ops"));
    scene.accept(alert("orders"));
    scene.dead_letter_due("answered 500: secret words of the answer");
    let dead = scene.store.take_newly_dead();
    assert_eq!((dead.destinations.len(), dead.has_more), (3, false));
    assert_eq!(scene.store.take_newly_dead(), NewlyDead::default());
    let found = digest(&scene, &dead.destinations, begin);
    assert_eq!((found.count, found.is_cut_short), (30, false));
    let counts = [("orders".to_owned(), 20), ("billing".to_owned(), 10)];
    assert_eq!(found.destinations, counts);
    let first: Vec<_> = found.first.iter().map(|dead| dead.id).collect();
    assert_eq!(first, ids[..10]);
    assert!(found.first.iter().all(|dead| dead.is_event));
    let reasons: u64 = found.reasons.iter().map(|(_, count)| count).sum();
    assert_eq!(reasons, 30);
    assert!(
        !format!("{:?}", found.reasons).contains("secret"),
        "{found:?}"
    );
    // The next digest begins where this one ended.
    let until = scene.store.settled_until().expect("a time");
    assert_eq!(digest(&scene, &dead.destinations, until).count, 0);
    // After a restart they are found without what memory knew.
    scene.restart();
    let found = scene.store.reader().with_dead_letters(begin).expect("ids");
    assert_eq!(found, dead.destinations);
    let found = scene.store.reader().with_dead_letters(until).expect("ids");
    assert_eq!(found, []);
    scene.stop();
}

pub fn a_replayed_dead_letter_is_not_counted(new: NewStore) {
    let mut scene = Scene::new(new);
    let begin = scene.now();
    let id = scene.accept(event("orders"));
    scene.accept(event("orders"));
    scene.dead_letter_due("e");
    scene.store.replay(id).expect("replayed");
    let dead = scene.store.take_newly_dead().destinations;
    assert_eq!(digest(&scene, &dead, begin).count, 1);
    assert_eq!(scene.list(Some(DeliveryState::DeadLettered)).len(), 1);
    scene.stop();
}

pub fn the_facts_of_a_destination_are_those_that_are_stored(new: NewStore) {
    let mut scene = Scene::new(new);
    scene.accept_all((0..3).map(|_| event("orders")));
    scene.accept(event("paused"));
    scene.operator().pause("paused", "moving").expect("paused");
    // A claim waits until the stored deliveries are counted.
    while runtime().block_on(scene.store.deliveries()).is_none() {
        std::thread::yield_now();
    }
    let orders = scene.destination("orders");
    let claimed = scene.claim(orders, 1);
    let change = DestinationChange {
        breaker: Some(BreakerChange::Open(Duration::from_secs(60))),
        ..DestinationChange::default()
    };
    let record = scene.record(&claimed[0], Some("e"));
    let settlement = Settlement::retry(claimed[0].claim(), record, scene.now(), change);
    scene.settle(vec![settlement]);
    let names = ["orders", "paused", "unknown"].map(str::to_owned);
    let facts = scene
        .store
        .destination_facts(&scene.store.reader(), &names)
        .expect("a read");
    assert!(facts[0].is_breaker_open && !facts[1].is_breaker_open);
    assert_eq!(facts[0].waiting, Some(3), "the failed one is tried again");
    let reason = facts[1].paused.as_ref().map(|(_, reason)| reason.as_str());
    assert_eq!(reason, Some("moving"));
    assert_eq!(facts[2], crate::store::DestinationFacts::default());
    scene.stop();
}
