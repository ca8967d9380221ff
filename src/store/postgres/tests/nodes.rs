use std::collections::HashSet;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use crate::clock::{Clock, Stopwatch, SystemClock};
use crate::config;
use crate::model::Level;
use crate::ops::metrics::Metrics;
use crate::stop::{Stop, block_on};
use crate::store::context::{OnBroken, OnWork, StoreContext};
use crate::store::error::OpenError;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::tests::support::{Database, empty_database};

const LEASE: Duration = Duration::from_millis(1200);
const HEARTBEAT: Duration = Duration::from_millis(300);

/// Opens a node. `on_work` gets the destinations for which something became due.
pub fn try_open(database: &Database, name: &str, on_work: OnWork) -> Result<Postgres, OpenError> {
    let on_broken = Arc::new(|why| panic!("{why}"));
    try_open_with(
        Arc::new(SystemClock::new()),
        database,
        name,
        on_work,
        on_broken,
    )
}

/// Opens a node with a clock.
pub fn open_by(clock: Arc<dyn Clock>, database: &Database, name: &str) -> Postgres {
    let on_broken = Arc::new(|why| panic!("{why}"));
    try_open_with(clock, database, name, Arc::new(|_| ()), on_broken).expect("a node")
}

fn try_open_with(
    clock: Arc<dyn Clock>,
    database: &Database,
    name: &str,
    on_work: OnWork,
    on_broken: OnBroken,
) -> Result<Postgres, OpenError> {
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
        on_broken,
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

/// Waits until a node has all buckets.
pub fn until_alone(database: &Database, node: &Postgres) {
    until(database, "the node has all buckets", || owned(node) == 256);
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
    for name in (0..100).map(|n| format!("d{n}")) {
        let is_handed_over = second.serves(&name);
        assert_eq!(first.handovers(&name), u32::from(is_handed_over), "{name}");
        assert_eq!(second.handovers(&name), 0, "{name}");
    }
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

#[test]
fn nodes_of_two_versions_share_the_buckets_and_take_each_other_over() {
    let Some(database) = empty_database() else {
        return;
    };
    let older = open(&database, "older");
    database.psql("UPDATE relay.nodes SET version = '0.0.1'");
    // The newer one has brought the tables up to date, in a way that the older one works with.
    database.psql("UPDATE relay.about SET version = 2");
    let newer = open(&database, "newer");
    until_shared(&database, &older, &newer);
    let own = config::Node::default();
    let found = block_on(older.nodes(&own)).expect("the nodes");
    let shown: Vec<_> = found
        .iter()
        .map(|one| (one.name.as_str(), one.version.as_deref(), one.is_own))
        .collect();
    let version = Some(env!("CARGO_PKG_VERSION"));
    assert_eq!(
        shown,
        [("older", Some("0.0.1"), true), ("newer", version, false)]
    );
    let buckets: u16 = found.iter().map(|one| one.buckets).sum();
    assert_eq!(buckets, 256);
    assert!(found.iter().all(|one| one.word() == "alive"), "{found:?}");
    newer.stop();
    until(&database, "the older one has all", || owned(&older) == 256);
}

#[test]
fn a_node_that_is_too_old_for_the_tables_hands_its_buckets_over_and_ends() {
    let Some(database) = empty_database() else {
        return;
    };
    let (tell, told) = std::sync::mpsc::channel();
    let tell: OnBroken = Arc::new(move |why| tell.send(why).expect("the test listens"));
    let clock = Arc::new(SystemClock::new());
    let older = try_open_with(clock, &database, "older", Arc::new(|_| ()), tell);
    let older = older.expect("a node");
    let newer = open(&database, "newer");
    until_shared(&database, &older, &newer);
    // A newer version that knows these tables keeps its lease meanwhile.
    newer.shared().node.end();
    let clock = Stopwatch::start();
    database.psql("UPDATE relay.about SET version = 3, minimum = 2");
    let epoch = older.shared().node.epoch();
    let why = told.recv_timeout(LEASE).expect("it ends");
    assert!(clock.elapsed() < LEASE, "{:?}", clock.elapsed());
    let expected = "has schema version 3, newer than this relay's 1, and works with 2 or newer; \
                    use the newer binary; nothing was changed; this node has left the others its \
                    deliveries";
    assert!(why.contains(expected), "{why}");
    assert!(!why.contains('\n') && !older.shared().node.may_begin(epoch));
    let left = "SELECT (SELECT count(*) FROM relay.nodes WHERE name = 'older'),
                       (SELECT count(*) FROM relay.buckets b LEFT JOIN relay.nodes n USING (epoch)
                        WHERE epoch IS NOT NULL AND n.epoch IS NULL)";
    assert_eq!(database.psql(left), "0|0\n");
    older.stop();
    let refused = try_open(&database, "older", Arc::new(|_| ()))
        .err()
        .expect("a refusal");
    assert!(
        refused.to_string().contains("has schema version 3"),
        "{refused}"
    );
}
