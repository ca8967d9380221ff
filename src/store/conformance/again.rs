//! Operations on deliveries that wait, were delivered, or are missing.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId, OrderBy, OrderKey};
use crate::store::conformance::NewStore;
use crate::store::conformance::scene::{DAY, Scene, event, event_of, event_to};
use crate::store::types::{
    AdvanceBulk, BulkFilter, BulkId, BulkTally, Claimed, DestinationChange, FilteredTime,
    ListQuery, NewBulk, NoRouting, OutboundMessage, Release, Routing, StateSet, StoredAttempt,
};

const MINUTE: Duration = Duration::from_secs(60);

/// The entries of an event's history at a destination.
fn history(scene: &Scene, id: IntentId, destination: &str) -> Vec<StoredAttempt> {
    let intent = scene.intent(id).expect("it is stored");
    let mut deliveries = intent.deliveries.into_iter();
    let found = deliveries.find(|one| one.destination == destination);
    found.map(|one| one.history).unwrap_or_default()
}

fn outcomes(scene: &Scene, id: IntentId, destination: &str) -> Vec<&'static str> {
    let history = history(scene, id, destination);
    history.iter().map(|entry| entry.outcome).collect()
}

/// The tallies of operations, how many deliveries they left in flight, and whether they ended.
fn tallies(scene: &Scene, ids: &[BulkId]) -> Vec<(BulkTally, i64, bool)> {
    let all = scene.operator().bulk_operations(ids).expect("a read");
    let shown = all.into_iter();
    shown
        .map(|one| (one.tally, one.in_flight, one.ended_at.is_some()))
        .collect()
}

fn done(done: i64) -> BulkTally {
    BulkTally {
        done,
        ..BulkTally::default()
    }
}

/// Advances all operations by a step, as a server does that delivers.
fn advance(scene: &Scene, routing: &dyn Routing) {
    let step = AdvanceBulk {
        is_paced: true,
        after: None,
        routing,
    };
    let reader = scene.store.reader();
    scene.store.advance_bulk(&reader, &step).expect("a step");
}

/// Claims one delivery of a destination.
fn claim_one(scene: &mut Scene, destination: &str) -> Claimed {
    let destination = scene.destination(destination);
    scene.claim(destination, 1)[0]
}

pub fn delivered_deliveries_are_replayed_once_by_an_operation_that_survives_restarts(
    new: NewStore,
) {
    const EVENTS: usize = 250;
    let mut scene = Scene::new(new);
    let events = (0..EVENTS).map(|key| event_of("s", &key.to_string(), &["d"]));
    let ids = scene.accept_all(events);
    scene.deliver_due();
    scene.clock.advance(MINUTE);
    let jobs = scene.create(NewBulk::replay(BulkFilter::of(StateSet::DELIVERED)));
    assert_eq!(jobs.len(), 1);
    let mut steps = 0;
    while !tallies(&scene, &jobs)[0].2 {
        scene.advance_bulk();
        // A delivery that arrives again meanwhile does not belong to the operation.
        scene.deliver_due();
        scene.clock.advance(MINUTE);
        scene.restart();
        steps += 1;
        assert!(steps < 20, "it ends");
    }
    assert!(steps > 2, "in steps");
    assert_eq!(tallies(&scene, &jobs), [(done(250), 0, true)]);
    for id in &ids {
        assert_eq!(
            outcomes(&scene, *id, "d"),
            ["delivered", "replayed", "delivered"]
        );
    }
    // The same once more does it once more.
    scene.create(NewBulk::replay(BulkFilter {
        until: scene.intent(ids[9]).expect("stored").created_at,
        ..BulkFilter::of(StateSet::DELIVERED)
    }));
    scene.finish_bulk();
    assert!(!scene.list(Some(DeliveryState::Queued)).is_empty());
    scene.stop();
}

pub fn an_operation_reads_on_where_it_stood_after_a_restart(new: NewStore) {
    let mut scene = Scene::new(new);
    let events = (0..250).map(|key| event_of("s", &key.to_string(), &["d"]));
    scene.accept_all(events);
    scene.deliver_due();
    scene.clock.advance(MINUTE);
    // Nothing of it changes: only its place says how far it has come.
    let new = || NewBulk::send_to("d".to_owned(), BulkFilter::events());
    let jobs = scene.create(new());
    scene.advance_bulk();
    let skipped = |scene: &Scene| tallies(scene, &jobs)[0].0.skipped;
    let first = skipped(&scene);
    assert!((1..250).contains(&first), "{first}: in steps");
    scene.restart();
    scene.finish_bulk();
    assert_eq!(skipped(&scene), 250, "each was looked at once");
    scene.stop();
}

