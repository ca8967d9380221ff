//! The results of attempts are recorded.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::model::{BreakerChange, DeliveryState, FailureKind, OrderKey};
use crate::store::conformance::NewStore;
use crate::store::conformance::accepting::runtime;
use crate::store::conformance::scene::{DAY, Scene, event};
use crate::store::limits::MAX_ROWS;
use crate::store::types::{
    Accept, AttemptRecord, ClaimRequest, Claimed, DestinationChange, DueScan, Release,
    ReplacedDestinations, Resumed, Settlement,
};

const MINUTE: Duration = Duration::from_secs(60);

pub fn each_outcome_moves_the_delivery_and_is_recorded(new: NewStore) {
    let mut scene = Scene::new(new);
    let id = scene.accept(event("d"));
    let destination = scene.destination("d");
    let claimed = scene.claim(destination, 1)[0];
    let retry = scene.retry(claimed, MINUTE);
    scene.settle(vec![retry]);
    assert_eq!(scene.states(id), [(DeliveryState::Retrying, 1)]);
    let delivery = &scene.intent(id).expect("it is stored").deliveries[0];
    assert_eq!(delivery.next_attempt_at, Some(scene.now().plus(MINUTE)));
    assert_eq!(delivery.last_error.as_deref(), Some("answered 500"));
    let entry = &delivery.history[0];
    assert_eq!(
        (entry.attempt, entry.started_at, entry.duration_ms),
        (1, scene.now(), 3)
    );
    assert_eq!((entry.outcome, entry.status_code), ("transient", Some(500)));
    assert_eq!(entry.error.as_deref(), Some("answered 500"));
    assert_eq!(entry.response.as_deref(), Some(&b"answer"[..]));
    assert_eq!(entry.failure.as_deref(), Some("status"));
    assert_eq!(entry.address.as_deref(), Some("127.0.0.1"));
    let connect = (entry.resolve_ms, entry.connect_ms, entry.tls_ms);
    assert_eq!(connect, (Some(1), Some(2), Some(1)));
    assert_eq!(entry.first_byte_ms, Some(2));
    assert_eq!(entry.next.as_deref(), Some("next step"));

    scene.clock.advance(MINUTE);
    let claimed = scene.claim(destination, 1)[0];
    let dead = scene.dead_letter(claimed, "answered 410");
    scene.settle(vec![dead]);
    assert_eq!(scene.states(id), [(DeliveryState::DeadLettered, 2)]);
    let delivery = &scene.intent(id).expect("it is stored").deliveries[0];
    assert_eq!(delivery.next_attempt_at, None);
    assert_eq!(delivery.updated_at, scene.now());
    assert_eq!(delivery.last_error.as_deref(), Some("answered 410"));
    assert_eq!(delivery.history[1].outcome, "permanent");

    assert_eq!(scene.store.replay(id).expect("replayed"), 1);
    let claimed = scene.claim(destination, 1)[0];
    assert_eq!((claimed.attempt, claimed.history), (1, 3));
    let delivered = scene.delivered(claimed);
    scene.settle(vec![delivered]);
    assert_eq!(scene.states(id), [(DeliveryState::Delivered, 1)]);
    let stored = scene.intent(id).expect("it is stored");
    let outcomes = stored.deliveries[0]
        .history
        .iter()
        .map(|entry| entry.outcome);
    let outcomes: Vec<_> = outcomes.collect();
    assert_eq!(
        outcomes,
        ["transient", "permanent", "replayed", "delivered"]
    );
    scene.stop();
}

