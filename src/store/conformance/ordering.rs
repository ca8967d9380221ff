//! Deliveries of one ordering key are made one after the other.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, FakeClock};
use crate::config::{Config, Destination, Live, Ordering, Resolved};
use crate::maintenance::Worker;
use crate::model::{DeliveryState, IntentId, Level, OnDead, OrderKey, Surface};
use crate::ops::notices::Notices;
use crate::store::conformance::NewStore;
use crate::store::conformance::accepting::runtime;
use crate::store::conformance::scene::{DAY, Scene, event};
use crate::store::types::{
    Accept, AdvanceBulk, BulkAction, ClaimRequest, Claimed, DestinationsQuery, InLine, ListQuery,
    NoRouting, Settlement,
};

const MINUTE: Duration = Duration::from_secs(60);

/// An event for `d` with this ordering key.
fn keyed(key: i64) -> Accept {
    Accept {
        order_keys: vec![(0, OrderKey::from_number(key))],
        ..event("d")
    }
}

/// The only claimed delivery, which must be this one's.
fn only(claimed: &[Claimed], id: IntentId) -> Claimed {
    assert_eq!(rows(claimed), [id.row()]);
    claimed[0]
}

fn rows(claimed: &[Claimed]) -> Vec<i64> {
    claimed.iter().map(|one| one.intent.0).collect()
}

fn dead(scene: &Scene, claimed: Claimed, on_dead: OnDead) -> Settlement {
    scene
        .dead_letter(claimed, "answered 400")
        .ordered(Some(on_dead))
}

fn settle(scene: &mut Scene, settle: impl Fn(&Scene, Claimed) -> Settlement, claimed: Claimed) {
    let settlement = settle(scene, claimed);
    scene.settle(vec![settlement]);
    scene.clock.advance(Duration::from_millis(1));
}

/// Where the deliveries of these events stand.
fn standing(scene: &Scene, ids: &[IntentId]) -> Vec<InLine> {
    let of = |id: &IntentId| scene.intent(*id).expect("it is stored").deliveries[0].in_line;
    ids.iter().map(of).collect()
}

fn behind(id: IntentId) -> InLine {
    InLine::Behind(Some((id, Surface::Event)))
}

fn blocking(scene: &Scene) -> Option<i64> {
    let counts = loop {
        // They are counted beside the writer after a start.
        match scene.store.blocking() {
            Some(counts) => break counts,
            None => std::thread::yield_now(),
        }
    };
    counts.first().map(|(_, count)| *count)
}

pub fn deliveries_of_one_key_are_claimed_in_order_of_acceptance(new: NewStore) {
    let mut scene = Scene::new(new);
    let ids: Vec<_> = [1, 2, 1, 1, 2]
        .into_iter()
        .map(|key| scene.accept(keyed(key)))
        .collect();
    let unordered = scene.accept(event("d"));
    assert_eq!(
        standing(&scene, &ids),
        [
            InLine::Free,
            InLine::Free,
            behind(ids[0]),
            behind(ids[0]),
            behind(ids[1])
        ]
    );
    let claimed = scene.claim_due();
    assert_eq!(
        rows(&claimed),
        [ids[0], ids[1], unordered].map(IntentId::row)
    );
    assert!(scene.claim_due().is_empty(), "the others wait for these");
    // The successor is claimed in the transaction that settles the one before it.
    let request = ClaimRequest {
        destination: claimed[0].destination,
        begin: 10,
        prefetch: 0,
    };
    let delivered = scene.delivered(claimed[0]);
    let next = scene.change(vec![delivered], Vec::new(), vec![request]);
    let next = only(&next, ids[2]);
    settle(&mut scene, Scene::delivered, next);
    settle(&mut scene, Scene::delivered, claimed[1]);
    assert_eq!(
        rows(&scene.claim_due()),
        [ids[3], ids[4]].map(IntentId::row)
    );
    scene.stop();
}

pub fn a_release_is_announced_to_the_dispatcher(new: NewStore) {
    let mut scene = Scene::new(new);
    let first = scene.accept(keyed(1));
    scene.accept(keyed(1));
    let first = only(&scene.claim_due(), first);
    while scene.work.try_recv().is_ok() {}
    settle(&mut scene, Scene::delivered, first);
    let announced = scene.work.recv_timeout(MINUTE).expect("work");
    assert_eq!(announced, [first.destination]);
    scene.stop();
}

