//! Texts from outside may hold a NUL.

use std::time::Duration;

use crate::config::Secret;
use crate::model::{DeliveryState, IntentId};
use crate::stop;
use crate::store::conformance::NewStore;
use crate::store::conformance::accepting::runtime;
use crate::store::conformance::scene::{Scene, WINDOW, event_to, relay_to};
use crate::store::types::{
    Accept, Accepted, AttemptRecord, BulkFilter, ConfigAttempt, DestinationChange,
    DestinationsQuery, Duplicate, IdempotencyKey, ListQuery, NewBulk, NoRouting, OnHangup,
    OperationCreation, Resumed, Settlement, TailCursor, TailEvent, TailQuery, UnroutedQuery,
};

const DAY: Duration = Duration::from_secs(86_400);

/// An event of which each text holds a NUL.
fn event(key: &str, destinations: &[&str]) -> Accept {
    Accept {
        label: "so\0urce".to_owned(),
        event_type: Some("ty\0pe".to_owned()),
        query: Some("a=\0".to_owned()),
        headers: b"x-a: \0b\r\n".to_vec(),
        body: bytes::Bytes::from_static(b"\0body\0"),
        key: Some(IdempotencyKey::of_event("so\0urce", key.to_owned())),
        window: WINDOW,
        ..event_to(destinations)
    }
}

/// An attempt that ended with a NUL in each of its texts.
fn record(scene: &Scene, claimed: &crate::store::types::Claimed) -> AttemptRecord {
    AttemptRecord {
        error: Some("er\0ror".to_owned()),
        response: Some(b"\0answer".to_vec()),
        next: "ne\0xt".to_owned(),
        ..scene.record(claimed, Some("e"))
    }
}

/// Makes the attempt that is due: it fails, for good or for a day.
fn fail(scene: &mut Scene, is_dead: bool) {
    scene.settle_due(|scene, claimed| {
        let (record, none) = (record(scene, &claimed), DestinationChange::default());
        if is_dead {
            Settlement::dead_letter(claimed.claim(), record, none)
        } else {
            let at = scene.now().plus(DAY);
            Settlement::retry(claimed.claim(), record, at, none)
        }
    });
    scene.clock.advance(Duration::from_millis(1));
}

fn listed(scene: &Scene, change: impl Fn(&mut ListQuery)) -> Vec<IntentId> {
    let mut query = ListQuery {
        limit: 10,
        ..ListQuery::default()
    };
    change(&mut query);
    let found = scene.operator().list(&query).expect("a list");
    found.into_iter().map(|one| one.id).collect()
}

pub fn texts_with_a_nul_are_stored_as_they_came(new: NewStore) {
    let mut scene = Scene::new(new);
    let id = scene.accept(event("\0key", &["d"]));
    let other = scene.accept(event("key", &["d"]));
    let again = scene.try_accept(event("\0key", &["d"]));
    let duplicate = Accepted::Duplicate(Duplicate::of_same_body(id));
    assert_eq!(again.expect("an answer"), duplicate);
    let message = scene
        .store
        .reader()
        .message(crate::store::types::IntentRow::of(id));
    let message = message.expect("a message");
    assert_eq!(
        (message.label.as_str(), message.query.as_deref()),
        ("so\0urce", Some("a=\0"))
    );
    assert_eq!(
        (message.headers, message.body),
        (b"x-a: \0b\r\n".to_vec(), b"\0body\0".to_vec())
    );
    fail(&mut scene, false);
    scene.restart();
    let stored = scene.intent(id).expect("it is stored");
    assert_eq!(
        (stored.label.as_str(), stored.event_type.as_deref()),
        ("so\0urce", Some("ty\0pe"))
    );
    let delivery = &stored.deliveries[0];
    assert_eq!(delivery.last_error.as_deref(), Some("er\0ror"));
    let entry = &delivery.history[0];
    assert_eq!(
        (entry.error.as_deref(), entry.next.as_deref()),
        (Some("er\0ror"), Some("ne\0xt"))
    );
    assert_eq!(entry.response.as_deref(), Some(&b"\0answer"[..]));
    assert_eq!(
        listed(&scene, |query| query.source = Some("so\0urce".to_owned())),
        [other, id]
    );
    assert!(listed(&scene, |query| query.source = Some("so".to_owned())).is_empty());
    assert_eq!(
        listed(&scene, |query| query.event_type = Some("ty\0*".to_owned())).len(),
        2
    );
    assert_eq!(
        listed(&scene, |query| query.event_type = Some("ty\0pe".to_owned())).len(),
        2
    );
    scene.stop();
}