pub fn a_settlement_of_another_claim_changes_nothing(new: NewStore) {
    let mut scene = Scene::new(new);
    let id = scene.accept(event("d"));
    let destination = scene.destination("d");
    let late = scene.claim(destination, 1)[0];
    scene.change(Vec::new(), vec![Release::untouched(&late)], Vec::new());
    let settlements = [
        scene.delivered(late),
        scene.dead_letter(late, "late"),
        scene.retry(late, MINUTE),
    ];
    let before = scene.now();
    for settlement in settlements.clone() {
        scene.settle(vec![settlement]);
        assert_eq!(
            scene.states(id),
            [(DeliveryState::Queued, 0)],
            "it is queued"
        );
    }
    let claimed = scene.claim(destination, 1)[0];
    for settlement in settlements {
        scene.settle(vec![settlement]);
        assert_eq!(
            scene.states(id),
            [(DeliveryState::Processing, 1)],
            "another's"
        );
    }
    let delivered = scene.delivered(claimed);
    scene.settle(vec![delivered.clone()]);
    scene.clock.advance(MINUTE);
    scene.settle(vec![delivered]);
    let delivery = &scene.intent(id).expect("it is stored").deliveries[0];
    assert_eq!(
        (delivery.state, delivery.updated_at),
        (DeliveryState::Delivered, before)
    );
    assert_eq!(delivery.history.len(), 1, "settled once");
    scene.stop();
}

pub fn a_late_settlement_leaves_a_finished_delivery_as_it_is(new: NewStore) {
    let mut scene = Scene::new(new);
    for end in [DeliveryState::Delivered, DeliveryState::DeadLettered] {
        let id = scene.accept(event("d"));
        let destination = scene.destination("d");
        let late = scene.claim(destination, 1)[0];
        scene.change(Vec::new(), vec![Release::untouched(&late)], Vec::new());
        let claimed = scene.claim(destination, 1)[0];
        let settlement = match end {
            DeliveryState::Delivered => scene.delivered(claimed),
            _ => scene.dead_letter(claimed, "answered 400"),
        };
        scene.settle(vec![settlement]);
        let settlements = [
            scene.delivered(late),
            scene.dead_letter(late, "late"),
            scene.retry(late, MINUTE),
        ];
        for settlement in settlements {
            scene.settle(vec![settlement]);
            let delivery = &scene.intent(id).expect("it is stored").deliveries[0];
            assert_eq!((delivery.state, delivery.history.len()), (end, 1));
        }
    }
    scene.stop();
}

pub fn a_delivery_is_claimed_in_the_transaction_that_settles_another(new: NewStore) {
    let mut scene = Scene::new(new);
    let (first, second) = (scene.accept(event("d")), scene.accept(event("d")));
    let destination = scene.destination("d");
    let claimed = scene.claim(destination, 1)[0];
    let settlement = scene.retry(claimed, Duration::ZERO);
    let request = ClaimRequest {
        destination,
        begin: 2,
        prefetch: 0,
    };
    // The delivery that was settled is due again at once.
    let claimed = scene.change(vec![settlement], Vec::new(), vec![request]);
    let mut attempts: Vec<_> = claimed.iter().map(|one| one.attempt).collect();
    attempts.sort_unstable();
    assert_eq!(attempts, [1, 2]);
    for id in [first, second] {
        assert_eq!(scene.states(id)[0].0, DeliveryState::Processing);
    }
    scene.stop();
}

pub fn many_settlements_are_made_in_steps_and_all_are_durable(new: NewStore) {
    const EVENTS: usize = 1_500;
    let mut scene = Scene::new(new);
    scene.accept_all((0..EVENTS).map(|n| event(if n % 3 == 0 { "a" } else { "b" })));
    scene.deliver_due();
    assert_eq!(scene.list(Some(DeliveryState::Delivered)).len(), EVENTS);
    scene.restart();
    assert_eq!(scene.list(Some(DeliveryState::Delivered)).len(), EVENTS);
    scene.stop();
}

pub fn a_history_keeps_its_latest_entries(new: NewStore) {
    const KEPT: usize = 50;
    let mut scene = Scene::new(new);
    let id = scene.accept(event("d"));
    for _ in 0..KEPT + 3 {
        scene.settle_due(|scene, claimed| scene.retry(claimed, Duration::ZERO));
    }
    let delivery = &scene.intent(id).expect("it is stored").deliveries[0];
    let attempts: Vec<_> = delivery.history.iter().map(|entry| entry.attempt).collect();
    let latest = 4..=u32::try_from(KEPT + 3).expect("small");
    assert_eq!(attempts, latest.collect::<Vec<_>>());
    scene.stop();
}

