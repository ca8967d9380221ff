//! Intents and idempotency keys are recorded.

use std::sync::Barrier;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use crate::clock::Clock as _;
use crate::model::{DeliveryState, IntentId, Surface};
use crate::store::conformance::NewStore;
use crate::store::conformance::scene::{
    DAY, Scene, WINDOW, event, event_of, event_to, relay_to, try_accept,
};
use crate::store::types::{Accept, Accepted, Duplicate, IdempotencyKey, Owner};

pub fn an_accepted_event_is_stored_with_a_delivery_for_each_destination(new: NewStore) {
    let mut scene = Scene::new(new);
    let accepted = scene.try_accept(Accept {
        headers: b"x-a: b\r\n".to_vec(),
        body: bytes::Bytes::from_static(b"{\"a\": 1}"),
        ..event_to(&["orders", "https://example.com"])
    });
    let Ok(Accepted::New(id, at)) = accepted else {
        panic!("{accepted:?}");
    };
    assert_eq!(at, scene.now());
    for _ in 0..2 {
        let stored = scene.intent(id).expect("it is stored");
        assert_eq!(stored.id, id);
        assert_eq!((stored.surface, stored.created_at), (Surface::Event, at));
        assert_eq!((&*stored.label, stored.url), ("source", None));
        assert_eq!(stored.payload, b"{\"a\": 1}");
        let mut names: Vec<_> = stored
            .deliveries
            .iter()
            .map(|one| &*one.destination)
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["https://example.com", "orders"]);
        for one in &stored.deliveries {
            assert_eq!((one.state, one.attempts), (DeliveryState::Queued, 0));
            assert_eq!((one.next_attempt_at, one.updated_at), (Some(at), at));
            assert!(one.last_error.is_none() && one.history.is_empty());
        }
        scene.restart();
    }
    scene.stop();
}

pub fn an_accepted_relay_is_stored_with_its_url_and_metadata(new: NewStore) {
    let scene = Scene::new(new);
    let runtime = runtime();
    let relay = scene.accept(Accept {
        metadata: Some("{\"k\":\"v\"}".to_owned()),
        ..relay_to("key", "https://example.com")
    });
    let event = scene.accept(event("orders"));
    let stored = runtime.block_on(scene.store.relay(relay));
    let stored = stored.expect("a read").expect("it is stored");
    assert_eq!(stored.id, relay);
    assert_eq!(stored.event_type, "order.created");
    assert_eq!(stored.url, "https://example.com/hook");
    assert_eq!(stored.payload, b"{}");
    assert_eq!(stored.metadata.as_deref(), Some("{\"k\":\"v\"}"));
    assert_eq!(stored.state, DeliveryState::Queued);
    assert_eq!(
        (stored.created_at, stored.updated_at),
        (scene.now(), scene.now())
    );
    // Each surface has its own ids.
    let relay_as_event = runtime.block_on(scene.store.event(relay));
    assert!(relay_as_event.expect("a read").is_none());
    let event_as_relay = runtime.block_on(scene.store.relay(event));
    assert!(event_as_relay.expect("a read").is_none());
    scene.stop();
}

/// A runtime for the facade's asynchronous reads.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
}

/// A duplicate of an intent, with the same bytes.
fn duplicate(id: IntentId) -> Accepted {
    Accepted::Duplicate(Duplicate::of_same_body(id))
}

pub fn an_event_key_names_one_intent_of_its_source(new: NewStore) {
    let scene = Scene::new(new);
    let first = scene.accept(event_of("github", "k", &["a"]));
    let again = scene.try_accept(Accept {
        body: bytes::Bytes::from_static(b"[]"),
        ..event_of("github", "k", &["a"])
    });
    let other_bytes = Duplicate {
        is_same_body: false,
        ..Duplicate::of_same_body(first)
    };
    assert_eq!(again.expect("an answer"), Accepted::Duplicate(other_bytes));
    let other_source = scene.accept(event_of("gitlab", "k", &["a"]));
    let other_key = scene.accept(event_of("github", "l", &["a"]));
    assert_eq!(scene.size(), (3, 3));
    assert!(first != other_source && first != other_key);
    scene.stop();
}

pub fn a_relay_key_is_scoped_to_its_api_key_and_conflicts_with_other_bytes(new: NewStore) {
    let scene = Scene::new(new);
    let relay = |api_key: &str, bytes: &[u8]| {
        scene.try_accept(Accept {
            key: Some(IdempotencyKey::of_relay(api_key, "k".to_owned(), bytes)),
            ..relay_to(api_key, "http://x")
        })
    };
    let Ok(Accepted::New(first, _)) = relay("a", b"1") else {
        panic!("it is new");
    };
    assert_eq!(relay("a", b"1").expect("an answer"), duplicate(first));
    assert_eq!(relay("a", b"2").expect("an answer"), Accepted::Conflict);
    let other = relay("b", b"2").expect("an answer");
    assert!(
        matches!(other, Accepted::New(id, _) if id != first),
        "{other:?}"
    );
    // An event's key of the same text is another key.
    scene.accept(event_of("source", "k", &["http://x"]));
    scene.stop();
}

