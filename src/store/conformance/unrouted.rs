//! Events that no route wants: they have no delivery.

use std::time::Duration;

use crate::model::IntentId;
use crate::store::Cutoffs;
use crate::store::conformance::NewStore;
use crate::store::conformance::accepting::runtime;
use crate::store::conformance::scene::{DAY, Scene, event, event_of, event_to};
use crate::store::types::{Accept, Accepted, Duplicate, IdempotencyKey, UnroutedQuery};

/// The unrouted events that match, by id.
fn unrouted(scene: &Scene, change: impl FnOnce(&mut UnroutedQuery)) -> Vec<IntentId> {
    let mut query = UnroutedQuery {
        limit: 10_000,
        ..UnroutedQuery::default()
    };
    change(&mut query);
    let found = scene.operator().unrouted(&query).expect("a list");
    found.into_iter().map(|event| event.id).collect()
}

fn count(scene: &Scene) -> i64 {
    scene.operator().count_unrouted().expect("a count")
}

pub fn an_event_without_destinations_is_stored_listed_and_counted(new: NewStore) {
    let scene = Scene::new(new);
    let typed = Accept {
        event_type: Some("push".to_owned()),
        ..event_of("b", "1", &[])
    };
    let first = scene.accept(event_of("a", "1", &[]));
    scene.accept(event("d"));
    scene.clock.advance(Duration::from_secs(60));
    let second = scene.accept(typed);
    assert_eq!(count(&scene), 2);
    assert_eq!(unrouted(&scene, |_| {}), [second, first], "latest first");
    assert_eq!(unrouted(&scene, |query| query.limit = 1), [second]);
    let of_a = |query: &mut UnroutedQuery| query.source = Some("a".to_owned());
    assert_eq!(unrouted(&scene, of_a), [first]);
    for (event_type, found) in [("push", 1), ("pu*", 1), ("pull*", 0), ("pus", 0), ("*", 1)] {
        let of_type = |query: &mut UnroutedQuery| query.event_type = Some(event_type.to_owned());
        assert_eq!(unrouted(&scene, of_type).len(), found, "{event_type}");
    }
    let now = scene.now();
    assert_eq!(unrouted(&scene, |query| query.since = Some(now)), [second]);
    let shown = scene.intent(second).expect("it is stored");
    assert!(shown.is_unrouted && shown.deliveries.is_empty());
    assert_eq!(shown.event_type.as_deref(), Some("push"));
    assert_eq!(
        (shown.label.as_str(), &shown.payload[..]),
        ("b", &b"{}"[..])
    );
    let other = IntentId::new(second.row(), !second.random().cast_unsigned());
    assert!(scene.intent(other).is_none());
    assert_eq!(scene.size(), (1, 1), "it is no delivery");
    assert!(scene.waiting().len() == 1, "and nothing waits for it");
    scene.stop();
}

pub fn a_page_s_count_of_unrouted_events_is_bounded(new: NewStore) {
    let scene = Scene::new(new);
    scene.accept_all((0..20).map(|n| event_of("a", &n.to_string(), &[])));
    scene.accept_all((0..10).map(|n| event_of("b", &n.to_string(), &[])));
    scene.accept(event("d"));
    let counted = |source: Option<&str>, max_rows, most| {
        let query = UnroutedQuery {
            source: source.map(str::to_owned),
            max_rows,
            ..UnroutedQuery::default()
        };
        let count = scene.store.count_unrouted_events(query, most);
        let count = runtime().block_on(count).expect("a count");
        (count.number, count.is_exact)
    };
    assert_eq!(counted(None, None, 100), (30, true));
    assert_eq!(
        counted(None, None, 30),
        (30, true),
        "as many as are counted"
    );
    assert_eq!(counted(None, None, 29), (29, false));
    assert_eq!(counted(Some("a"), None, 100), (20, true));
    // The latest are those of b, so that the bound is reached among those of a.
    assert_eq!(counted(Some("a"), Some(15), 100), (5, false));
    scene.stop();
}

pub fn an_unrouted_events_key_names_it_and_a_redelivery_replays_nothing(new: NewStore) {
    let mut scene = Scene::new(new);
    let keyed = |destinations: &[&str]| Accept {
        label: "s".to_owned(),
        key: Some(IdempotencyKey::of_event("s", "k".to_owned()).replaying_dead(true)),
        ..event_to(destinations)
    };
    let id = scene.accept(keyed(&[]));
    let duplicate = Accepted::Duplicate(Duplicate::of_same_body(id));
    // Its routes may want it by now: it stays as it was accepted.
    for destinations in [&[][..], &["d"]] {
        assert_eq!(
            scene.try_accept(keyed(destinations)).expect("accepted"),
            duplicate
        );
    }
    scene.restart();
    assert_eq!(
        scene.try_accept(keyed(&["d"])).expect("accepted"),
        duplicate
    );
    assert_eq!(scene.states(id), []);
    assert_eq!(count(&scene), 1);
    scene.stop();
}

pub fn unrouted_events_are_deleted_like_delivered_ones_counted_from_their_acceptance(
    new: NewStore,
) {
    // More than a step reads.
    const MANY: usize = 1_200;
    let mut scene = Scene::new(new);
    scene.accept_all((0..MANY).map(|_| event_to(&[])));
    let large = Accept {
        body: vec![b'x'; 8 << 20].into(),
        ..event_to(&[])
    };
    scene.accept(large);
    scene.accept(event("d"));
    scene.clock.advance(DAY);
    let later = scene.accept(event_to(&[]));
    scene.clock.advance(DAY * 6);
    scene.sweep();
    let all = i64::try_from(MANY).expect("a few");
    assert_eq!(count(&scene), all + 2, "none is old enough");
    // An id counts as its time, and runs ahead of a clock that stands still.
    scene.clock.advance(Duration::from_millis(100));
    let never = Cutoffs {
        delivered: None,
        ..scene.cutoffs()
    };
    scene.prune(&never);
    assert_eq!(count(&scene), all + 2);
    scene.sweep();
    assert_eq!(unrouted(&scene, |_| {}), [later]);
    assert_eq!(scene.size().0, 1, "a pending one is kept");
    scene.restart();
    scene.clock.advance(DAY);
    scene.sweep();
    assert_eq!(count(&scene), 0);
    scene.stop();
}