pub fn an_event_is_sent_to_another_destination_once(new: NewStore) {
    let mut scene = Scene::new(new);
    let [first, second] = ["1", "2"].map(|key| scene.accept(event_of("s", key, &["d"])));
    let has_one = scene.accept(event_of("s", "3", &["d", "new"]));
    let other = scene.accept(event_of("other", "1", &["d"]));
    scene.deliver_due();
    let gone = scene.accept(event_of("s", "4", &["d"]));
    scene.dead_letter_due("e");
    scene.operator().discard(gone).expect("discarded");
    scene.clock.advance(MINUTE);
    let backfill = || {
        let filter = BulkFilter {
            source: Some("s".to_owned()),
            ..BulkFilter::events()
        };
        NewBulk::send_to("new".to_owned(), filter)
    };
    let preview = scene.operator().preview_bulk(&backfill(), &NoRouting);
    let preview = preview.expect("a preview");
    assert_eq!(
        (preview.skipped, preview.total()),
        (1, 2),
        "one has no payload"
    );
    assert_eq!(preview.first[0].id, first);
    let jobs = scene.create(backfill());
    scene.finish_bulk();
    let tally = BulkTally {
        done: 2,
        skipped: 1,
        payload_gone: 1,
        in_flight: 0,
    };
    assert_eq!(tallies(&scene, &jobs), [(tally, 0, true)]);
    for id in [first, second] {
        assert_eq!(outcomes(&scene, id, "new"), ["replayed"]);
    }
    assert!(history(&scene, other, "new").is_empty());
    assert_eq!(outcomes(&scene, has_one, "new"), ["delivered"]);
    assert_eq!(scene.claim_due().len(), 2);
    // A second backfill sends nothing.
    scene.clock.advance(MINUTE);
    let jobs = scene.create(backfill());
    scene.finish_bulk();
    let tally = BulkTally {
        done: 0,
        skipped: 3,
        payload_gone: 1,
        in_flight: 0,
    };
    assert_eq!(tallies(&scene, &jobs), [(tally, 0, true)]);
    // By its id, too; a dry run tells what follows.
    let new = NewBulk::send_to("new".to_owned(), BulkFilter::events());
    assert_eq!(foreseen_and_done(&scene, other, &new), done(1));
    assert_eq!(foreseen_and_done(&scene, other, &new).skipped, 1);
    assert_eq!(foreseen_and_done(&scene, gone, &new).payload_gone, 1);
    scene.stop();
}

/// The tally of an operation on one event, which a dry run has foretold.
fn foreseen_and_done(scene: &Scene, id: IntentId, new: &NewBulk) -> BulkTally {
    let mut operator = scene.operator();
    let foreseen = operator.preview_on(id, new, &NoRouting).expect("an answer");
    let made = operator.act_on(id, new, &NoRouting).expect("an answer");
    assert_eq!(foreseen, made, "{id}");
    made.expect("it is stored").tally
}

pub fn a_dry_run_on_one_event_tells_what_the_operation_would_do(new: NewStore) {
    let mut scene = Scene::new(new);
    let dead = scene.accept(event("d"));
    scene.dead_letter_due("e");
    let waits = scene.accept(event_to(&["old", "new"]));
    let moves = scene.accept(event("old"));
    scene.clock.advance(MINUTE);
    let reroute = || NewBulk::reroute("old".to_owned(), "new".to_owned(), BulkFilter::waiting());
    assert_eq!(foreseen_and_done(&scene, waits, &reroute()).skipped, 1);
    assert_eq!(foreseen_and_done(&scene, moves, &reroute()), done(1));
    assert_eq!(
        foreseen_and_done(&scene, moves, &reroute()),
        BulkTally::default()
    );
    let erase = NewBulk::erase(BulkFilter::events());
    assert_eq!(foreseen_and_done(&scene, dead, &erase), done(1));
    assert_eq!(foreseen_and_done(&scene, dead, &erase).skipped, 1);
    // The dead letter is still there, and nothing to send.
    let replay = NewBulk::replay(BulkFilter::dead_letters());
    assert_eq!(foreseen_and_done(&scene, dead, &replay).payload_gone, 1);
    // An attempt is waited for.
    scene.claim_due();
    let mut operator = scene.operator();
    let foreseen = operator
        .preview_on(moves, &erase, &NoRouting)
        .expect("an answer");
    assert_eq!(
        foreseen,
        operator
            .act_on(moves, &erase, &NoRouting)
            .expect("an answer")
    );
    assert_eq!(
        foreseen.map(|one| (one.tally.done, one.in_flight)),
        Some((0, 1))
    );
    scene.stop();
}

