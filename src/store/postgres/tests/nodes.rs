use std::collections::HashSet;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use crate::clock::{Clock, Stopwatch, SystemClock};
use crate::config;
use crate::model::Level;
use crate::ops::metrics::Metrics;
use crate::stop::Stop;
use crate::store::context::{OnWork, StoreContext};
use crate::store::error::OpenError;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::tests::support::{Database, empty_database};

const LEASE: Duration = Duration::from_millis(1200);
const HEARTBEAT: Duration = Duration::from_millis(300);

/// Opens a node. `on_work` gets the destinations for which something became due.
pub fn try_open(database: &Database, name: &str, on_work: OnWork) -> Result<Postgres, OpenError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let context = StoreContext {
        metrics: Arc::new(Metrics::new(Level::Off)),
        clock,
        node: config::Node {
            name: Some(name.to_owned()),
            lease: LEASE,
            heartbeat: HEARTBEAT,
            ..config::Node::default()
        },
        stop: Stop::default(),
        on_work,
        on_outside_write: Arc::new(|| ()),
        on_broken: Arc::new(|why| panic!("{why}")),
    };
    let settings = database.settings();
    let url = settings.url.clone().expect("a URL");
    Postgres::open(&url, &settings, Duration::from_secs(60), context)
}

pub fn open(database: &Database, name: &str) -> Postgres {
    try_open(database, name, Arc::new(|_| ())).expect("a node")
}

/// Waits until two nodes share the buckets.
pub fn until_shared(database: &Database, first: &Postgres, second: &Postgres) {
    until(database, "the buckets are shared", || {
        owned(first) + owned(second) == 256 && owned(second) > 64
    });
}

fn owned(node: &Postgres) -> usize {
    node.shared().node.buckets().len()
}

fn may_begin(node: &Postgres) -> bool {
    let node = &node.shared().node;
    node.may_begin(node.epoch())
}

/// Waits until it holds; how long that took.
pub fn until(database: &Database, what: &str, holds: impl Fn() -> bool) -> Duration {
    let clock = Stopwatch::start();
    while !holds() {
        assert!(clock.elapsed() < Duration::from_secs(15), "never: {what}");
        database.psql("SELECT 1");
    }
    clock.elapsed()
}

#[test]
fn nodes_share_the_buckets_and_one_that_leaves_gives_its_own_at_once() {
    let Some(database) = empty_database() else {
        return;
    };
    let first = open(&database, "first");
    assert_eq!(owned(&first), 256, "it joined alone");
    let second = open(&database, "second");
    until_shared(&database, &first, &second);
    let ones = first.shared().node.buckets();
    let others = second.shared().node.buckets();
    assert!(ones.iter().all(|bucket| !others.contains(bucket)));
    second.stop();
    let took = until(&database, "the other has all", || owned(&first) == 256);
    assert!(took < LEASE, "{took:?}");
    assert!(!may_begin(&second));
    first.stop();
    assert_eq!(database.psql("SELECT count(*) FROM relay.nodes"), "0\n");
}

#[test]
fn a_node_that_stays_silent_is_replaced_after_its_lease_and_joins_anew() {
    let Some(database) = empty_database() else {
        return;
    };
    let first = open(&database, "first");
    let second = open(&database, "second");
    until(&database, "the buckets are shared", || owned(&second) > 64);
    let before = second.shared().node.epoch();
    // No heartbeat of the second gets through.
    second.shared().node.end();
    let clock = Stopwatch::start();
    until(&database, "its lease is over", || !may_begin(&second));
    let believed = clock.elapsed();
    until(&database, "the other has all", || owned(&first) == 256);
    let replaced = clock.elapsed();
    assert!(believed < replaced, "{believed:?} {replaced:?}");
    // A lease, until it was heard for as long; two heartbeats, and time for a busy machine.
    assert!(replaced < LEASE * 4, "{replaced:?}");
    let again = open(&database, "second");
    assert!(again.shared().node.epoch() > before);
    until(&database, "the buckets are shared", || owned(&again) > 64);
}

#[test]
fn a_node_whose_row_is_gone_drops_its_life_and_joins_anew() {
    let Some(database) = empty_database() else {
        return;
    };
    let node = open(&database, "only");
    let before = node.shared().node.epoch();
    database.psql("DELETE FROM relay.nodes");
    until(&database, "it has joined anew", || {
        node.shared().node.epoch() > before && owned(&node) == 256
    });
    assert!(may_begin(&node));
}

#[test]
fn nodes_that_begin_at_the_same_moment_all_join() {
    let Some(database) = empty_database() else {
        return;
    };
    let names = ["a", "b", "c", "d", "e", "f"];
    let begin = Barrier::new(names.len());
    let nodes = thread::scope(|scope| {
        let nodes = names.map(|name| {
            let (database, begin) = (&database, &begin);
            scope.spawn(move || {
                begin.wait();
                open(database, name)
            })
        });
        nodes.map(|node| node.join().expect("no panic"))
    });
    let slots: HashSet<i16> = nodes.iter().map(|node| node.shared().node.slot()).collect();
    assert_eq!(slots.len(), names.len());
}

#[test]
fn a_living_nodes_name_is_refused() {
    let Some(database) = empty_database() else {
        return;
    };
    let _node = open(&database, "twin");
    let refused = try_open(&database, "twin", Arc::new(|_| ()))
        .err()
        .expect("a refusal");
    assert!(
        refused.to_string().contains("a living node is named"),
        "{refused}"
    );
}