pub fn a_retry_a_release_and_a_restart_keep_the_place(new: NewStore) {
    let mut scene = Scene::new(new);
    let [first, second] = [(); 2].map(|()| scene.accept(keyed(1)));
    let other = scene.accept(keyed(2));
    let claimed = scene.claim_due();
    assert_eq!(rows(&claimed), [first, other].map(IntentId::row));
    settle(&mut scene, Scene::delivered, claimed[1]);
    settle(
        &mut scene,
        |scene, one| scene.retry(one, MINUTE),
        claimed[0],
    );
    assert!(
        scene.claim_due().is_empty(),
        "the second waits for the retry"
    );
    scene.restart();
    assert!(scene.claim_due().is_empty());
    scene.clock.advance(MINUTE);
    only(&scene.claim_due(), first);
    // The process dies with the attempt, and the next one makes it again.
    scene.restart();
    assert_eq!(
        standing(&scene, &[first, second]),
        [InLine::Free, behind(first)]
    );
    let again = only(&scene.claim_due(), first);
    settle(&mut scene, Scene::delivered, again);
    only(&scene.claim_due(), second);
    scene.stop();
}

pub fn a_dead_letter_is_skipped_or_blocks_as_its_destination_says(new: NewStore) {
    let mut scene = Scene::new(new);
    let [first, second, third] = [(); 3].map(|()| scene.accept(keyed(1)));
    let claimed = only(&scene.claim_due(), first);
    settle(
        &mut scene,
        |scene, one| dead(scene, one, OnDead::Skip),
        claimed,
    );
    assert_eq!(blocking(&scene), None);
    let claimed = only(&scene.claim_due(), second);
    settle(
        &mut scene,
        |scene, one| dead(scene, one, OnDead::Block),
        claimed,
    );
    assert!(scene.claim_due().is_empty(), "the third waits");
    assert_eq!(
        standing(&scene, &[first, second, third]),
        [InLine::Free, InLine::Blocks, behind(second)]
    );
    assert_eq!(blocking(&scene), Some(1));
    scene.restart();
    assert_eq!(blocking(&scene), Some(1));
    assert!(scene.claim_due().is_empty(), "also after a restart");
    scene.stop();
}

pub fn a_replayed_dead_letter_that_blocked_goes_first_and_another_one_last(new: NewStore) {
    let mut scene = Scene::new(new);
    let ids = [(); 4].map(|()| scene.accept(keyed(1)));
    let claimed = only(&scene.claim_due(), ids[0]);
    settle(
        &mut scene,
        |scene, one| dead(scene, one, OnDead::Skip),
        claimed,
    );
    let claimed = only(&scene.claim_due(), ids[1]);
    settle(
        &mut scene,
        |scene, one| dead(scene, one, OnDead::Block),
        claimed,
    );
    assert_eq!(scene.operator().replay(ids[0]).expect("replayed"), 1);
    assert_eq!(scene.operator().replay(ids[1]).expect("replayed"), 1);
    assert_eq!(
        standing(&scene, &ids),
        [behind(ids[1]), InLine::Free, behind(ids[1]), behind(ids[1])]
    );
    scene.accept(keyed(1));
    assert_eq!(blocking(&scene), Some(0));
    for id in [ids[1], ids[2], ids[3], ids[0]] {
        let claimed = only(&scene.claim_due(), id);
        settle(&mut scene, Scene::delivered, claimed);
    }
    // One whose line is empty has nobody to wait for.
    let last = scene.claim_due();
    settle(
        &mut scene,
        |scene, one| dead(scene, one, OnDead::Skip),
        last[0],
    );
    assert_eq!(scene.operator().replay(ids[0]).expect("an answer"), 0);
    scene.stop();
}

