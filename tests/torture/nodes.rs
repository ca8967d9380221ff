//! Three nodes on one PostgreSQL under load, and faults of both: nodes are killed or frozen for
//! longer than their lease, the server is killed or restarted.
//!
//! - `cluster`: the nodes, their load and their receivers. `database`: a server that can be killed.

mod cluster;
mod database;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::support::postgres;
use cluster::{Cluster, LEASE};

/// Faults of a cycle, in turn.
const FAULTS: [fn(&mut Cluster, usize); 4] = [kill_node, freeze_node, kill_server, restart_server];

/// A node dies, is taken over, and comes back.
fn kill_node(cluster: &mut Cluster, at: usize) {
    cluster.kill(at);
    cluster.until_taken_over(at);
    cluster.start(at);
}

/// A node stands still for longer than its lease, and goes on as if nothing had been.
fn freeze_node(cluster: &mut Cluster, at: usize) {
    cluster.signal(at, "-STOP");
    cluster.until_taken_over(at);
    cluster.signal(at, "-CONT");
}

fn kill_server(cluster: &mut Cluster, _: usize) {
    cluster.journal.fault();
    cluster.database.kill();
    cluster.database.start();
    cluster.journal.fault();
}

fn restart_server(cluster: &mut Cluster, _: usize) {
    cluster.journal.fault();
    cluster.database.stop();
    cluster.database.start();
    cluster.journal.fault();
}

#[test]
fn nothing_is_lost_or_recorded_twice_by_faults_of_nodes_and_of_their_server() {
    let _alone = crate::alone();
    if postgres::server().is_none() {
        return;
    }
    let seed = crate::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let cycles = crate::choose(FAULTS.len(), 100);
    let mut cluster = Cluster::start_all();
    let loads = cluster.loads(seed);
    for cycle in 0..cycles {
        let before = cluster.journal.acknowledged();
        crate::pause(Duration::from_millis(random.random_range(200..1_000)));
        let at = random.random_range(0..cluster.nodes());
        FAULTS[cycle % FAULTS.len()](&mut cluster, at);
        cluster.until_acknowledged(before + 50);
    }
    for load in loads {
        load.stop();
    }
    let verdict = cluster.judge("nodes");
    println!("nodes: {cycles} faults, with a lease of {LEASE:?}");
    assert_eq!((verdict.pending, verdict.dead), (0, 0));
    assert!(verdict.acknowledged > 50 * cycles, "hardly any load");
}
