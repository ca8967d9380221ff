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

    found.try_iter().count();
    let listening = rounds.listening.as_mut().expect("it listens");
    let notified = listening.notifications(Duration::from_secs(10));
    let cause = rounds.hear(&notified.expect("a connection"));
    assert_eq!(cause, None, "it need not look");
    let known = second.shared().destinations.get(&served_by(&second));
    assert_eq!(known, None, "it has not met it");
    let [arrived] = found.try_recv().expect("work")[..] else {
        panic!("one destination");
    };
    rounds.round().expect("a round");
    assert_eq!(
        found.try_recv().expect("work"),
        [arrived],
        "a round finds it, too"
    );

    // The events were accepted one after the other, and so were their owners notified.
    let mut told = Vec::new();
    while told.is_empty() {
        let notified = all
            .notifications(Duration::from_secs(10))
            .expect("a connection");
        let payloads = notified.into_iter().map(|one| one.payload);
        told.extend(payloads.filter(|payload| payload != "nodes"));
    }
    let expected = format!("{}:{}", second.shared().node.slot(), arrived.0);
    assert_eq!(told, [expected]);
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

/// A node that commits a batch late and ends before it tells anybody leaves it to the others. A
/// long round finds what is too old for the others, so two of them must overlap.
#[test]
fn long_rounds_leave_no_time_out() {
    let rounds = (0..1_000).map(looks_back);
    let long: Vec<usize> = (0..)
        .zip(rounds)
        .filter_map(|(nth, back)| (back == LONG).then_some(nth))
        .collect();
    assert_eq!(long[0], 0, "the first one");
    let apart = long.windows(2).map(|two| two[1] - two[0]).max();
    let apart = EVERY * u32::try_from(apart.expect("several")).expect("few");
    assert!(apart + LATELY < LONG, "{apart:?}");
}