pub fn failures_are_remembered_until_a_replay(new: NewStore) {
    let mut scene = Scene::new(new);
    let id = scene.accept(event("d"));
    let destination = scene.destination("d");
    let failed_by = |scene: &Scene, claimed: Claimed, failure: FailureKind| {
        let record = AttemptRecord {
            failure: Some(failure.name()),
            ..scene.record(&claimed, Some("failed"))
        };
        Settlement::retry(
            claimed.claim(),
            record,
            scene.now(),
            DestinationChange::default(),
        )
    };
    let claimed = scene.claim(destination, 1)[0];
    let intent = claimed.intent;
    let has_failed = |scene: &Scene, failure| {
        let reader = scene.store.reader();
        let found = reader.has_failed_with(intent, destination, failure);
        found.expect("a read")
    };
    assert!(!has_failed(&scene, FailureKind::Timeout));
    let settlement = failed_by(&scene, claimed, FailureKind::Timeout);
    scene.settle(vec![settlement]);
    assert!(has_failed(&scene, FailureKind::Timeout));
    assert!(!has_failed(&scene, FailureKind::Refused));
    let claimed = scene.claim(destination, 1)[0];
    let dead = scene.dead_letter(claimed, "given up");
    scene.settle(vec![dead]);
    assert!(
        has_failed(&scene, FailureKind::Timeout),
        "other failures came since"
    );
    scene.store.replay(id).expect("replayed");
    assert!(!has_failed(&scene, FailureKind::Timeout), "a fresh budget");
    scene.stop();
}

pub fn a_hold_or_a_pause_prevents_claims_of_the_same_change(new: NewStore) {
    let mut scene = Scene::new(new);
    for name in ["held", "paused", "neither"] {
        scene.accept(event(name));
        scene.accept(event(name));
    }
    let until = scene.now().plus(MINUTE);
    let names = ["held", "paused", "neither"];
    let ids = names.map(|name| scene.destination(name));
    let mut settlements = Vec::new();
    for (name, id) in names.into_iter().zip(ids) {
        let claimed = scene.claim(id, 1)[0];
        let change = DestinationChange {
            hold_until: (name == "held").then_some(until),
            pause: (name == "paused").then_some("gone"),
            ..DestinationChange::default()
        };
        let record = scene.record(&claimed, Some("answered 503"));
        settlements.push(Settlement::retry(claimed.claim(), record, until, change));
    }
    let requests = ids.map(|destination| ClaimRequest {
        destination,
        begin: 10,
        prefetch: 0,
    });
    let claimed = scene.change(settlements, Vec::new(), requests.to_vec());
    let of: Vec<_> = claimed.iter().map(|one| one.destination).collect();
    assert_eq!(of, [ids[2]]);
    scene.clock.advance(MINUTE);
    assert_eq!(scene.claim(ids[0], 10).len(), 2, "the hold is over");
    assert!(scene.claim(ids[1], 10).is_empty(), "the pause is not");
    scene.stop();
}

/// Hold, time of the next probe, and whether it is proven, of each destination by its name.
fn kept_back(scene: &Scene) -> Vec<(Option<Timestamp>, Option<Timestamp>, bool)> {
    let stats = scene.operator().stats().expect("a read");
    let newcomers = stats
        .iter()
        .map(|one| scene.destination(&one.destination))
        .collect();
    let scan = DueScan {
        newcomers: &newcomers,
        cursor: None,
        at_most: 0,
        names: &[],
    };
    let found = scene.store.reader().scan(&scan).expect("a scan");
    let is_proven = |name: &str| {
        let id = scene.destination(name);
        let mut origins = found.newcomers.iter();
        origins.any(|origin| origin.id == id && origin.is_proven)
    };
    let each = stats.iter();
    each.map(|one| (one.held_until, one.probe_at, is_proven(&one.destination)))
        .collect()
}

