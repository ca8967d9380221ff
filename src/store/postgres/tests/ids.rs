use std::collections::BTreeSet;
use std::time::Duration;

use crate::store::conformance::scene::{Scene, event_of};
use crate::store::postgres::keys::end_of_millisecond;
use crate::store::postgres::tests::support::{connection, new_store};

/// Two lives of a slot that believe in it at once, as after a pause that outlasts a lease, give the
/// same ids. The primary key refuses the second of them.
#[test]
fn a_batch_whose_ids_another_life_of_the_slot_took_gets_others() {
    let Some(new) = new_store() else {
        return;
    };
    let url = new.settings.url.clone().expect("a URL");
    let mut sql = connection(url.reveal(), Duration::from_secs(10));
    let mut scene = Scene::new(new);
    let first = scene.accept(event_of("source", "first", &["a"]));
    // Those of two milliseconds, more than a batch is sent anew.
    let next = end_of_millisecond(first.row()) + 1 + (first.row() & 31);
    let taken = (1..=20).flat_map(|at| [first.row() + at * 32, next + (at - 1) * 32]);
    let taken: Vec<i64> = taken.collect();
    let insert = "INSERT INTO relay.intents (id, random, surface, created_at, label, headers, body,
            unrouted) SELECT id, 7, 1, 0, 'of another life', '', '', 1 FROM unnest($1::int8[]) id";
    assert_eq!(sql.execute(insert, &[&taken]).expect("good SQL"), 40);

    let alone = scene.accept(event_of("source", "alone", &["a", "b"])).row();
    let events = (0..8).map(|key| event_of("source", &key.to_string(), &["a", "b"]));
    let ids: Vec<i64> = scene.accept_all(events).iter().map(|id| id.row()).collect();
    let all = ids.iter().chain(&taken).copied().chain([alone]);
    let distinct: BTreeSet<i64> = all.collect();
    assert_eq!(distinct.len(), 9 + 40, "{ids:?} beside {taken:?}");
    let mut count = |what: &str| -> i64 {
        let row = sql.one(&format!("SELECT count(*) FROM {what}"), &[]);
        row.expect("a count").get(0)
    };
    assert_eq!(count("relay.intents WHERE random = 7"), 40, "they stand");
    assert_eq!(count("relay.intents"), 1 + 40 + 9);
    assert_eq!(count("relay.waiting"), 1 + 9 * 2);
    assert_eq!(count("relay.idempotency"), 1 + 9);
    scene.deliver_due();
    assert_eq!(count("relay.ended"), 1 + 9 * 2);
    scene.stop();
}