pub fn a_discarded_dead_letter_lets_the_next_one_go(new: NewStore) {
    let mut scene = Scene::new(new);
    let [first, second, third] = [(); 3].map(|()| scene.accept(keyed(1)));
    let claimed = only(&scene.claim_due(), first);
    settle(
        &mut scene,
        |scene, one| dead(scene, one, OnDead::Block),
        claimed,
    );
    assert_eq!(scene.operator().discard(first).expect("discarded"), 1);
    let claimed = only(&scene.claim_due(), second);
    settle(
        &mut scene,
        |scene, one| dead(scene, one, OnDead::Block),
        claimed,
    );
    scene.create_bulk(BulkAction::Discard, |_| {});
    scene.finish_bulk();
    only(&scene.claim_due(), third);
    assert_eq!(blocking(&scene), Some(0));
    scene.stop();
}

pub fn a_dead_letter_that_blocks_outlives_retention(new: NewStore) {
    let mut scene = Scene::new(new);
    let [blocks, second] = [(); 2].map(|()| scene.accept(keyed(1)));
    let skipped = scene.accept(keyed(2));
    for claimed in scene.claim_due() {
        let on_dead = if claimed.intent.0 == blocks.row() {
            OnDead::Block
        } else {
            OnDead::Skip
        };
        settle(&mut scene, |scene, one| dead(scene, one, on_dead), claimed);
    }
    scene.clock.advance(DAY * 365);
    scene.sweep();
    assert!(scene.intent(skipped).is_none());
    assert_eq!(
        standing(&scene, &[blocks, second]),
        [InLine::Blocks, behind(blocks)]
    );
    assert_eq!(scene.operator().discard(blocks).expect("discarded"), 1);
    only(&scene.claim_due(), second);
    scene.stop();
}

pub fn a_blocked_delivery_has_no_time_and_is_no_work(new: NewStore) {
    let mut scene = Scene::new(new);
    let ids = [(); 3].map(|()| scene.accept(keyed(1)));
    let claimed = only(&scene.claim_due(), ids[0]);
    settle(
        &mut scene,
        |scene, one| dead(scene, one, OnDead::Block),
        claimed,
    );
    scene.clock.advance(DAY);
    assert!(scene.waiting().is_empty(), "a scan finds no work");
    let stats = scene.operator().stats().expect("stats");
    assert_eq!((stats[0].waiting, stats[0].oldest_due), (2, None));
    let runtime = runtime();
    let page = scene.store.destinations_page(DestinationsQuery {
        configured: Vec::new(),
        name: None,
        offset: 0,
        limit: 10,
    });
    let page = runtime.block_on(page).expect("a read");
    assert_eq!((page.found.len(), page.found[0].oldest_due), (1, None));
    let backlog = runtime.block_on(scene.store.backlog(|_| true));
    assert_eq!(backlog.expect("a read").oldest_due, None);
    let blocked = ListQuery {
        is_blocked: true,
        limit: 100,
        ..ListQuery::default()
    };
    let listed = scene.operator().list(&blocked).expect("a list");
    let queued = scene.list(Some(DeliveryState::Queued));
    for found in [listed, queued] {
        let found: Vec<_> = found
            .iter()
            .map(|one| (one.id, one.next_attempt_at))
            .collect();
        assert_eq!(found, [(ids[2], None), (ids[1], None)]);
    }
    let stored = scene.intent(ids[1]).expect("it is stored");
    assert_eq!(stored.deliveries[0].next_attempt_at, None);
    // A start brings times forward that are too far off, and these are none.
    scene.restart();
    assert_eq!(standing(&scene, &ids[1..]), [behind(ids[0]); 2]);
    scene.stop();
}

/// A configuration whose destination `d` has this order.
fn ordered(on_dead: OnDead) -> Arc<Resolved> {
    let mut config = Config::default();
    config.delivery.level = Some(Level::Off);
    let mut to = Destination::new("http://127.0.0.1:9/".parse().expect("a URL"));
    to.ordering = Some(Ordering {
        on_dead,
        ..Ordering::by("/id")
    });
    config.destinations.insert("d".to_owned(), to);
    Arc::new(config.resolve())
}