/// Wants every event at these destinations, in the order of all events.
struct Wants(&'static [&'static str]);

impl Routing for Wants {
    fn route(&self, _event: &OutboundMessage) -> Arc<[String]> {
        self.0.iter().map(|&name| name.to_owned()).collect()
    }

    fn is_deliverable(&self, _destination: &str) -> bool {
        true
    }

    fn has_order(&self, _destination: &str) -> bool {
        true
    }

    fn order_key(&self, _destination: &str, _event: &OutboundMessage) -> Option<OrderKey> {
        OrderBy::All.key(&crate::model::KeySource {
            source: None,
            document: None,
            header: &|_| None,
        })
    }
}

pub fn todays_routes_create_the_deliveries_that_are_missing(new: NewStore) {
    let mut scene = Scene::new(new);
    let ids = ["1", "2"].map(|key| scene.accept(event_of("s", key, &["d"])));
    scene.deliver_due();
    scene.clock.advance(MINUTE);
    let routing = Wants(&["d", "e", "f", "e"]);
    let jobs = scene.create(NewBulk::route(BulkFilter::events()));
    while !tallies(&scene, &jobs)[0].2 {
        advance(&scene, &routing);
    }
    assert_eq!(tallies(&scene, &jobs), [(done(4), 0, true)]);
    for id in ids {
        let intent = scene.intent(id).expect("it is stored");
        assert_eq!(intent.deliveries.len(), 3);
        assert_eq!(outcomes(&scene, id, "d"), ["delivered"]);
    }
    // They stand in line at their new destinations.
    let claimed = scene.claim_due();
    assert!(claimed.iter().all(|one| one.intent.0 == ids[0].row()));
    assert_eq!(claimed.len(), 2);
    scene.stop();
}

pub fn a_retry_makes_due_what_waits_and_keeps_its_budget(new: NewStore) {
    let mut scene = Scene::new(new);
    let id = scene.accept(event("d"));
    scene.settle_due(|scene, claimed| scene.retry(claimed, DAY * 10_000));
    scene.clock.advance(MINUTE);
    let due = scene.accept(event("d"));
    scene.clock.advance(MINUTE);
    let retry = || NewBulk::retry(BulkFilter::waiting());
    let preview = scene.operator().preview_bulk(&retry(), &NoRouting);
    let preview = preview.expect("a preview");
    assert_eq!(preview.counts, [("d".to_owned(), 1)]);
    assert_eq!((preview.skipped, preview.first.len()), (1, 1));
    let jobs = scene.create(retry());
    scene.finish_bulk();
    let tally = BulkTally {
        done: 1,
        skipped: 1,
        payload_gone: 0,
        in_flight: 0,
    };
    assert_eq!(tallies(&scene, &jobs), [(tally, 0, true)]);
    assert_eq!(scene.states(id), [(DeliveryState::Retrying, 1)]);
    assert_eq!(outcomes(&scene, id, "d"), ["transient", "replayed"]);
    assert!(outcomes(&scene, due, "d").is_empty());
    let claimed = scene.claim_due();
    assert_eq!(claimed.len(), 2);
    assert!(
        claimed.iter().any(|one| one.attempt == 2),
        "its budget goes on"
    );
    // By its id: once, then it is due already.
    let settled = claimed.into_iter();
    let settled = settled.map(|one| scene.retry(one, DAY * 10_000)).collect();
    scene.settle(settled);
    scene.clock.advance(MINUTE);
    let mut operator = scene.operator();
    let of_one = operator
        .act_on(id, &retry(), &NoRouting)
        .expect("an answer");
    assert_eq!(of_one.map(|one| one.tally), Some(done(1)));
    let of_one = operator
        .act_on(id, &retry(), &NoRouting)
        .expect("an answer");
    assert_eq!(of_one.map(|one| one.tally.skipped), Some(1));
    scene.stop();
}