pub fn a_key_sent_by_many_threads_at_once_makes_one_intent(new: NewStore) {
    const THREADS: usize = 16;
    let scene = Scene::new(new);
    let barrier = Barrier::new(THREADS);
    let accepted: Vec<Accepted> = std::thread::scope(|scope| {
        let (store, barrier) = (&scene.store, &barrier);
        let send = move || {
            barrier.wait();
            try_accept(store, event_of("s", "k", &["d"])).expect("an answer")
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(send)).collect();
        let answers = threads.into_iter().map(ScopedJoinHandle::join);
        answers.map(|answer| answer.expect("no panic")).collect()
    });
    let is_new = |one: &&Accepted| matches!(one, Accepted::New(..));
    assert_eq!(accepted.iter().filter(is_new).count(), 1);
    let ids = accepted.iter().map(|one| match one {
        Accepted::New(id, _) | Accepted::Duplicate(Duplicate { id, .. }) => id.to_string(),
        other => panic!("{other:?}"),
    });
    let ids: std::collections::BTreeSet<_> = ids.collect();
    assert_eq!((ids.len(), scene.size()), (1, (1, 1)));
    scene.stop();
}

pub fn a_key_expires_with_its_window_and_survives_a_restart(new: NewStore) {
    let mut scene = Scene::new(new);
    let first = scene.accept(event_of("s", "k", &["d"]));
    let again = |scene: &Scene| {
        scene
            .try_accept(event_of("s", "k", &["d"]))
            .expect("an answer")
    };
    scene.clock.advance(
        WINDOW
            .checked_sub(Duration::from_millis(1))
            .expect("an hour"),
    );
    assert_eq!(again(&scene), duplicate(first));
    scene.restart();
    assert_eq!(again(&scene), duplicate(first));
    scene.clock.advance(Duration::from_millis(1));
    let Accepted::New(second, _) = again(&scene) else {
        panic!("the window is over");
    };
    assert_eq!(again(&scene), duplicate(second), "the newer one");
    scene.restart();
    assert_eq!(again(&scene), duplicate(second));
    scene.stop();
}

pub fn ids_ascend_even_when_the_clock_is_set_back(new: NewStore) {
    let mut scene = Scene::new(new);
    let mut ids = Vec::new();
    for _ in 0..3 {
        for _ in 0..3 {
            ids.push(scene.accept(event("d")).to_string());
            scene.clock.set_wall(scene.clock.wall().minus(DAY));
        }
        scene.restart();
    }
    let mut sorted = ids.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(ids, sorted);
    scene.stop();
}

pub fn an_api_key_has_a_bounded_number_of_waiting_origins(new: NewStore) {
    let mut scene = Scene::new(new);
    let accept = |scene: &Scene, key: &str, origin: &str| {
        let mut owner = Owner::of(key);
        owner.max_waiting_origins = 2;
        let relay = Accept {
            owner: Some(owner),
            ..relay_to(key, origin)
        };
        scene.try_accept(relay).expect("an answer")
    };
    let is_new = |accepted| matches!(accepted, Accepted::New(..));
    assert!(is_new(accept(&scene, "a", "http://one")));
    assert!(is_new(accept(&scene, "a", "http://two")));
    assert_eq!(
        accept(&scene, "a", "http://three"),
        Accepted::TooManyOrigins
    );
    assert!(!scene.knows("http://three"));
    assert!(
        is_new(accept(&scene, "a", "http://two")),
        "it waits already"
    );
    assert!(is_new(accept(&scene, "b", "http://three")), "another key's");
    let one = scene.destination("http://one");
    let claimed = scene.claim(one, 1);
    let settlement = scene.delivered(claimed[0]);
    scene.settle(vec![settlement]);
    // A start counts what is stored.
    scene.restart();
    assert!(is_new(accept(&scene, "a", "http://four")));
    assert_eq!(accept(&scene, "a", "http://five"), Accepted::TooManyOrigins);
    scene.stop();
}

pub fn work_is_announced_after_its_commit_and_for_its_destinations(new: NewStore) {
    let mut scene = Scene::new(new);
    scene.accept(event_to(&["a", "b"]));
    let within = Duration::from_secs(60);
    let announced = scene.work.recv_timeout(within).expect("an announcement");
    // The commit is visible by then.
    let mut waiting: Vec<_> = scene.waiting().into_iter().map(|(_, id)| id).collect();
    waiting.sort_unstable();
    let mut announced = announced;
    announced.sort_unstable();
    assert_eq!(announced, waiting);
    // A duplicate makes nothing due, nor does a delivery.
    scene.accept(event_of("s", "k", &["a"]));
    scene.work.recv_timeout(within).expect("an announcement");
    scene
        .try_accept(event_of("s", "k", &["a"]))
        .expect("a duplicate");
    scene.deliver_due();
    scene.stop();
    assert_eq!(scene.work.try_iter().count(), 0);
}
