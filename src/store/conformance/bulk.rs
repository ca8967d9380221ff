//! Bulk operations on dead letters.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::model::DeliveryState;
use crate::store::Cutoffs;
use crate::store::conformance::NewStore;
use crate::store::conformance::scene::{DAY, START, Scene, event, event_of};
use crate::store::types::{AdvanceBulk, BulkAction, BulkFilter, NewBulk, NoRouting};

/// Accepts this many events for these destinations, and dead-letters all of their deliveries.
fn dead_letters(scene: &mut Scene, count: usize, destinations: &[&str]) {
    scene.accept_all((0..count).map(|key| event_of("s", &key.to_string(), destinations)));
    scene.dead_letter_due("answered 500");
}

pub fn a_replay_makes_each_dead_letter_due_once_and_ends(new: NewStore) {
    let mut scene = Scene::new(new);
    dead_letters(&mut scene, 350, &["d", "e"]);
    scene.clock.advance(DAY);
    let ids = scene.create_bulk(BulkAction::Replay, |filter| {
        filter.destination = Some("d".to_owned());
    });
    assert_eq!(scene.bulk(&ids), [(0, 350, false, false)]);
    let shown = &scene.operator().bulk_under_way().expect("a read")[0];
    assert_eq!(
        (shown.id, shown.destination.as_deref()),
        (ids[0], Some("d"))
    );
    assert_eq!(shown.action, BulkAction::Replay);
    let first = scene.advance_bulk();
    assert!((1..350).contains(&first), "{first}: in steps");
    // A delivery that fails again meanwhile is not replayed again.
    scene.dead_letter_due("answered 500");
    scene.finish_bulk();
    assert_eq!(scene.bulk(&ids), [(350, 350, true, false)]);
    let queued = scene.list(Some(DeliveryState::Queued));
    assert_eq!(queued.len(), 350 - first);
    for one in &queued {
        assert_eq!((&*one.destination, one.attempts), ("d", 0));
        assert!(one.next_attempt_at.is_some());
        let intent = scene.intent(one.id).expect("it is stored");
        let of_d = intent.deliveries.iter().find(|one| one.destination == "d");
        let outcomes = of_d.expect("it is there").history.iter();
        let replays = outcomes.filter(|entry| entry.outcome == "replayed");
        assert_eq!(replays.count(), 1, "the history shows it");
    }
    let dead = scene.list(Some(DeliveryState::DeadLettered));
    let of_e = dead.iter().filter(|one| one.destination == "e");
    assert_eq!((dead.len(), of_e.count()), (350 + first, 350));
    assert!(
        scene
            .operator()
            .bulk_under_way()
            .expect("a read")
            .is_empty()
    );
    scene.stop();
}

pub fn a_replay_waits_while_many_deliveries_wait(new: NewStore) {
    let mut scene = Scene::new(new);
    dead_letters(&mut scene, 500, &["d"]);
    let ids = scene.create_bulk(BulkAction::Replay, |_| {});
    let paced = AdvanceBulk {
        is_paced: true,
        after: None,
        routing: &NoRouting,
    };
    for _ in 0..20 {
        scene
            .store
            .advance_bulk(&scene.store.reader(), &paced)
            .expect("a step");
    }
    // Nothing is delivered, so no more than these are queued before live events.
    assert_eq!(scene.bulk(&ids), [(200, 500, false, false)]);
    scene.deliver_due();
    scene
        .store
        .advance_bulk(&scene.store.reader(), &paced)
        .expect("a step");
    let done = scene.bulk(&ids)[0].0;
    assert!((201..=400).contains(&done), "{done}");
    scene.stop();
}

pub fn a_bulk_operation_survives_a_restart_and_can_be_cancelled(new: NewStore) {
    let mut scene = Scene::new(new);
    dead_letters(&mut scene, 350, &["d"]);
    let ids = scene.create_bulk(BulkAction::Discard, |_| {});
    let first = scene.advance_bulk();
    scene.restart();
    let second = scene.advance_bulk();
    let done = first + second;
    assert!(first > 0 && second > 0 && done < 350);
    let shown = i64::try_from(done).expect("small");
    assert_eq!(scene.bulk(&ids), [(shown, 350, false, false)]);
    assert!(scene.operator().cancel_bulk(ids[0]).expect("cancelled"));
    assert_eq!(scene.advance_bulk(), 0);
    assert_eq!(scene.bulk(&ids), [(shown, 350, true, true)]);
    let left = scene.list(Some(DeliveryState::DeadLettered)).len();
    assert_eq!(left, 350 - done, "discarded ones stay discarded");
    assert!(
        !scene.operator().cancel_bulk(ids[0]).expect("an answer"),
        "it has ended"
    );
    scene.stop();
}

