//! The executor with a backlog, beside a bare pool.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use relay::Relay;
use relay::model::Level;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::Scene;
use super::posts::posts;
use super::support::{self, load, median, ratios, rounds, sample, shown};

pub fn beside_bare(scene: &Scene) -> Value {
    println!("workers | bare ureq pool/s | executor, settled/s | executor ÷ bare");
    let mut kept = Vec::new();
    for workers in [16, 64] {
        let (bare, ours): (Vec<f64>, Vec<f64>) = (0..rounds())
            .map(|_| {
                let bare = posts(scene.sink, workers);
                (bare, executor(scene, workers))
            })
            .unzip();
        let (ratio, json) = shown(&ratios(&ours, &bare));
        let (bare, ours) = (median(bare), median(ours));
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

/// Accepts events for a sample without delivery, and delivers them afterwards; returns deliveries
/// settled a second.
fn executor(scene: &Scene, workers: usize) -> f64 {
    let arrived = &scene.arrived;
    let directory = support::directory();
    let mut config = support::config(directory.path(), scene.sink);
    config.delivery.workers = workers;
    config.delivery.level = Some(Level::Off);
    let relay = Relay::start(config.clone()).expect("the relay starts");
    load(&scene.client, relay.address(), 64, sample());
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
