//! Events accepted a second.

use relay::Relay;
use relay::model::Level;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::postgres::Server;
use super::support::{self, load, median, ratios, rounds, runtime, sample, shown};
use super::{NODES, Shared, stop};

/// The samples of one engine.
#[derive(Default)]
struct Samples {
    per_second: Vec<f64>,
    p99_millis: Vec<f64>,
}

impl Samples {
    /// Sends events to nodes, which share the connections.
    fn take(&mut self, client: &Runtime, nodes: &[Relay], connections: usize) -> usize {
        let loads = std::thread::scope(|scope| {
            let loads = nodes.iter().map(|node| {
                let (to, of_each) = (node.address(), connections / nodes.len());
                scope.spawn(move || load(client, to, of_each, sample()))
            });
            let loads: Vec<_> = loads.collect();
            let loads = loads.into_iter().map(std::thread::ScopedJoinHandle::join);
            loads.collect::<Result<Vec<_>, _>>().expect("no panic")
        });
        self.per_second
            .push(loads.iter().map(|load| load.per_second).sum());
        let p99 = loads.iter().map(|load| load.p99).max().unwrap_or_default();
        self.p99_millis.push(p99.as_secs_f64() * 1e3);
        loads.iter().map(|load| load.count).sum()
    }
}

/// Accepting on PostgreSQL beside SQLite, without delivery.
pub fn beside_sqlite(server: &Server) -> Value {
    let client = runtime(1);
    println!(
        "accepting: {} rounds of {:?}, interleaved; medians, and (least–most) of the ratio",
        rounds(),
        sample()
    );
    println!(
        "{:>5} | {:>5} | {:>8} | {:>8} | {:<18} | {:>8} | {:>8} | log ÷ body",
        "conns", "nodes", "SQLite/s", "nodes/s", "nodes ÷ SQLite", "p99, ms", "SQLite's"
    );
    let mut kept = Vec::new();
    for connections in [64, 256] {
        for nodes in 1..=NODES.len() {
            kept.push(measured(&client, server, connections, nodes));
        }
    }
    json!(kept)
}

fn measured(client: &Runtime, server: &Server, connections: usize, nodes: usize) -> Value {
    let (mut file, mut shared, mut logged) = (Samples::default(), Samples::default(), Vec::new());
    for _ in 0..rounds() {
        let directory = support::directory();
        let nobody = "127.0.0.1:9".parse().expect("an address");
        let mut config = support::config(directory.path(), nobody);
        config.delivery.level = Some(Level::Off);
        let relay = vec![Relay::start(config.clone()).expect("the relay starts")];
        file.take(client, &relay, connections);
        stop(relay);
        let database = Shared::new(server);
        let relays = database.nodes(&config, nodes);
        let before = database.sql("SELECT pg_current_wal_insert_lsn()");
        let count = shared.take(client, &relays, connections);
        let bytes = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '";
        let bytes = database.number(&format!("{bytes}{before}')"));
        #[expect(clippy::cast_precision_loss, reason = "a ratio")]
        logged.push(bytes / count as f64 / support::body().len() as f64);
        stop(relays);
    }
    let (ratio, by_sqlite) = shown(&ratios(&shared.per_second, &file.per_second));
    let (log, log_by_body) = shown(&logged);
    let (sqlite, postgres) = (median(file.per_second), median(shared.per_second));
    let (p99, p99_of_sqlite) = (median(shared.p99_millis), median(file.p99_millis));
    println!(
        "{connections:>5} | {nodes:>5} | {sqlite:>8.0} | {postgres:>8.0} | {ratio:<18} | {p99:>8.2} | {p99_of_sqlite:>8.2} | {log}"
    );
    json!({
        "connections": connections,
        "nodes": nodes,
        "sqlite_per_second": sqlite,
        "postgres_per_second": postgres,
        "by_sqlite": by_sqlite,
        "p99_ms": p99,
        "sqlite_p99_ms": p99_of_sqlite,
        "log_by_body": log_by_body,
    })
}