pub fn filters_select_by_destination_source_reason_and_time(new: NewStore) {
    let mut scene = Scene::new(new);
    scene.accept(event_of("a", "1", &["d"]));
    scene.accept(event_of("b", "1", &["d", "e"]));
    scene.dead_letter_due("answered 500 Internal Server Error");
    scene.clock.advance(DAY);
    scene.accept(event_of("a", "2", &["e"]));
    scene.dead_letter_due("timed out (global) after at most 15000 ms");
    let later: Timestamp = START.plus(Duration::from_secs(60));
    let count = |change: &dyn Fn(&mut BulkFilter)| {
        let ids = scene.create_bulk(BulkAction::Replay, change);
        let total: i64 = scene.bulk(&ids).iter().map(|one| one.1).sum();
        for id in ids {
            scene.operator().cancel_bulk(id).expect("cancelled");
        }
        total
    };
    assert_eq!(count(&|_| {}), 4);
    assert_eq!(
        count(&|filter| filter.destination = Some("d".to_owned())),
        2
    );
    assert_eq!(count(&|filter| filter.source = Some("a".to_owned())), 2);
    assert_eq!(
        count(&|filter| filter.reason = Some("answered 500".to_owned())),
        3
    );
    let pattern = count(&|filter| filter.reason = Some("%".to_owned()));
    assert_eq!(pattern, 0, "a text, not a pattern");
    assert_eq!(count(&|filter| filter.since = later), 1);
    assert_eq!(count(&|filter| filter.until = later), 3);
    // Dead letters that don't match stay.
    let ids = scene.create_bulk(BulkAction::Discard, |filter| {
        filter.source = Some("b".to_owned());
        filter.destination = Some("e".to_owned());
    });
    scene.finish_bulk();
    assert_eq!(scene.bulk(&ids), [(1, 1, true, false)]);
    assert_eq!(scene.list(Some(DeliveryState::DeadLettered)).len(), 3);
    scene.stop();
}

pub fn an_operation_is_created_for_each_of_many_destinations(new: NewStore) {
    const DESTINATIONS: usize = 150;
    let mut scene = Scene::new(new);
    let names: Vec<String> = (0..DESTINATIONS).map(|n| format!("http://{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let events = names.chunks(50).map(|names| event_of("s", names[0], names));
    scene.accept_all(events);
    scene.dead_letter_due("e");
    let ids = scene.create_bulk(BulkAction::Replay, |_| {});
    assert_eq!(ids.len(), DESTINATIONS);
    scene.finish_bulk();
    assert!(
        scene
            .bulk(&ids)
            .iter()
            .all(|one| *one == (1, 1, true, false))
    );
    assert_eq!(scene.list(Some(DeliveryState::Queued)).len(), DESTINATIONS);
    scene.stop();
}

pub fn an_origin_deleted_after_its_dead_letters_were_counted_gets_no_operation(new: NewStore) {
    let mut scene = Scene::new(new);
    scene.accept(event("http://gone"));
    scene.dead_letter_due("answered 500");
    scene.clock.advance(DAY);
    // The newest origin would never be deleted.
    for origin in ["http://a", "http://newest"] {
        scene.accept(event(origin));
    }
    scene.dead_letter_due("answered 500");
    let new = NewBulk::replay(scene.all_dead_letters());
    let mut operator = scene.operator();
    let parts = operator.count_bulk(&new).expect("counts");
    assert_eq!(parts.len(), 3);
    scene.prune(&Cutoffs {
        delivered: None,
        dead_lettered: Some(scene.now().minus(DAY / 2)),
        keys: scene.now(),
    });
    scene.forget_unused_origins();
    assert!(!scene.knows("http://gone"));
    let ids = operator
        .create_bulk(new, parts)
        .expect("operations of the others");
    assert_eq!(scene.bulk(&ids), [(0, 1, false, false); 2]);
    scene.finish_bulk();
    assert_eq!(scene.list(Some(DeliveryState::Queued)).len(), 2);
    scene.stop();
}
