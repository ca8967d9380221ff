//! Operations as operators see them, and as they ask a server for them.

use std::time::Duration;

use crate::model::IntentId;
use crate::store::conformance::NewStore;
use crate::store::conformance::accepting::runtime;
use crate::store::conformance::scene::{START, Scene, event_of, event_to};
use crate::store::types::{
    AdvanceBulk, BulkFilter, BulkId, BulkPreview, NewBulk, NoRouting, OperationCreation,
    OperationsQuery, Release, StoredOperation,
};

const MINUTE: Duration = Duration::from_secs(60);

fn create(scene: &Scene, new: NewBulk) -> OperationCreation {
    let created = runtime().block_on(scene.store.create_operation(new));
    created.expect("an operation")
}

fn created(scene: &Scene, new: NewBulk) -> StoredOperation {
    match create(scene, new) {
        OperationCreation::New(created) => created,
        other => panic!("{other:?}"),
    }
}

fn preview(scene: &Scene, new: NewBulk) -> BulkPreview {
    let preview = runtime().block_on(scene.store.preview_operation(new, NoRouting));
    preview.expect("a preview")
}

fn stored(scene: &Scene, of: &StoredOperation) -> StoredOperation {
    let found = runtime().block_on(scene.store.operation(of.id));
    found.expect("a read").expect("it is there")
}

/// The operations of a page, and where the next one begins.
fn page(scene: &Scene, query: OperationsQuery) -> (Vec<BulkId>, Option<BulkId>) {
    let page = runtime().block_on(scene.store.operations_page(query));
    let page = page.expect("a read");
    (page.found.iter().map(|one| one.id).collect(), page.next)
}

pub fn an_operation_of_several_destinations_is_one(new: NewStore) {
    let mut scene = Scene::new(new);
    scene.accept(event_to(&["a", "b"]));
    scene.accept(event_to(&["b"]));
    scene.clock.advance(MINUTE);
    let retried = created(&scene, NewBulk::discard(BulkFilter::waiting()));
    assert_eq!((retried.jobs, retried.total), (2, Some(3)));
    assert_eq!(retried.parts.len(), 2);
    assert!(retried.ended_at.is_none() && retried.filter.destination.is_none());
    // The number of any of its jobs finds it.
    let of_part = runtime().block_on(scene.store.operation(retried.parts[1].id));
    assert_eq!(of_part.expect("a read").expect("it").id, retried.id);
    scene.finish_bulk();
    let done = stored(&scene, &retried);
    assert_eq!(done.tally.done, 3);
    assert!(done.ended_at.is_some() && !done.is_cancelled);

    scene.accept(event_to(&["a", "b"]));
    scene.clock.advance(MINUTE);
    let second = created(&scene, NewBulk::discard(BulkFilter::waiting()));
    let cancelled = runtime().block_on(scene.store.cancel_operation(second.id));
    let (is_changed, cancelled) = cancelled.expect("a change").expect("it is there");
    assert!(is_changed && cancelled.is_cancelled && cancelled.ended_at.is_some());
    let again = runtime().block_on(scene.store.cancel_operation(second.id));
    assert!(!again.expect("a change").expect("it is there").0);
    scene.finish_bulk();
    assert_eq!(stored(&scene, &second).tally.done, 0);

    let mut query = OperationsQuery {
        after: None,
        limit: 2,
    };
    assert_eq!(page(&scene, query), (vec![second.id, retried.id], None));
    query.limit = 1;
    assert_eq!(page(&scene, query), (vec![second.id], Some(second.id)));
    query.after = Some(second.id);
    assert_eq!(page(&scene, query), (vec![retried.id], None));
    query.after = Some(retried.id);
    assert_eq!(page(&scene, query), (vec![], None));
    scene.stop();
    scene.restart();
    assert_eq!(stored(&scene, &retried).tally.done, 3);
}

pub fn a_nonce_names_one_operation_and_no_other(new: NewStore) {
    let scene = Scene::new(new);
    scene.accept(event_of("s", "1", &["d"]));
    scene.clock.advance(MINUTE);
    let request = |filter: BulkFilter| NewBulk {
        nonce: Some("n".to_owned()),
        ..NewBulk::discard(filter)
    };
    let first = created(&scene, request(BulkFilter::waiting().before(scene.now())));
    scene.finish_bulk();
    scene.clock.advance(MINUTE);
    match create(&scene, request(BulkFilter::waiting().before(scene.now()))) {
        OperationCreation::Before(before) => assert_eq!(before.id, first.id),
        other => panic!("{other:?}"),
    }
    let of_source = BulkFilter {
        source: Some("s".to_owned()),
        ..BulkFilter::waiting()
    };
    let elsewhere = BulkFilter {
        destination: Some("e".to_owned()),
        ..BulkFilter::waiting()
    };
    for other in [of_source, elsewhere, BulkFilter::dead_letters()] {
        let conflict = create(&scene, request(other.clone()));
        assert!(matches!(conflict, OperationCreation::Conflict), "{other:?}");
    }
    scene.stop();
}

