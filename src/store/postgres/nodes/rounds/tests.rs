use std::sync::mpsc::channel;

use super::*;
use crate::store::conformance::scene::event;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::tests::nodes::{try_open, until_alone, until_shared};
use crate::store::postgres::tests::support::empty_database;

/// The name of a destination that a node serves.
fn served_by(node: &Postgres) -> String {
    let names = (0..10_000).map(|number| format!("d{number}"));
    names
        .into_iter()
        .find(|name| node.serves(name))
        .expect("one of so many")
}

#[test]
fn an_event_for_another_nodes_destination_wakes_that_node_and_no_other() {
    let Some(database) = empty_database() else {
        return;
    };
    let (work, found) = channel();
    let nobody = || -> crate::store::context::OnWork { Arc::new(|_| ()) };
    let first = try_open(&database, "first", nobody()).expect("a node");
    let tell = move |ids: &[DestinationId]| drop(work.send(ids.to_vec()));
    let second = try_open(&database, "second", Arc::new(tell)).expect("a node");
    until_shared(&database, &first, &second);

    // A round that isn't woken would be longer than any test.
    let mut rounds = Rounds::new(Arc::clone(second.shared()), Duration::from_secs(60));
    rounds.listening = rounds.begin_to_listen();
    let mut all = database.connection();
    all.batch("LISTEN relay").expect("it listens");
    first
        .accept_blocking(event(&served_by(&first)))
        .expect("accepted");
    first
        .accept_blocking(event(&served_by(&second)))
        .expect("accepted");
    all.batch("NOTIFY relay, 'end'").expect("notified");

    assert_eq!(rounds.wait(), Cause::Work);
    found.try_iter().count();
    rounds.round().expect("a round");
    let known = second.shared().destinations.get(&served_by(&second));
    assert_eq!(known, None, "it has not met it");
    assert_eq!(found.try_recv().expect("work").len(), 1);

    let mut slots = Vec::new();
    while slots.last().is_none_or(|last| last != "end") {
        let notified = all
            .notifications(Duration::from_secs(10))
            .expect("a connection");
        let payloads = notified.into_iter().map(|one| one.payload);
        slots.extend(payloads.filter(|payload| payload != "nodes"));
    }
    assert_eq!(
        slots,
        [second.shared().node.slot().to_string(), "end".to_owned()]
    );
}

#[test]
fn a_poke_before_a_nodes_first_round_is_found_and_no_later_round_looks_without_one() {
    let Some(database) = empty_database() else {
        return;
    };
    let node = try_open(&database, "one", Arc::new(|_| ())).expect("a node");
    until_alone(&database, &node);
    let mut rounds = Rounds::new(Arc::clone(node.shared()), Duration::from_secs(60));
    let mut other = database.connection();
    let mut poke = || {
        let sql = "UPDATE relay.buckets SET poked = poked + 1 WHERE bucket = 7";
        other.batch(sql).expect("poked");
    };
    poke();
    assert!(rounds.round().expect("a round"), "the first");
    assert!(!rounds.round().expect("a round"), "nothing since");
    poke();
    assert!(rounds.round().expect("a round"), "a poke");
}