pub fn a_reroute_moves_what_waits_with_its_history(new: NewStore) {
    let mut scene = Scene::new(new);
    let tried = scene.accept(event("old"));
    scene.settle_due(|scene, claimed| scene.retry(claimed, DAY));
    let queued = scene.accept(event("old"));
    let has_one = scene.accept(event_to(&["old", "new"]));
    let elsewhere = scene.accept(event("other"));
    scene.clock.advance(MINUTE);
    let jobs = scene.create(NewBulk::reroute(
        "old".to_owned(),
        "new".to_owned(),
        BulkFilter::waiting(),
    ));
    scene.finish_bulk();
    let tally = BulkTally {
        done: 2,
        skipped: 1,
        payload_gone: 0,
        in_flight: 0,
    };
    assert_eq!(tallies(&scene, &jobs), [(tally, 0, true)]);
    assert_eq!(outcomes(&scene, tried, "new"), ["transient", "replayed"]);
    let moved = history(&scene, tried, "new");
    let last = moved.last().and_then(|entry| entry.next.as_deref());
    assert!(
        last.is_some_and(|next| next.contains("rerouted from old")),
        "{last:?}"
    );
    for id in [tried, queued] {
        let intent = scene.intent(id).expect("it is stored");
        assert_eq!(intent.deliveries.len(), 1);
        assert_eq!(intent.deliveries[0].destination, "new");
        assert_eq!(scene.states(id), [(DeliveryState::Queued, 0)]);
    }
    assert_eq!(scene.states(has_one).len(), 2);
    assert_eq!(scene.states(elsewhere), [(DeliveryState::Queued, 0)]);
    scene.deliver_due();
    assert_eq!(
        outcomes(&scene, tried, "new"),
        ["transient", "replayed", "delivered"]
    );
    scene.stop();
}

pub fn deliveries_that_come_back_from_flight_are_discarded_too(new: NewStore) {
    let mut scene = Scene::new(new);
    let waits = scene.accept(event("d"));
    let flies = scene.accept(event("d"));
    // The older one is claimed first.
    let claimed = claim_one(&mut scene, "d");
    let (waits, flies) = if claimed.intent.0 == waits.row() {
        (flies, waits)
    } else {
        (waits, flies)
    };
    scene.clock.advance(MINUTE);
    let jobs = scene.create(NewBulk::discard(BulkFilter::waiting()));
    assert_eq!(scene.bulk(&jobs), [(0, 2, false, false)]);
    // Accepted later, and so none of it.
    scene.clock.advance(MINUTE);
    advance(&scene, &NoRouting);
    let later = scene.accept(event("d"));
    for _ in 0..3 {
        advance(&scene, &NoRouting);
    }
    assert_eq!(tallies(&scene, &jobs)[0], (done(1), 1, false));
    assert_eq!(scene.states(waits)[0].0, DeliveryState::DeadLettered);
    scene.change(Vec::new(), vec![Release::untouched(&claimed)], Vec::new());
    for _ in 0..4 {
        scene.clock.advance(Duration::from_secs(1));
        advance(&scene, &NoRouting);
    }
    assert_eq!(tallies(&scene, &jobs), [(done(2), 0, true)]);
    assert_eq!(scene.states(flies)[0].0, DeliveryState::DeadLettered);
    assert_eq!(scene.states(later)[0].0, DeliveryState::Queued);
    scene.stop();
}

pub fn deliveries_that_stay_in_flight_are_left_and_reported(new: NewStore) {
    let mut scene = Scene::new(new);
    let id = scene.accept(event("d"));
    scene.clock.advance(MINUTE);
    scene.claim_due();
    let jobs = scene.create(NewBulk::discard(BulkFilter::waiting()));
    let mut seconds = 0;
    while !tallies(&scene, &jobs)[0].2 {
        advance(&scene, &NoRouting);
        scene.clock.advance(Duration::from_secs(1));
        seconds += 1;
        assert!(seconds < 60, "it ends");
    }
    assert!(seconds >= 30, "{seconds}: it looks again for half a minute");
    assert_eq!(tallies(&scene, &jobs), [(BulkTally::default(), 1, true)]);
    assert_eq!(scene.states(id)[0].0, DeliveryState::Processing);
    scene.stop();
}

pub fn a_request_made_twice_is_one_operation(new: NewStore) {
    let mut scene = Scene::new(new);
    scene.accept(event_to(&["a", "b"]));
    scene.dead_letter_due("e");
    let request = |nonce: &str| NewBulk {
        nonce: Some(nonce.to_owned()),
        ..NewBulk::replay(scene.all_dead_letters())
    };
    let first = scene.create(request("one"));
    assert_eq!(first.len(), 2);
    assert_eq!(scene.create(request("one")), first);
    assert_ne!(scene.create(request("two")), first);
    scene.stop();
}

