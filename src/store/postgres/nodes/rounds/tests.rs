use std::sync::mpsc::channel;
use std::thread::current;

use super::*;
use crate::store::conformance::scene::event;
use crate::store::postgres::destinations::Known;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::tests::nodes::{try_open, until_alone, until_shared};
use crate::store::postgres::tests::support::empty_database;
use crate::store::postgres::told::tell;

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
    // The node's own threads tell, too: by the thread it is known who did.
    let (work, found) = channel();
    let tell = move |ids: &[DestinationId]| drop(work.send((current().id(), ids.to_vec())));
    let nobody = || -> crate::store::context::OnWork { Arc::new(|_| ()) };
    let first = try_open(&database, "first", nobody()).expect("a node");
    let second = try_open(&database, "second", Arc::new(tell)).expect("a node");
    until_shared(&database, &first, &second);
    let own = || {
        let all = found
            .try_iter()
            .filter(|(thread, _)| *thread == current().id());
        all.map(|(_, ids)| ids).collect::<Vec<_>>()
    };

    // A round that isn't woken would be longer than any test.
    let mut rounds = Rounds::new(Arc::clone(second.shared()), Duration::from_secs(600));
    rounds.listening = rounds.begin_to_listen();
    let mut all = database.connection();
    all.batch("LISTEN relay").expect("it listens");
    for node in [&first, &second] {
        let event = event(&served_by(node));
        first.accept_blocking(event).expect("accepted");
    }
    // The events were accepted one after the other, and so would their owners be notified.
    let told = next_but_nodes(&mut all);
    let slot = second.shared().node.slot();
    let told = told.strip_prefix(&format!("{slot}:")).expect(&told);
    let arrived = DestinationId(told.parse().expect("one destination"));
    all.batch(&format!("NOTIFY relay, '{slot}'"))
        .expect("notified");

    assert_eq!(rounds.wait(), Cause::Work, "it is to look, by the last one");
    assert_eq!(own(), [[arrived]], "the one before named a destination");
    let known = second.shared().destinations.get(&served_by(&second));
    assert_eq!(known, None, "it has not met it");
    rounds.round().expect("a round");
    assert_eq!(own(), [[arrived]], "a round finds it, too");
}

/// The next notification that is not about nodes.
fn next_but_nodes(connection: &mut Connection) -> String {
    loop {
        let notified = connection.notifications(Duration::from_secs(10));
        let notified = notified.expect("a connection");
        assert!(!notified.is_empty(), "nobody is notified");
        let mut payloads = notified.into_iter().map(|one| one.payload);
        if let Some(payload) = payloads.find(|payload| payload != "nodes") {
            return payload;
        }
    }
}

#[test]
fn of_many_destinations_a_notification_names_none() {
    let Some(database) = empty_database() else {
        return;
    };
    let node = try_open(&database, "one", Arc::new(|_| ())).expect("a node");
    until_alone(&database, &node);
    let mut sql = database.connection();
    sql.batch("LISTEN relay").expect("it listens");
    let slot = node.shared().node.slot();
    let mut told_of = |count: i64| {
        let many: Vec<Known> = (1..=count)
            .map(|id| Known {
                id: DestinationId(i64::from(i32::MAX) - id),
                bucket: 0,
            })
            .collect();
        tell(&mut sql, &many).expect("a connection");
        Told::of(&next_but_nodes(&mut sql), slot)
    };
    let Some(Told::Arrived(named)) = told_of(500) else {
        panic!("as many as fit");
    };
    assert_eq!(named.len(), 500);
    assert_eq!(told_of(501), Some(Told::Look));
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