pub fn a_request_is_the_same_if_its_times_are_as_they_were_or_of_the_same_age(new: NewStore) {
    let scene = Scene::new(new);
    scene.accept(event_of("s", "1", &["d"]));
    scene.clock.advance(MINUTE * 60);
    let hour = MINUTE * 60;
    let is_same = |name: &str, first: &dyn Fn() -> BulkFilter, second: &dyn Fn() -> BulkFilter| {
        let request = |filter: BulkFilter| NewBulk {
            nonce: Some(name.to_owned()),
            ..NewBulk::erase(filter.before(scene.now()))
        };
        created(&scene, request(first()));
        scene.finish_bulk();
        scene.clock.advance(MINUTE * 5);
        matches!(
            create(&scene, request(second())),
            OperationCreation::Before(_)
        )
    };
    let none = BulkFilter::events;
    let since = |since| BulkFilter {
        since,
        ..BulkFilter::events()
    };
    let until = |until| BulkFilter {
        until,
        ..BulkFilter::events()
    };
    let ago = |age| scene.now().minus(age);
    let of_d = || BulkFilter {
        destination: Some("d".to_owned()),
        ..BulkFilter::events()
    };
    let of_unknown = || BulkFilter {
        destination: Some("e".to_owned()),
        ..BulkFilter::events()
    };
    assert!(is_same("an age", &|| until(ago(hour)), &|| until(ago(
        hour
    ))));
    assert!(is_same("since", &|| since(ago(hour)), &|| since(ago(hour))));
    assert!(is_same("a time", &|| until(START), &|| until(START)));
    let later = scene.now().plus(MINUTE);
    assert!(is_same("an end to come", &|| until(later), &|| until(
        later
    )));
    assert!(is_same("an unknown one", &of_unknown, &of_unknown));
    assert!(!is_same("an end", &|| until(ago(hour)), &none));
    assert!(!is_same("an age and none", &none, &|| until(ago(hour))));
    assert!(!is_same("another", &|| since(ago(hour)), &|| since(ago(
        hour * 2
    ))));
    assert!(!is_same("an hour later", &|| since(START), &|| since(
        START.plus(hour)
    )));
    assert!(!is_same("a destination", &of_d, &none));
    assert!(!is_same("no destination", &none, &of_d));
    scene.stop();
}

pub fn an_operation_that_selects_nothing_has_ended(new: NewStore) {
    let scene = Scene::new(new);
    scene.accept(event_of("s", "1", &["d"]));
    scene.clock.advance(MINUTE);
    let none = created(&scene, NewBulk::replay(scene.all_dead_letters()));
    assert_eq!((none.total, none.tally.done), (Some(0), 0));
    assert!(none.ended_at.is_some() && !none.is_cancelled);
    let of_d = BulkFilter {
        destination: Some("d".to_owned()),
        ..scene.all_dead_letters()
    };
    let none = created(&scene, NewBulk::replay(of_d));
    assert_eq!(none.filter.destination.as_deref(), Some("d"));
    scene.stop();
}

