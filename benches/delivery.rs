//! Events a second through the executor to a sink on loopback, interleaved in one run:
//!
//! - from a backlog, beside a bare pool of ureq clients to the same sink;
//! - accepted, delivered and settled at the same time, beside a relay that only accepts.
//!
//! ```text
//! cargo bench --bench delivery --features delivery
//! ```

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use relay::Relay;
use relay::model::Level;
use rusqlite::Connection;
use serde_json::{Value, json};
use support::{load, median, no_op, rounds, runtime, sample, shown};
use tokio::runtime::Runtime;
use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

fn main() {
    let client = runtime(1);
    let sinks = runtime(1);
    let (sink, arrived) = no_op(&sinks);
    println!(
        "{} samples, interleaved; medians, and (least–most) of the ratio\n",
        rounds()
    );
    let executor = beside_bare(&client, sink, &arrived);
    let pipeline = beside_accepting(&client, sink, &arrived);
    support::keep(
        "delivery",
        &json!({ "executor": executor, "pipeline": pipeline }),
    );
}

/// The executor with a backlog, beside a bare pool.
fn beside_bare(client: &Runtime, sink: SocketAddr, arrived: &AtomicU64) -> Value {
    println!("workers | bare ureq pool/s | executor, settled/s | executor ÷ bare");
    let mut kept = Vec::new();
    for workers in [16, 64] {
        let samples: Vec<(f64, f64)> = (0..rounds())
            .map(|_| {
                let bare = bare(sink, workers);
                (bare, executor(client, sink, arrived, workers))
            })
            .collect();
        let ratios: Vec<f64> = samples.iter().map(|(bare, ours)| ours / bare).collect();
        let (ratio, json) = shown(&ratios);
        let bare = median(samples.iter().map(|s| s.0).collect());
        let ours = median(samples.iter().map(|s| s.1).collect());
        println!("{workers:>7} | {bare:>16.0} | {ours:>19.0} | {ratio}");
        kept.push(json!({
            "workers": workers,
            "bare_per_second": bare,
            "settled_per_second": ours,
            "executor_by_bare": json,
        }));
    }
    json!(kept)
}

/// The whole pipeline at 64 connections, beside a relay that only accepts.
fn beside_accepting(client: &Runtime, sink: SocketAddr, arrived: &AtomicU64) -> Value {
    const CONNECTIONS: usize = 64;
    const WORKERS: usize = 16;

    let samples: Vec<(f64, f64)> = (0..rounds())
        .map(|_| {
            let directory = support::directory();
            let mut config = support::config(directory.path(), sink);
            config.delivery.level = Some(Level::Off);
            let relay = Relay::start(config).expect("the relay starts");
            let accepted = load(client, relay.address(), CONNECTIONS, sample());
            relay.stop().expect("the relay stops");
            (
                accepted.per_second,
                pipeline(client, sink, arrived, CONNECTIONS, WORKERS),
            )
        })
        .collect();
    let ratios: Vec<f64> = samples.iter().map(|(off, all)| all / off).collect();
    let (ratio, json) = shown(&ratios);
    let off = median(samples.iter().map(|s| s.0).collect());
    let all = median(samples.iter().map(|s| s.1).collect());
    println!(
        "\n{CONNECTIONS} connections, {WORKERS} workers: {off:.0}/s only accepted, {all:.0}/s accepted = delivered = settled; pipeline ÷ accepting {ratio}"
    );
    json!({
        "connections": CONNECTIONS,
        "workers": WORKERS,
        "accepted_per_second": off,
        "settled_per_second": all,
        "pipeline_by_accepting": json,
    })
}

/// Events a second that are accepted during a sample, over the time from its beginning to the
/// settlement of the last of them.
fn pipeline(
    client: &Runtime,
    sink: SocketAddr,
    arrived: &AtomicU64,
    connections: usize,
    workers: usize,
) -> f64 {
    let directory = support::directory();
    let mut config = support::config(directory.path(), sink);
    config.delivery.workers = workers;
    config.delivery.level = Some(Level::Durable);
    let database = config.database.path.clone();
    let relay = Relay::start(config).expect("the relay starts");
    let database = Connection::open(database).expect("a database");
    let before = arrived.load(Ordering::Relaxed);
    let start = Instant::now();
    let accepted = load(client, relay.address(), connections, sample()).count;
    while support::waits(&database) {
        std::thread::sleep(Duration::from_millis(2));
    }
    let took = start.elapsed();
    relay.stop().expect("the relay stops");
    let delivered: i64 = database
        .query_row(
            "SELECT count(*) FROM deliveries WHERE state = 3",
            [],
            |row| row.get(0),
        )
        .expect("a count");
    assert_eq!(usize::try_from(delivered), Ok(accepted));
    assert!(arrived.load(Ordering::Relaxed) - before >= accepted as u64);
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = accepted as f64 / took.as_secs_f64();
    rate
}

/// Accepts events for a sample without delivery, and delivers them afterwards; returns deliveries
/// settled a second.
fn executor(client: &Runtime, sink: SocketAddr, arrived: &AtomicU64, workers: usize) -> f64 {
    let directory = support::directory();
    let mut config = support::config(directory.path(), sink);
    config.delivery.workers = workers;
    config.delivery.level = Some(Level::Off);
    let relay = Relay::start(config.clone()).expect("the relay starts");
    load(client, relay.address(), 64, sample());
    relay.stop().expect("the relay stops");
    let database = Connection::open(directory.path().join("relay.db")).expect("a database");
    let count = |sql: &str| -> u64 {
        let count: i64 = database
            .query_row(sql, [], |row| row.get(0))
            .expect("a count");
        count.unsigned_abs()
    };
    let pending = count("SELECT count(*) FROM deliveries");

    config.delivery.level = Some(Level::Durable);
    let before = arrived.load(Ordering::Relaxed);
    let start = Instant::now();
    let relay = Relay::start(config).expect("the relay starts");
    while arrived.load(Ordering::Relaxed) - before < pending
        || count(
            "SELECT count(*) FROM deliveries WHERE next_attempt_at IS NOT NULL OR claim IS NOT NULL",
        ) > 0
    {
        std::thread::sleep(Duration::from_millis(2));
    }
    let took = start.elapsed();
    relay.stop().expect("the relay stops");
    assert_eq!(
        count("SELECT count(*) FROM deliveries WHERE state = 3"),
        pending
    );
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = pending as f64 / took.as_secs_f64();
    rate
}

/// A resolver that always returns one address.
#[derive(Debug)]
struct Known(SocketAddr);

impl Resolver for Known {
    fn resolve(
        &self,
        _: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(self.0);
        Ok(addresses)
    }
}

/// Threads that only post, one for each of the executor's workers: the upper limit.
fn bare(sink: SocketAddr, workers: usize) -> f64 {
    let config = Agent::config_builder()
        .proxy(None)
        .http_status_as_error(false)
        .max_idle_connections(workers)
        .max_idle_connections_per_host(workers)
        .timeout_global(Some(Duration::from_secs(15)))
        .build();
    let agent = Agent::with_parts(config, DefaultConnector::default(), Known(sink));
    let (url, body) = (format!("http://{sink}/hook"), Arc::new(support::body()));
    let posts = AtomicU64::new(0);
    let start = Instant::now();
    let end = start + sample();
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while Instant::now() < end {
                    let mut answer = agent.post(&url).send(body.as_bytes()).expect("an answer");
                    answer.body_mut().read_to_vec().expect("a whole answer");
                    posts.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = posts.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
    rate
}