/// A worker of maintenance.
fn worker(scene: &Scene, config: &Live) -> Worker {
    let clock: Arc<dyn Clock> = Arc::<FakeClock>::clone(&scene.clock);
    let (store, metrics) = (scene.store.clone(), Arc::clone(&scene.metrics));
    Worker::new(store, config.clone(), clock, metrics, Notices::default())
}

fn run(worker: &mut Worker) {
    for _ in 0..20 {
        worker.run_once().expect("a step");
    }
}

pub fn dead_letters_no_longer_block_once_their_destination_skips_them(new: NewStore) {
    let mut scene = Scene::new(new);
    // More of them than one step finds.
    let keys = 300;
    let mut later = Vec::new();
    for key in 0..keys {
        scene.accept(keyed(key));
    }
    for claimed in scene.claim_due() {
        settle(
            &mut scene,
            |scene, one| dead(scene, one, OnDead::Block),
            claimed,
        );
    }
    for key in 0..keys {
        later.push(scene.accept(keyed(key)).row());
    }
    assert_eq!(blocking(&scene), Some(keys));
    let config = Live::new(ordered(OnDead::Block));
    let mut worker = worker(&scene, &config);
    run(&mut worker);
    assert!(scene.claim_due().is_empty(), "they block as they should");
    config.replace(ordered(OnDead::Skip));
    run(&mut worker);
    assert_eq!(blocking(&scene), Some(0));
    assert_eq!(rows(&scene.claim_due()), later);
    assert_eq!(scene.list(Some(DeliveryState::DeadLettered)).len(), 300);
    scene.stop();
}

pub fn a_delivery_interrupted_too_often_blocks_or_is_skipped(new: NewStore) {
    let mut scene = Scene::new(new);
    let [first, second] = [(); 2].map(|()| scene.accept(keyed(1)));
    for _ in 0..5 {
        scene.clock.advance(MINUTE);
        only(&scene.claim_due(), first);
        scene.restart();
    }
    assert_eq!(scene.states(first)[0].0, DeliveryState::DeadLettered);
    scene.clock.advance(MINUTE);
    run(&mut worker(&scene, &Live::new(ordered(OnDead::Block))));
    assert_eq!(blocking(&scene), Some(1));
    assert!(scene.claim_due().is_empty());
    run(&mut worker(&scene, &Live::new(ordered(OnDead::Skip))));
    only(&scene.claim_due(), second);
    scene.stop();
}

pub fn a_paced_replay_waits_for_a_crowded_line_but_not_for_one_that_stands_still(new: NewStore) {
    let mut scene = Scene::new(new);
    let paced = AdvanceBulk {
        is_paced: true,
        after: None,
        routing: &NoRouting,
    };
    // 500 dead letters of one key.
    let dead_letters = |scene: &mut Scene, on_dead: OnDead| {
        scene.accept_all((0..500).map(|_| keyed(1)));
        for _ in 0..500 {
            let claimed = scene.claim_due();
            let settlement = dead(scene, claimed[0], on_dead);
            scene.settle(vec![settlement]);
            if on_dead == OnDead::Block {
                break;
            }
        }
        scene.clock.advance(Duration::from_millis(1));
    };
    dead_letters(&mut scene, OnDead::Skip);
    scene.create_bulk(BulkAction::Replay, |_| {});
    let mut done = 0;
    for _ in 0..20 {
        done += scene
            .store
            .advance_bulk(&scene.store.reader(), &paced)
            .expect("a step")
            .done;
    }
    assert!((200..=300).contains(&done), "{done} stand in the line");
    // As they are delivered, the others follow.
    while !scene.list(Some(DeliveryState::Queued)).is_empty() {
        scene.deliver_due();
        scene
            .store
            .advance_bulk(&scene.store.reader(), &paced)
            .expect("a step");
    }
    assert!(scene.list(Some(DeliveryState::DeadLettered)).is_empty());
    // The line of a dead letter that blocks is long, too, and moves only once that is replayed.
    dead_letters(&mut scene, OnDead::Block);
    scene.create_bulk(BulkAction::Replay, |_| {});
    assert_eq!(
        scene
            .store
            .advance_bulk(&scene.store.reader(), &paced)
            .expect("a step")
            .done,
        1
    );
    assert_eq!(scene.claim_due().len(), 1);
    scene.stop();
}