pub fn a_reload_forgets_what_a_replaced_server_asked_for_and_brings_probes_forward(new: NewStore) {
    let mut scene = Scene::new(new);
    let (now, until) = (scene.now(), scene.now().plus(MINUTE));
    for (name, hold_until, breaker) in [
        ("calm", None, None),
        ("held", Some(until), None),
        ("open", None, Some(BreakerChange::Open(MINUTE))),
    ] {
        scene.accept(event(name));
        let claimed = scene.claim(scene.destination(name), 1)[0];
        let record = scene.record(&claimed, Some("answered 503"));
        let change = DestinationChange {
            hold_until,
            breaker,
            is_proven: Some(true),
            pause: None,
        };
        let later = now.plus(DAY);
        scene.settle(vec![Settlement::retry(
            claimed.claim(),
            record,
            later,
            change,
        )]);
    }
    let (calm, held) = ((None, None, true), (Some(until), None, true));
    assert_eq!(kept_back(&scene), [calm, held, (None, Some(until), true)]);
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let replace = |moved: &[&str], changed: &[&str]| {
        let replaced = ReplacedDestinations {
            moved: names(moved),
            changed: names(changed),
        };
        let step = || scene.store.replace_destinations(&replaced);
        while !step().expect("recorded") {}
    };
    replace(&[], &["calm", "held", "open", "unknown"]);
    assert_eq!(kept_back(&scene), [calm, held, (None, Some(now), true)]);
    // A destination that a first reload has changed and a second one has moved is in both.
    replace(&["held", "open", "unknown"], &["calm", "held", "open"]);
    let forgotten = (None, None, false);
    assert_eq!(kept_back(&scene), [calm, forgotten, forgotten]);
    scene.stop();
}

pub fn a_hold_a_pause_and_a_breaker_are_stored_with_the_destination(new: NewStore) {
    let mut scene = Scene::new(new);
    for _ in 0..5 {
        scene.accept(event("d"));
    }
    let destination = scene.destination("d");
    let mut claimed = scene.claim_due();
    let mut change = |scene: &mut Scene, change: DestinationChange| {
        let claimed = claimed.pop().expect("five are claimed");
        let record = scene.record(&claimed, Some("answered 503"));
        let at = scene.now().plus(DAY);
        scene.settle(vec![Settlement::retry(claimed.claim(), record, at, change)]);
        let mut found = scene
            .store
            .reader()
            .due([destination].into_iter(), scene.now(), 1);
        found
            .as_mut()
            .expect("a read")
            .pop()
            .expect("an answer")
            .expect("it is stored")
    };
    let until = scene.now().plus(MINUTE);
    let held = DestinationChange {
        hold_until: Some(until),
        ..DestinationChange::default()
    };
    assert_eq!(change(&mut scene, held).held_until, Some(until));
    let shorter = DestinationChange {
        hold_until: Some(scene.now()),
        ..DestinationChange::default()
    };
    let backlog = change(&mut scene, shorter);
    assert_eq!(backlog.held_until, Some(until), "the longer hold counts");
    let open = DestinationChange {
        breaker: Some(BreakerChange::Open(MINUTE)),
        is_proven: Some(true),
        ..DestinationChange::default()
    };
    assert_eq!(change(&mut scene, open).probe, Some((until, MINUTE)));
    let closed = DestinationChange {
        breaker: Some(BreakerChange::Closed),
        ..DestinationChange::default()
    };
    assert_eq!(change(&mut scene, closed).probe, None);
    let paused = DestinationChange {
        pause: Some("it answered 410 Gone"),
        ..DestinationChange::default()
    };
    assert!(change(&mut scene, paused).is_paused);
    scene.restart();
    let stats = scene.operator().stats().expect("a read");
    assert_eq!(stats[0].paused.as_deref(), Some("it answered 410 Gone"));
    assert_eq!(
        (stats[0].held_until, stats[0].probe_at),
        (Some(until), None)
    );
    let newcomers = std::collections::HashSet::from([destination]);
    let scan = DueScan {
        newcomers: &newcomers,
        cursor: None,
        at_most: 1,
        names: &[],
    };
    let found = scene.store.reader().scan(&scan).expect("a scan");
    assert!(found.newcomers[0].is_proven);
    assert!(scene.operator().resume("d").expect("resumed"));
    let stats = scene.operator().stats().expect("a read");
    assert_eq!((&stats[0].paused, stats[0].held_until), (&None, None));
    assert!(
        !scene.operator().resume("d").expect("an answer"),
        "nothing is left"
    );
    scene.stop();
}