pub fn filters_select_by_type_and_say_which_time_they_compare(new: NewStore) {
    let scene = Scene::new(new);
    for (key, event_type) in [
        ("1", "invoice.paid"),
        ("2", "invoice.open"),
        ("3", "charge"),
    ] {
        let mut typed = event_of("s", key, &["d"]);
        typed.event_type = Some(event_type.to_owned());
        scene.accept(typed);
    }
    scene.accept(event("d"));
    scene.clock.advance(MINUTE);
    let count = |event_type: &str| {
        let new = NewBulk::discard(BulkFilter {
            event_type: Some(event_type.to_owned()),
            ..BulkFilter::waiting()
        });
        let found = scene.operator().preview_bulk(&new, &NoRouting);
        let found = found.expect("a preview");
        let count = found.counts.iter().map(|(_, count)| count).sum::<i64>();
        // A list by the same type has the same deliveries, in whichever way they are found.
        for state in [None, Some(DeliveryState::Queued)] {
            let query = ListQuery {
                state,
                event_type: Some(event_type.to_owned()),
                limit: 100,
                ..ListQuery::default()
            };
            let listed = scene.operator().list(&query).expect("a list");
            assert_eq!(i64::try_from(listed.len()), Ok(count), "{event_type}");
        }
        count
    };
    assert_eq!(
        ["invoice.*", "invoice.paid", "charge", "*", "x"].map(count),
        [2, 1, 1, 3, 0]
    );
    let time = |new: NewBulk| new.filter.time(new.action);
    let dead = BulkFilter::dead_letters;
    assert_eq!(time(NewBulk::replay(dead())), FilteredTime::GivenUp);
    assert_eq!(time(NewBulk::route(dead())), FilteredTime::Accepted);
    assert_eq!(
        time(NewBulk::retry(BulkFilter::waiting())),
        FilteredTime::Accepted
    );
    scene.stop();
}

pub fn a_probe_that_an_operator_asks_for_is_stored(new: NewStore) {
    let mut scene = Scene::new(new);
    scene.accept(event("d"));
    let claimed = claim_one(&mut scene, "d");
    let change = DestinationChange {
        breaker: Some(crate::model::BreakerChange::Open(DAY * 10_000)),
        hold_until: Some(scene.now().plus(DAY * 10_000)),
        ..DestinationChange::default()
    };
    let record = scene.record(&claimed, Some("e"));
    let at: Timestamp = scene.now();
    let retry = crate::store::types::Settlement::retry(claimed.claim(), record, at, change);
    scene.settle(vec![retry]);
    scene.clock.advance(MINUTE);
    let stats = |scene: &Scene| scene.operator().stats().expect("a read").remove(0);
    assert!(stats(&scene).probe_at > Some(scene.operator().now()));
    assert!(scene.operator().probe_now("d").expect("committed"));
    let stored = stats(&scene);
    assert!(
        stored
            .probe_at
            .is_some_and(|at| at <= scene.operator().now())
    );
    assert_eq!(stored.held_until, None);
    assert!(!scene.operator().probe_now("unknown").expect("committed"));
    scene.stop();
}

pub fn an_unrouted_event_that_is_sent_somewhere_is_unrouted_no_more(new: NewStore) {
    let scene = Scene::new(new);
    let sent = scene.accept(event_to(&[]));
    let routed = scene.accept(event_to(&[]));
    scene.clock.advance(MINUTE);
    let unrouted = |scene: &Scene| scene.operator().count_unrouted().expect("a count");
    assert_eq!(unrouted(&scene), 2);
    let mut operator = scene.operator();
    let to = NewBulk::send_to("d".to_owned(), BulkFilter::events());
    let of_one = operator.act_on(sent, &to, &NoRouting).expect("an answer");
    assert_eq!(of_one.map(|one| one.tally), Some(done(1)));
    assert_eq!(unrouted(&scene), 1);
    let jobs = scene.create(NewBulk::route(BulkFilter::events()));
    while !tallies(&scene, &jobs)[0].2 {
        advance(&scene, &Wants(&["d"]));
    }
    assert_eq!(tallies(&scene, &jobs), [(done(1), 0, true)]);
    assert_eq!(unrouted(&scene), 0);
    assert_eq!(outcomes(&scene, routed, "d"), ["replayed"]);
    scene.stop();
}
