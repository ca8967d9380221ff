//! Lists, pages and figures.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::model::{BreakerChange, DeliveryState, IntentId};
use crate::store::conformance::NewStore;
use crate::store::conformance::accepting::runtime;
use crate::store::conformance::scene::{Scene, event, event_of, relay_to};
use crate::store::types::{
    Accept, Claimed, DestinationChange, ListQuery, ListedDelivery, RelayCursor, Release, Settlement,
};

const MINUTE: Duration = Duration::from_secs(60);

/// Leads a claimed delivery to one of the five states.
fn lead_to(scene: &mut Scene, claimed: Claimed, state: DeliveryState) {
    let settlement = match state {
        DeliveryState::Processing => return,
        DeliveryState::Queued => {
            // Due later, so that it is not claimed with the next one.
            let release = Release {
                due: Some(scene.now().plus(MINUTE)),
                ..Release::untouched(&claimed)
            };
            scene.change(Vec::new(), vec![release], Vec::new());
            return;
        }
        DeliveryState::Retrying => scene.retry(claimed, MINUTE),
        DeliveryState::Delivered => scene.delivered(claimed),
        DeliveryState::DeadLettered => scene.dead_letter(claimed, "e"),
    };
    scene.settle(vec![settlement]);
}

/// The deliveries of `all`, latest first, that a query matches.
fn matching(all: &[ListedDelivery], query: &ListQuery) -> Vec<(String, String)> {
    let is_match = |one: &&ListedDelivery| {
        query.state.is_none_or(|state| one.state == state)
            && query
                .destination
                .as_ref()
                .is_none_or(|name| one.destination == *name)
            && query
                .source
                .as_ref()
                .is_none_or(|label| one.label == *label)
            && query.since.is_none_or(|since| one.created_at >= since)
    };
    let found = all.iter().filter(is_match).take(query.limit as usize);
    found
        .map(|one| (one.id.to_string(), one.destination.clone()))
        .collect()
}

pub fn a_list_has_the_latest_matching_deliveries(new: NewStore) {
    let mut scene = Scene::new(new);
    let begin = scene.now();
    // Deliveries in all states, some of the same millisecond.
    for n in 0..60usize {
        let destinations: &[&str] = [&["d1"][..], &["d2"], &["d1", "d2"]][n % 3];
        let source = ["a", "b"][usize::from(n % 4 == 0)];
        scene.accept(event_of(source, &n.to_string(), destinations));
        for claimed in scene.claim_due() {
            lead_to(&mut scene, claimed, DeliveryState::ALL[n % 5]);
        }
        scene
            .clock
            .advance(Duration::from_millis(u64::from(n % 2 == 0)));
    }
    let all = scene.list(None);
    assert_eq!(all.len(), 80);
    let mut accepted: Vec<_> = all.iter().map(|one| one.id.to_string()).collect();
    accepted.dedup();
    assert!(
        accepted.is_sorted_by(|one, next| one > next),
        "latest first"
    );
    assert_eq!(accepted.len(), 60);
    for state in DeliveryState::ALL {
        assert!(all.iter().any(|one| one.state == state), "{state} is there");
    }
    let queries = (
        prop::option::of(prop::sample::select(&DeliveryState::ALL)),
        prop::option::of(prop::sample::select(&["d1", "d2", "none"])),
        prop::option::of(prop::sample::select(&["a", "b", "none"])),
        prop::option::of(0..40u64),
        1..100u32,
    );
    let (operator, runtime) = (scene.operator(), runtime());
    let mut runner = TestRunner::new(ProptestConfig::with_cases(256));
    let run = runner.run(&queries, |(state, destination, source, since, limit)| {
        let query = ListQuery {
            state,
            destination: destination.map(str::to_owned),
            source: source.map(str::to_owned),
            since: since.map(|millis| begin.plus(Duration::from_millis(millis))),
            limit,
            ..ListQuery::default()
        };
        let found = operator.list(&query).expect("a list");
        let found = found
            .iter()
            .map(|one| (one.id.to_string(), one.destination.clone()));
        prop_assert_eq!(
            found.collect::<Vec<_>>(),
            matching(&all, &query),
            "{:?}",
            query
        );
        let most = usize::try_from(limit).expect("small");
        let count = scene.store.count_deliveries(query.clone(), most);
        let count = runtime.block_on(count).expect("a count");
        let number = matching(
            &all,
            &ListQuery {
                limit: u32::MAX,
                ..query.clone()
            },
        )
        .len();
        let expected = (number.min(most), number <= most);
        prop_assert_eq!((count.number, count.is_exact), expected, "{:?}", query);
        Ok(())
    });
    run.expect("each query");
    scene.stop();
}