pub fn an_operation_of_ids_acts_on_these_alone(new: NewStore) {
    let mut scene = Scene::new(new);
    let ids = scene.accept_all((0..5).map(|at| event_of("s", &at.to_string(), &["a", "b"])));
    scene.clock.advance(MINUTE);
    let of = |ids: &[usize], all: &[IntentId]| BulkFilter {
        ids: ids.iter().map(|at| all[*at]).collect(),
        ..BulkFilter::waiting()
    };
    let two = NewBulk::discard(of(&[1, 3], &ids));
    let counted = preview(&scene, two.clone());
    assert_eq!((counted.total(), counted.is_exact), (4, true));
    let operation = created(&scene, two);
    assert_eq!(operation.filter.ids, [ids[1], ids[3]]);
    // Its steps survive a restart.
    scene.restart();
    scene.finish_bulk();
    assert_eq!(stored(&scene, &operation).tally.done, 4);
    let of_one = BulkFilter {
        destination: Some("a".to_owned()),
        ..of(&[0, 1], &ids)
    };
    let operation = created(&scene, NewBulk::discard(of_one));
    scene.finish_bulk();
    assert_eq!(stored(&scene, &operation).tally.done, 1);
    let events = BulkFilter {
        ids: vec![ids[2], ids[4]],
        ..BulkFilter::events()
    };
    let sent = created(&scene, NewBulk::send_to("c".to_owned(), events));
    scene.finish_bulk();
    assert_eq!(stored(&scene, &sent).tally.done, 2);
    let unknown = IntentId::new(ids[0].row(), 7);
    let found = runtime().block_on(scene.store.first_unknown(vec![ids[0], unknown]));
    assert_eq!(found.expect("a read"), Some(unknown));
    scene.stop();
}

pub fn deliveries_in_flight_of_an_operation_of_ids_are_looked_for_again(new: NewStore) {
    let mut scene = Scene::new(new);
    let id = scene.accept(event_of("s", "1", &["d"]));
    let other = scene.accept(event_of("s", "2", &["d"]));
    let destination = scene.destination("d");
    let claimed = scene.claim(destination, 2);
    scene.clock.advance(MINUTE);
    let filter = BulkFilter {
        ids: vec![id],
        ..BulkFilter::waiting()
    };
    assert_eq!(
        preview(&scene, NewBulk::discard(filter.clone())).in_flight,
        1
    );
    let operation = created(&scene, NewBulk::discard(filter));
    let advance = |scene: &Scene| {
        let step = AdvanceBulk {
            is_paced: true,
            after: None,
            routing: &NoRouting,
        };
        let reader = scene.store.reader();
        scene.store.advance_bulk(&reader, &step).expect("a step");
    };
    advance(&scene);
    let waiting = stored(&scene, &operation);
    assert!(waiting.ended_at.is_none(), "it looks again");
    assert_eq!(waiting.in_flight, 1, "the other one is not counted");
    let releases = claimed.iter().map(Release::untouched).collect();
    scene.change(Vec::new(), releases, Vec::new());
    scene.clock.advance(MINUTE / 30);
    advance(&scene);
    advance(&scene);
    let done = stored(&scene, &operation);
    assert_eq!(done.tally.done, 1, "{done:?}");
    let untouched = scene.intent(other).expect("it is stored");
    assert!(untouched.deliveries[0].discarded_at.is_none());
    scene.stop();
}

pub fn an_operation_has_never_done_more_than_its_total(new: NewStore) {
    let scene = Scene::new(new);
    scene.accept(event_to(&["d"]));
    scene.clock.advance(MINUTE);
    let operation = created(&scene, NewBulk::discard(BulkFilter::waiting()));
    assert_eq!(operation.total, Some(1));
    // Accepted after the count, and before the first step.
    scene.accept(event_to(&["d"]));
    scene.accept(event_to(&["d"]));
    scene.clock.advance(MINUTE);
    scene.finish_bulk();
    let done = stored(&scene, &operation);
    assert_eq!((done.tally.done, done.total), (3, Some(3)));
    assert_eq!(
        (done.parts[0].tally.done, done.parts[0].total),
        (3, Some(3))
    );
    scene.stop();
}

pub fn a_client_s_count_is_bounded(new: NewStore) {
    const EVENTS: usize = 10_010;
    let scene = Scene::new(new);
    let events = (0..EVENTS).map(|_| event_to(&["d"]));
    scene.accept_all(events);
    scene.clock.advance(MINUTE);
    let all = NewBulk::discard(BulkFilter::waiting());
    let bounded = preview(&scene, all.clone());
    assert_eq!((bounded.total(), bounded.is_exact), (10_000, false));
    assert_eq!(bounded.first.len(), 10);
    let operation = created(&scene, all.clone());
    assert_eq!(operation.total, None, "unknown until it has ended");
    // A command's own count goes to the end.
    let counted = scene.operator().preview_bulk(&all, &NoRouting);
    let counted = counted.expect("a preview");
    assert_eq!((counted.total(), counted.is_exact), (10_010, true));
    let events = NewBulk::send_to("e".to_owned(), BulkFilter::events());
    let bounded = preview(&scene, events);
    assert_eq!((bounded.total(), bounded.is_exact), (10_000, false));
    scene.stop();
}