pub fn operations_select_by_texts_with_a_nul(new: NewStore) {
    let mut scene = Scene::new(new);
    let id = scene.accept(event("1", &["d"]));
    scene.accept(event_to(&["d"]));
    scene.clock.advance(DAY);
    fail(&mut scene, true);
    let by = |change: &dyn Fn(&mut BulkFilter)| {
        let mut filter = scene.all_dead_letters();
        change(&mut filter);
        let preview = scene
            .operator()
            .preview_bulk(&NewBulk::replay(filter), &NoRouting);
        preview.expect("a preview").total()
    };
    assert_eq!(by(&|filter| filter.reason = Some("r\0r".to_owned())), 2);
    assert_eq!(by(&|filter| filter.reason = Some("rr".to_owned())), 0);
    assert_eq!(by(&|filter| filter.source = Some("so\0urce".to_owned())), 1);
    assert_eq!(
        by(&|filter| filter.event_type = Some("ty\0*".to_owned())),
        1
    );
    assert_eq!(by(&|filter| filter.destination = Some("d\0".to_owned())), 0);
    let replay = || {
        let mut new = NewBulk::replay(BulkFilter {
            source: Some("so\0urce".to_owned()),
            event_type: Some("ty\0pe".to_owned()),
            reason: Some("\0".to_owned()),
            ..scene.all_dead_letters()
        });
        new.nonce = Some("\0nonce".to_owned());
        runtime()
            .block_on(scene.store.create_operation(new))
            .expect("an operation")
    };
    let OperationCreation::New(created) = replay() else {
        panic!("it is new");
    };
    let OperationCreation::Before(known) = replay() else {
        panic!("it is known");
    };
    assert_eq!(
        (known.id, known.filter.reason.as_deref()),
        (created.id, Some("\0"))
    );
    scene.finish_bulk();
    assert_eq!(scene.states(id), [(DeliveryState::Queued, 0)]);
    // A delivery that is given up for good keeps its reason.
    fail(&mut scene, true);
    assert_eq!(scene.operator().discard(id).expect("discarded"), 1);
    let error = scene.intent(id).expect("it is stored").deliveries[0]
        .last_error
        .clone();
    assert!(
        error
            .as_deref()
            .is_some_and(|error| error.contains("er\0ror")),
        "{error:?}"
    );
    scene.stop();
}

pub fn a_name_with_a_nul_is_nobodys(new: NewStore) {
    let scene = Scene::new(new);
    scene.accept(event("1", &["d"]));
    let (store, name) = (&scene.store, || "d\0".to_owned());
    assert!(listed(&scene, |query| query.destination = Some(name())).is_empty());
    let page = runtime().block_on(store.destinations_page(DestinationsQuery {
        configured: vec!["d".to_owned()],
        name: Some(name()),
        offset: 0,
        limit: 10,
    }));
    assert_eq!(page.expect("a read").total, 0);
    assert!(
        !runtime()
            .block_on(store.is_destination(name()))
            .expect("a read")
    );
    assert!(
        !runtime()
            .block_on(store.probe_now(name()))
            .expect("an answer")
    );
    let resumed = runtime().block_on(store.resume(name(), None));
    assert_eq!(resumed.expect("an answer"), Resumed::Already);
    let query = TailQuery {
        destination: Some(name()),
        since: Some(scene.now().minus(DAY)),
        ..TailQuery::default()
    };
    let page = scene.operator().tail(&query, &mut TailCursor::default());
    assert!(page.expect("a look").entries.is_empty());
    let from = NewBulk::reroute(name(), "e".to_owned(), BulkFilter::waiting());
    let preview = scene.operator().preview_bulk(&from, &NoRouting);
    assert_eq!(preview.expect("a preview").total(), 0);
    assert!(!scene.knows("d\0"));
    scene.stop();
}

pub fn relays_and_unrouted_events_may_hold_a_nul(new: NewStore) {
    let scene = Scene::new(new);
    let relay = scene.accept(Accept {
        label: "order\0created".to_owned(),
        metadata: Some(r#"{"a\u0000":"\u0000"}"#.to_owned()),
        key: Some(IdempotencyKey::of_relay("api\0key", "\0".to_owned(), b"\0")),
        ..relay_to("api\0key", "https://example.com")
    });
    let stored = runtime().block_on(scene.store.relay(relay));
    let stored = stored.expect("a read").expect("it is stored");
    assert_eq!(stored.event_type, "order\0created");
    assert_eq!(stored.metadata.as_deref(), Some(r#"{"a\u0000":"\u0000"}"#));
    let unrouted = scene.accept(event("1", &[]));
    let query = UnroutedQuery {
        source: Some("so\0urce".to_owned()),
        event_type: Some("ty\0*".to_owned()),
        limit: 10,
        ..UnroutedQuery::default()
    };
    let found = scene.operator().unrouted(&query).expect("a read");
    assert_eq!((found.len(), found[0].id), (1, unrouted));
    let mut cursor = TailCursor::default();
    let query = TailQuery {
        source: Some("so\0urce".to_owned()),
        since: Some(scene.now().minus(DAY)),
        ..TailQuery::default()
    };
    let page = scene.operator().tail(&query, &mut cursor).expect("a look");
    assert!(
        matches!(page.entries[..], [ref one] if one.label == "so\0urce"
        && matches!(one.what, TailEvent::Accepted { .. }))
    );
    scene.stop();
}

pub fn secrets_reasons_and_reports_may_hold_a_nul(new: NewStore) {
    let scene = Scene::new(new);
    let until = scene.now().plus(DAY);
    scene
        .operator()
        .expect_secret("s", until, false)
        .expect("an outcome");
    let learned = scene.store.learn_secret("s", Secret::new("se\0cret"));
    assert!(stop::block_on(learned).expect("an outcome"));
    let learned = scene.store.reader().learned_secrets().expect("a read");
    assert_eq!(learned[0].secret.reveal(), "se\0cret");
    let paused = scene.store.pause("d".to_owned(), "rea\0son".to_owned());
    runtime().block_on(paused).expect("paused");
    let again = scene.store.pause("d".to_owned(), "again".to_owned());
    let before = runtime()
        .block_on(again)
        .expect("an answer")
        .expect("it is paused");
    assert_eq!(before.reason, "rea\0son");
    let attempt = ConfigAttempt {
        began_at: scene.now(),
        is_dry_run: false,
        generation: 1,
        fingerprint: "f".to_owned(),
        report: Err("line 1: \0".to_owned()),
        process: 1,
        on_hangup: OnHangup::Reloads,
    };
    scene
        .store
        .record_config(attempt.clone())
        .expect("recorded");
    let state = scene.operator().config_state().expect("a read");
    assert_eq!(state.last.report, attempt.report);
    scene.stop();
}
