//! Ad hoc origins that nothing needs are forgotten.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::clock::Timestamp;
use crate::model::{BreakerChange, DeliveryState, IntentId, Surface};
use crate::store::OriginsPassStep;
use crate::store::conformance::NewStore;
use crate::store::conformance::scene::{DAY, Scene, event, event_to, try_accept};
use crate::store::types::{
    BulkAction, Claimed, DestinationChange, DestinationId, ImportedEvent, OriginsStage, Settlement,
    UnusedOrigins,
};
use crate::store::{Cutoffs, Reader};

const MINUTE: Duration = Duration::from_secs(60);

/// A pass, step by step.
struct Pass {
    pass: UnusedOrigins,
    reader: Reader,
}

impl Pass {
    fn new(scene: &Scene) -> Self {
        Self {
            pass: UnusedOrigins::new(),
            reader: scene.store.reader(),
        }
    }

    fn step(&mut self, scene: &Scene) -> OriginsPassStep {
        let step = scene
            .store
            .forget_unused_origins(&mut self.pass, &self.reader, scene.now());
        step.expect("a step")
    }
}

/// Deletes all finished intents, whatever their age.
fn prune_finished(scene: &Scene) {
    let end = Timestamp::from_millis(i64::MAX);
    scene.prune(&Cutoffs {
        delivered: Some(end),
        dead_lettered: Some(end),
        keys: Timestamp::from_millis(0),
    });
}

pub fn an_ad_hoc_origin_is_deleted_after_its_last_delivery(new: NewStore) {
    let mut scene = Scene::new(new);
    scene.accept(event("http://once"));
    scene.deliver_due();
    scene.clock.advance(DAY * 4);
    scene.accept(event_to(&["http://later", "named"]));
    scene.deliver_due();
    scene.clock.advance(DAY * 4);
    scene.sweep();
    assert_eq!(scene.size().0, 1);
    assert!(!scene.knows("http://once"));
    assert!(scene.knows("http://later") && scene.knows("named"));
    scene.clock.advance(DAY * 4);
    scene.sweep();
    assert!(!scene.knows("http://later"));
    assert!(scene.knows("named"), "named destinations stay");
    scene.stop();
}

pub fn only_origins_that_nothing_needs_are_deleted(new: NewStore) {
    let mut scene = Scene::new(new);
    let settled_with = |scene: &mut Scene, origin: &str, change: DestinationChange| {
        scene.accept(event(origin));
        let destination = scene.destination(origin);
        let claimed = scene.claim(destination, 1)[0];
        let delivered =
            Settlement::delivered(claimed.claim(), scene.record(&claimed, None), change);
        scene.settle(vec![delivered]);
    };
    let changed = |change: &dyn Fn(&mut DestinationChange)| {
        let mut changed = DestinationChange::default();
        change(&mut changed);
        changed
    };
    let (soon, late) = (scene.now().plus(MINUTE), scene.now().plus(DAY));
    for (origin, change) in [
        ("named", DestinationChange::default()),
        ("http://pruned", DestinationChange::default()),
        (
            "http://held",
            changed(&|change| change.hold_until = Some(late)),
        ),
        (
            "http://was-held",
            changed(&|change| change.hold_until = Some(soon)),
        ),
        (
            "http://broken",
            changed(&|change| change.breaker = Some(BreakerChange::Open(DAY))),
        ),
        (
            "http://was-broken",
            changed(&|change| change.breaker = Some(BreakerChange::Open(MINUTE))),
        ),
        (
            "http://paused",
            changed(&|change| change.pause = Some("gone")),
        ),
    ] {
        settled_with(&mut scene, origin, change);
    }
    scene.clock.advance(MINUTE * 2);
    // An operation on a dead letter that retention deletes.
    scene.accept(event("http://has-operation"));
    scene.dead_letter_due("e");
    scene.create_bulk(BulkAction::Replay, |_| {});
    prune_finished(&scene);
    // The newest is kept even if it is unused: its number must not be used again.
    for name in ["delivered", "dead", "claimed", "due", "newest"] {
        scene.accept(event(&format!("http://{name}")));
    }
    let newest = scene.destination("http://newest");
    let claim = |scene: &mut Scene, name: &str| {
        let destination = scene.destination(name);
        scene.claim(destination, 1)[0]
    };
    let ended = claim(&mut scene, "http://newest");
    scene.settle(vec![scene.delivered(ended)]);
    prune_finished(&scene);
    let ended = claim(&mut scene, "http://delivered");
    scene.settle(vec![scene.delivered(ended)]);
    let ended = claim(&mut scene, "http://dead");
    scene.settle(vec![scene.dead_letter(ended, "e")]);
    claim(&mut scene, "http://claimed");
    scene.forget_unused_origins();
    let expected = [
        ("named", true),
        ("http://pruned", false),
        ("http://held", true),
        ("http://was-held", false),
        ("http://broken", true),
        ("http://was-broken", false),
        ("http://paused", true),
        ("http://has-operation", true),
        ("http://delivered", true),
        ("http://dead", true),
        ("http://claimed", true),
        ("http://due", true),
        ("http://newest", true),
    ];
    for (origin, is_kept) in expected {
        assert_eq!(scene.knows(origin), is_kept, "{origin}");
    }
    // An origin that comes back has a new number.
    scene.accept(event("http://pruned"));
    assert!(scene.destination("http://pruned") > newest);
    scene.stop();
}

