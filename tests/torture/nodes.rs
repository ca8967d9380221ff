//! Three nodes on one PostgreSQL under load, and faults of both.
//!
//! - `cluster`: the nodes, their load and their receivers. `database`: a server that can be killed,
//!   and its standby. `attempts`: which node attempted what.

mod attempts;
mod cluster;
mod database;

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::judge::Verdict;
use crate::support::{postgres, until};
use cluster::{Cluster, Setup, heartbeat, lease};

/// A round of the nodes, which finds what others made due.
const ROUND: Duration = Duration::from_millis(250);

/// The time for a busy machine: beside the load each look of a test at the database is a process.
const BUSY: Duration = Duration::from_secs(1);

/// How long others may take to own what a node gives up that stops.
const HANDED_OVER: Duration = Duration::from_millis(1_500);

/// The longest that an event may wait beside an outage of the database, which is shorter than that
/// by a lease at least.
const OUTAGE: Duration = Duration::from_secs(20);

/// The longest that an event may wait for a node that died.
fn until_replaced() -> Duration {
    lease() + heartbeat() + ROUND + BUSY
}

/// The number of cycles: by default a few in the short form and a hundred in the long one.
fn cycles(few: usize) -> usize {
    let asked = std::env::var("RELAY_TORTURE_CYCLES").ok();
    let asked = asked.map(|text| {
        text.parse()
            .expect("RELAY_TORTURE_CYCLES is a whole number")
    });
    asked.unwrap_or_else(|| crate::choose(few, 100))
}

/// Runs a fault again and again under load, each time of a node by chance, and judges the run.
/// `longest`: the longest that an event may wait for its first attempt.
fn run(
    name: &str,
    setup: &Setup,
    few: usize,
    longest: Duration,
    mut fault: impl FnMut(&mut Cluster, usize),
) -> Option<Verdict> {
    let _alone = crate::alone();
    postgres::server()?;
    let seed = crate::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let cycles = cycles(few);
    let mut cluster = Cluster::start_all(setup);
    let began = cluster.peek::<i64>(DATABASE_CLOCK);
    let loads = cluster.loads(seed);
    for _ in 0..cycles {
        let before = cluster.journal.acknowledged();
        crate::pause(Duration::from_millis(random.random_range(200..1_200)));
        let at = random.random_range(0..cluster.nodes());
        fault(&mut cluster, at);
        cluster.until_acknowledged(before + 50);
    }
    for load in loads {
        load.stop();
    }
    let strange = format!(
        "SELECT count(*) FROM intents WHERE created_at NOT BETWEEN {} AND ({DATABASE_CLOCK})
             OR id >> 12 NOT BETWEEN {} AND ({DATABASE_CLOCK}) + 1000",
        began[0] - 1_000,
        began[0] - 1_000
    );
    assert_eq!(
        cluster.peek::<i64>(&strange),
        [0],
        "times that the database's clock hadn't"
    );
    let verdict = cluster.judge(name, longest);
    println!("{name}: {cycles} cycles, with a lease of {:?}", lease());
    assert_eq!((verdict.pending, verdict.dead), (0, 0));
    assert!(verdict.acknowledged > 50 * cycles, "hardly any load");
    Some(verdict)
}

/// Milliseconds since the Unix epoch.
const DATABASE_CLOCK: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8";

/// A node dies, is taken over, and comes back.
fn kill_node(cluster: &mut Cluster, at: usize) {
    cluster.kill(at);
    cluster.until_taken_over(at);
    cluster.start(at);
    cluster.until_shared();
}

/// A node stops in order and comes back; how long others took to own what it had.
fn replace_node(cluster: &mut Cluster, at: usize) -> Duration {
    let took = cluster.stop(at);
    cluster.start(at);
    cluster.until_shared();
    took
}

#[test]
fn a_node_that_is_killed_is_replaced_within_its_lease() {
    run("killed", &Setup::default(), 2, until_replaced(), kill_node);
}