pub fn stats_count_the_deliveries_of_each_destination(new: NewStore) {
    let mut scene = Scene::new(new);
    let oldest = scene.now().plus(MINUTE);
    for (n, state) in DeliveryState::ALL.into_iter().enumerate() {
        for key in 0..=n {
            scene.accept(event_of("s", &format!("{state} {key}"), &["d"]));
            for claimed in scene.claim_due() {
                lead_to(&mut scene, claimed, state);
            }
        }
    }
    scene.clock.advance(MINUTE * 2);
    scene.accept(event("other"));
    let count = |state| {
        let listed = scene.list(Some(state));
        let of_d = listed.iter().filter(|one| one.destination == "d");
        i64::try_from(of_d.count()).expect("small")
    };
    let stats = scene.operator().stats().expect("a read");
    let names: Vec<_> = stats.iter().map(|one| &*one.destination).collect();
    assert_eq!(names, ["d", "other"]);
    let of_d = &stats[0];
    let waiting = count(DeliveryState::Queued) + count(DeliveryState::Retrying);
    assert_eq!(of_d.waiting, waiting);
    assert_eq!(of_d.processing, count(DeliveryState::Processing));
    assert_eq!(of_d.dead_lettered, count(DeliveryState::DeadLettered));
    assert_eq!(of_d.oldest_due, Some(oldest));
    assert!(waiting > 0 && of_d.processing > 0 && of_d.dead_lettered > 0);
    assert_eq!(
        (stats[1].waiting, stats[1].oldest_due),
        (1, Some(scene.now()))
    );
    scene.stop();
}

pub fn relays_are_paged_in_the_order_of_their_ids(new: NewStore) {
    let scene = Scene::new(new);
    let runtime = runtime();
    let mut ids: Vec<IntentId> = Vec::new();
    for n in 0..25 {
        ids.push(scene.accept(relay_to("key", &format!("http://{}", n % 3))));
        scene.accept(event("d"));
    }
    // Larger than a page may be.
    for _ in 0..3 {
        ids.push(scene.accept(Accept {
            body: vec![b'x'; 900_000].into(),
            ..relay_to("key", "http://large")
        }));
    }
    for limit in [1, 4, 27, 28, 200] {
        let mut after: Option<RelayCursor> = None;
        let mut found = Vec::new();
        loop {
            let page = runtime.block_on(scene.store.relays_page(after, limit));
            let page = page.expect("a page");
            assert!(page.relays.len() <= limit as usize);
            let bytes: usize = page.relays.iter().map(|relay| relay.payload.len()).sum();
            assert!(bytes < 2_000_000, "{bytes} bytes in one page");
            found.extend(page.relays.iter().map(|relay| relay.id));
            let Some(next) = page.next else { break };
            // A cursor is a text between two requests.
            after = RelayCursor::parse(&next.to_string());
            assert_eq!(after, Some(next));
        }
        assert_eq!(found, ids, "{limit} a page");
    }
    scene.stop();
}

pub fn the_backlog_excludes_deliveries_that_are_kept_back(new: NewStore) {
    let mut scene = Scene::new(new);
    let second = Duration::from_secs(1);
    let held = scene.now().plus(MINUTE * 10);
    let accept = |scene: &mut Scene, name: &str, count: usize| {
        for _ in 0..count {
            scene.accept(event(name));
        }
        scene.clock.advance(second);
    };
    accept(&mut scene, "gone", 6);
    accept(&mut scene, "open", 5);
    accept(&mut scene, "held", 4);
    accept(&mut scene, "paused", 3);
    let oldest = scene.now();
    accept(&mut scene, "no longer held", 1);
    accept(&mut scene, "fine", 2);
    let changes = [
        ("open", None, Some(BreakerChange::Open(MINUTE))),
        ("held", Some(held), Some(BreakerChange::Open(MINUTE))),
        ("paused", Some(held), None),
        ("no longer held", Some(scene.now()), None),
    ];
    for (name, hold_until, breaker) in changes {
        let destination = scene.destination(name);
        let claimed = scene.claim(destination, 1)[0];
        let change = DestinationChange {
            hold_until,
            breaker,
            ..DestinationChange::default()
        };
        // Due again at its time.
        let record = scene.record(&claimed, Some("e"));
        scene.settle(vec![Settlement::retry(
            claimed.claim(),
            record,
            claimed.due,
            change,
        )]);
    }
    for name in ["paused", "gone"] {
        scene.operator().pause(name, "why").expect("paused");
    }
    let runtime = runtime();
    let read = |scene: &Scene| {
        let backlog = scene.store.backlog(|name| name != "gone");
        runtime.block_on(backlog).expect("a read")
    };
    let backlog = counted(&scene, read);
    assert_eq!(backlog.oldest_due, Some(oldest));
    let kept = [
        ("unknown_destination", 6),
        ("paused", 3),
        ("held", 4),
        ("breaker_open", 5),
    ];
    assert_eq!(backlog.kept, Some(kept));
    scene.stop();
}

/// Reads until the stored deliveries are counted, which happens beside the writer after a start.
fn counted(scene: &Scene, read: impl Fn(&Scene) -> crate::store::Backlog) -> crate::store::Backlog {
    loop {
        let backlog = read(scene);
        if backlog.kept.is_some() {
            return backlog;
        }
        std::thread::yield_now();
    }
}

pub fn an_empty_backlog_has_every_reason(new: NewStore) {
    let scene = Scene::new(new);
    let runtime = runtime();
    let backlog = counted(&scene, |scene| {
        runtime
            .block_on(scene.store.backlog(|_| true))
            .expect("a read")
    });
    assert_eq!(backlog.oldest_due, None);
    let kept = backlog.kept.expect("they are counted");
    assert!(kept.iter().all(|(_, count)| *count == 0));
    scene.stop();
}