/// Uses origins before step 0, 1, 2 … of a pass, until a pass has no such step: each pass but that
/// one keeps them. `check` looks at the scene after each pass, and whether they were used in it.
fn use_before_each_step(
    new: NewStore,
    used: &[&str],
    using: impl Fn(&Scene, i64),
    check: impl Fn(&Scene, bool),
) {
    // More origins and deliveries than one step sees.
    const UNUSED: usize = 20;
    let mut scene = Scene::new(new);
    for at in 0.. {
        scene.accept_all((0..UNUSED).map(|n| event(&format!("http://{n}"))));
        scene.deliver_due();
        prune_finished(&scene);
        scene.accept_all((0..30).map(|_| event("named")));
        scene.accept(event(&format!("http://newest-{at}")));
        let mut pass = Pass::new(&scene);
        let (mut step, mut is_over) = (0, false);
        while !is_over {
            if step == at {
                using(&scene, at);
            }
            is_over = pass.step(&scene) == OriginsPassStep::Over;
            step += 1;
        }
        for name in used {
            let is_known = scene.knows(name);
            assert_eq!(is_known, at < step, "{name}, used before step {at}");
        }
        check(&scene, at < step);
        if at >= step {
            assert!(step > 3, "{step} steps: the scene is too small");
            break;
        }
    }
    scene.stop();
}

pub fn an_origin_used_during_a_pass_is_kept(new: NewStore) {
    let used = ["http://0", "http://7", "http://19"];
    let accept = |scene: &Scene, _| {
        for name in used {
            scene.accept(event(name));
        }
    };
    use_before_each_step(new, &used, accept, |scene, _| {
        assert!(!scene.knows("http://1"), "an unused one is deleted");
    });
}

/// Imports a delivered event beside the server, as a command does.
fn import_delivered(scene: &Scene, nth: i64, origin: &str) {
    let accepted_at = scene.now().minus(DAY);
    let row = IntentId::first_row_at(accepted_at.as_millis()) + nth;
    let record = serde_json::from_value(serde_json::json!({
        "id": Surface::Event.public_id(IntentId::new(row, 1)),
        "accepted_at": accepted_at,
        "label": "s",
        "headers": "",
        "payload": "{}",
        "deliveries": [{
            "destination": origin, "status": "delivered", "attempts": 0, "entries": 0,
            "updated_at": accepted_at, "history": [],
        }],
    }));
    let event = ImportedEvent::check(record.expect("a record"), scene.now());
    let imported = scene
        .operator()
        .import(vec![event.expect("an event")], true);
    assert_eq!(imported.expect("an import").imported, 1);
}

pub fn an_origin_that_an_import_uses_during_a_pass_is_kept(new: NewStore) {
    let used = "http://7";
    let import = |scene: &Scene, at| import_delivered(scene, at, used);
    use_before_each_step(new, &[used], import, |scene, is_used| {
        let delivered = scene.list(Some(DeliveryState::Delivered));
        let is_listed = delivered.iter().any(|one| one.destination == used);
        assert_eq!(is_listed, is_used);
    });
}