#[test]
fn a_node_that_stands_still_is_replaced_and_records_nothing_when_it_goes_on() {
    // Its own clients wait for it; the events of the others wait no longer than for a dead one.
    let mut claims = true;
    run(
        "frozen",
        &Setup::default(),
        2,
        until_replaced(),
        |cluster, at| {
            cluster.freeze(at, claims);
            cluster.until_shared();
            claims = !claims;
        },
    );
}

#[test]
fn nothing_is_lost_when_the_server_is_killed() {
    let mut away = Duration::ZERO;
    let setup = Setup::default();
    // Each second time all nodes have sent commits that are written and never answered.
    let mut answers = true;
    run("server-killed", &setup, 2, OUTAGE, |cluster, _| {
        cluster.journal.fault();
        answers = !answers;
        if !answers {
            cluster.database.withhold_answers();
            until("a batch is written and not answered", || {
                let batch = "INSERT INTO relay.intents";
                cluster.database.is_withheld(batch).then_some(())
            });
        }
        let killed = Instant::now();
        cluster.database.kill();
        cluster.database.start();
        away = away.max(killed.elapsed());
        cluster.journal.fault();
    });
    println!("server-killed: it took connections again within {away:?}");
}

#[test]
fn nothing_is_lost_when_the_servers_disk_is_full() {
    let setup = Setup {
        may_be_full: true,
        ..Setup::default()
    };
    run("server-full", &setup, 2, OUTAGE, |cluster, _| {
        let refused = cluster.journal.refused();
        cluster.journal.fault();
        cluster.database.fill_disk();
        until("a batch is refused", || {
            (cluster.journal.refused() > refused).then_some(())
        });
        crate::pause(Duration::from_secs(1));
        cluster.database.empty_disk();
        cluster.journal.fault();
    });
}

#[test]
fn nobody_is_replaced_because_the_server_was_away_for_longer_than_a_lease() {
    let setup = Setup::default();
    run("server-away", &setup, 1, OUTAGE, |cluster, _| {
        let before = cluster.lives();
        cluster.journal.fault();
        cluster.database.stop();
        crate::pause(lease() + heartbeat() * 2);
        cluster.database.start();
        cluster.journal.fault();
        let acknowledged = cluster.journal.acknowledged();
        cluster.until_acknowledged(acknowledged + 50);
        // By then whoever believed that another was gone would have acted.
        crate::pause(lease() + heartbeat());
        assert_eq!(cluster.lives(), before);
    });
}

#[test]
fn nodes_leave_and_join_without_a_duplicate_or_a_wait() {
    let mut longest = Duration::ZERO;
    let setup = Setup::default();
    let second = Duration::from_secs(1);
    let verdict = run("replaced", &setup, 3, second, |cluster, at| {
        longest = longest.max(replace_node(cluster, at));
    });
    if let Some(verdict) = verdict {
        println!("replaced: handed over within {longest:?}");
        assert!(longest <= HANDED_OVER, "{longest:?}");
        assert_eq!(verdict.duplicates, 0);
    }
}

#[test]
fn clocks_that_are_an_hour_off_change_nothing() {
    let setup = Setup {
        clocks: [1, -1, 0],
        ..Setup::default()
    };
    let mut is_killed = false;
    run("clocks", &setup, 2, until_replaced(), |cluster, at| {
        is_killed = !is_killed;
        if is_killed {
            kill_node(cluster, at);
        } else {
            replace_node(cluster, at);
        }
    });
}

#[test]
fn nothing_is_lost_when_the_server_dies_and_its_standby_is_promoted() {
    let setup = Setup {
        has_standby: true,
        ..Setup::default()
    };
    run("promoted", &setup, 1, OUTAGE, |cluster, _| {
        cluster.journal.fault();
        cluster.database.kill();
        cluster.database.promote();
        cluster.journal.fault();
        let acknowledged = cluster.journal.acknowledged();
        cluster.until_acknowledged(acknowledged + 50);
        cluster.database.follow();
    });
}