/// Ends the hold of a destination.
type Lift = fn(&Scene, String);

fn resume(scene: &Scene, name: String) {
    let resumed = runtime().block_on(scene.store.resume(name, None));
    assert_eq!(resumed.expect("a change"), Resumed::Now);
}

/// A reload moves it to another server.
fn move_on(scene: &Scene, name: String) {
    let replaced = ReplacedDestinations {
        moved: vec![name],
        changed: Vec::new(),
    };
    let step = || scene.store.replace_destinations(&replaced);
    while !step().expect("recorded") {}
}

pub fn deliveries_that_a_lifted_hold_kept_go_at_once(new: NewStore) {
    let mut scene = Scene::new(new);
    // A command's clock is the system's: the hold has to last beyond it.
    let hold = DAY * 20_000;
    let lift: [(&str, Lift); 4] = [
        ("resumed", resume),
        ("ordered", |scene, name| {
            assert!(scene.operator().resume(&name).expect("resumed"));
        }),
        ("probed", |scene, name| {
            assert!(scene.operator().probe_now(&name).expect("committed"));
        }),
        ("moved", move_on),
    ];
    for (name, lift) in lift {
        let key = (0, OrderKey::from_number(1));
        let in_line = |name| Accept {
            order_keys: vec![key],
            ..event(name)
        };
        let sent = [event(name), event(name), in_line(name)];
        let sent = sent.map(|one| scene.accept(one));
        let behind = scene.accept(in_line(name));
        let destination = scene.destination(name);
        let waits = [hold, hold, hold + DAY];
        for (claimed, wait) in scene.claim(destination, 9).into_iter().zip(waits) {
            let record = scene.record(&claimed, Some("answered 503"));
            let change = DestinationChange {
                hold_until: Some(scene.now().plus(hold)),
                ..DestinationChange::default()
            };
            let at = scene.now().plus(wait);
            scene.settle(vec![Settlement::retry(claimed.claim(), record, at, change)]);
            scene.clock.advance(Duration::from_millis(1));
        }
        scene.clock.advance(MINUTE);
        assert!(scene.claim(destination, 9).is_empty(), "{name} is held");
        lift(&scene, name.to_owned());
        let found = scene.claim(destination, 9);
        let mut rows: Vec<_> = found.iter().map(|one| one.intent.0).collect();
        rows.sort_unstable();
        assert_eq!(rows, [sent[0].row(), sent[1].row()], "{name}");
        assert_eq!(scene.states(sent[2]), [(DeliveryState::Retrying, 1)]);
        let blocked = &scene.intent(behind).expect("it is stored").deliveries[0];
        assert_eq!(blocked.next_attempt_at, None, "it stays behind another");
    }
    scene.stop();
}

pub fn a_lifted_hold_brings_all_forward_that_retry_within_it(new: NewStore) {
    const EVENTS: usize = 2 * MAX_ROWS + 1;
    let mut scene = Scene::new(new);
    let hold = DAY * 20_000;
    let lift: [(&str, Lift); 3] = [
        ("resumed", resume),
        ("probed", |scene, name| {
            let probed = runtime().block_on(scene.store.probe_now(name));
            assert!(probed.expect("a change"));
        }),
        ("moved", move_on),
    ];
    for (name, lift) in lift {
        scene.accept_all((0..EVENTS).map(|_| event(name)));
        let destination = scene.destination(name);
        let claimed = scene.claim(destination, EVENTS);
        assert_eq!(claimed.len(), EVENTS);
        let change = DestinationChange {
            hold_until: Some(scene.now().plus(hold)),
            ..DestinationChange::default()
        };
        let at = scene.now().plus(MINUTE);
        let retries = claimed.iter().map(|claimed| {
            let record = scene.record(claimed, Some("answered 503"));
            Settlement::retry(claimed.claim(), record, at, change)
        });
        let retries = retries.collect();
        scene.settle(retries);
        lift(&scene, name.to_owned());
        assert_eq!(scene.claim(destination, EVENTS).len(), EVENTS, "{name}");
    }
    scene.stop();
}