pub fn a_pass_of_an_earlier_process_deletes_nothing(new: NewStore) {
    let mut scene = Scene::new(new);
    for n in 0..20 {
        scene.accept(event(&format!("http://{n}")));
    }
    scene.deliver_due();
    prune_finished(&scene);
    scene.accept(event("named"));
    let mut pass = Pass::new(&scene);
    while !matches!(pass.pass.stage, OriginsStage::Delete(_)) {
        assert_eq!(pass.step(&scene), OriginsPassStep::Looked);
    }
    scene.restart();
    // The interrupted pass doesn't know what the new process accepts.
    scene.accept(event("http://3"));
    pass.reader = scene.store.reader();
    while pass.step(&scene) != OriginsPassStep::Over {}
    for n in 0..20 {
        assert!(scene.knows(&format!("http://{n}")), "{n}");
    }
    scene.stop();
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Accept(u8),
    Deliver,
    Prune,
    Step,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (0u8..20).prop_map(Action::Accept),
        2 => Just(Action::Deliver),
        2 => Just(Action::Prune),
        8 => Just(Action::Step),
    ]
}

pub fn passes_and_accepted_events_leave_no_delivery_without_its_destination(new: NewStore) {
    let mut scene = Scene::new(new);
    let mut known: BTreeMap<DestinationId, String> = BTreeMap::new();
    let mut runner = TestRunner::new(ProptestConfig::with_cases(12));
    let scene = std::cell::RefCell::new(&mut scene);
    let known = std::cell::RefCell::new(&mut known);
    let run = runner.run(&prop::collection::vec(action(), 1..80), |actions| {
        let (mut scene, mut known) = (scene.borrow_mut(), known.borrow_mut());
        let mut pass = Pass::new(&scene);
        for action in actions {
            match action {
                Action::Accept(n) => drop(scene.accept(event(&format!("http://{n}")))),
                Action::Deliver => scene.deliver_due(),
                Action::Prune => prune_finished(&scene),
                Action::Step => drop(pass.step(&scene)),
            }
            // A waiting delivery finds its destination, and a number never means two origins.
            let queued = scene.list(None);
            let queued = queued.iter().filter(|one| one.next_attempt_at.is_some());
            let mut names: Vec<_> = queued.map(|one| one.destination.clone()).collect();
            names.sort();
            names.dedup();
            let mut waiting = scene.waiting();
            waiting.sort();
            let waiting_names: Vec<_> = waiting.iter().map(|(name, _)| name.clone()).collect();
            prop_assert_eq!(names, waiting_names);
            for (name, id) in waiting {
                let first = known.entry(id).or_insert_with(|| name.clone());
                prop_assert_eq!(&*first, &name);
            }
        }
        Ok(())
    });
    run.expect("each run of actions");
    let mut scene = scene.borrow_mut();
    scene.deliver_due();
    prune_finished(&scene);
    scene.forget_unused_origins();
    scene.forget_unused_origins();
    let kept = (0..20).filter(|n| scene.knows(&format!("http://{n}")));
    assert!(kept.count() <= 1, "all but the newest are forgotten");
    scene.stop();
}

pub fn passes_beside_a_thread_that_accepts_leave_no_orphan(new: NewStore) {
    const ROUNDS: usize = 10;
    let mut scene = Scene::new(new);
    let is_over = AtomicBool::new(false);
    let mut numbers = std::collections::BTreeSet::new();
    for _ in 0..ROUNDS {
        is_over.store(false, Ordering::SeqCst);
        std::thread::scope(|scope| {
            let store = &scene.store;
            let is_over = &is_over;
            scope.spawn(move || {
                for n in 0..20 {
                    try_accept(store, event(&format!("http://{n}"))).expect("accepted");
                }
                is_over.store(true, Ordering::SeqCst);
            });
            let mut pass = Pass::new(&scene);
            while !is_over.load(Ordering::SeqCst) {
                pass.step(&scene);
            }
        });
        let claimed: Vec<Claimed> = scene.claim_due();
        assert_eq!(claimed.len(), 20, "each delivery finds its destination");
        numbers.extend(claimed.iter().map(|one| one.destination));
        let delivered = claimed
            .into_iter()
            .map(|one| scene.delivered(one))
            .collect();
        scene.settle(delivered);
        prune_finished(&scene);
    }
    assert!(numbers.len() > 20, "no origin was forgotten meanwhile");
    scene.stop();
}
