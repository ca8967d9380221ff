//! Reads of the operator with many deliveries stored, beside few.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use relay::Relay;
use relay::model::Level;
use serde_json::json;
use tempfile::TempDir;

use super::beside;
use super::support::seed::{Backlog, Skew, seed};
use super::support::{self, median, ratios};
use super::{Figure, Goal, Outcome, rounds, rows};

/// The highest allowed ratio of a read to the same read with few rows.
const GOAL: f64 = 1.5;
const FEW: i64 = 10_000;
/// Reads in a sample; the sample is their median.
const REPEATS: usize = 20;

/// The reads, each with its path. A build without the console has none of its pages.
const READS: [(&str, &str); 7] = [
    ("GET /metrics", "/metrics"),
    (
        "a list by status",
        "/api/deliveries?status=retrying&limit=50",
    ),
    ("a list of all", "/api/deliveries?limit=50"),
    ("the overview", "/api/overview"),
    ("the destinations", "/api/destinations"),
    ("console, overview", "/"),
    ("console, list", "/deliveries"),
];

/// Reads with few rows and with many, in turn.
pub fn run() -> Outcome {
    let most = support::rows_by_form(1_000_000, 10_000_000);
    let (few, _few) = start(FEW.min(most));
    let (many, _many) = start(most);
    let [small, large] = [&few, &many].map(|relay| relay.admin_address().expect("configured"));
    println!("reads with {most} deliveries that wait, beside {FEW}, ms");
    println!("{:<18} | {:>7} | {:>7} | many ÷ few", "", "few", "many");
    let (mut figures, mut kept) = (Vec::new(), Vec::new());
    for (what, path) in READS {
        if support::get(small, path).starts_with("HTTP/1.1 404") {
            continue;
        }
        // The first read of each fills caches.
        for admin in [small, large] {
            read(admin, path);
        }
        let (mut base, mut took) = (Vec::new(), Vec::new());
        for _ in 0..rounds() {
            base.push(read(small, path));
            took.push(read(large, path));
        }
        let samples = ratios(&took, &base);
        let (ratio, ratio_json) = support::shown(&samples);
        let (base, took) = (median(base), median(took));
        println!("{what:<18} | {base:>7.2} | {took:>7.2} | {ratio}");
        kept.push(json!({
            "read": what, "few_ms": base, "many_ms": took, "many_by_few": ratio_json,
        }));
        figures.push(Figure {
            name: format!("{what}, {most} deliveries ÷ {FEW}"),
            goal: Goal::AtMost(GOAL),
            unit: "",
            samples,
        });
    }
    for relay in [few, many] {
        relay.stop().expect("the relay stops");
    }
    Outcome {
        figures,
        details: json!({ "rows": most, "reads": kept }),
    }
}

/// A relay with this many deliveries that wait for their next attempt.
fn start(events: i64) -> (Relay, TempDir) {
    const DESTINATIONS: usize = 100;

    let directory = support::directory();
    let mut config = beside::config(directory.path(), Level::Durable);
    let names = beside::destinations(&mut config, DESTINATIONS);
    seed(
        &config,
        &Backlog {
            events,
            destinations: &names,
            skew: Skew::Even,
            body: b"{}",
            keys: 0,
            due_in: Some(Duration::from_secs(4 * 3_600)),
        },
    );
    rows::pause(&config.database.path, "sink");
    let relay = Relay::start(config).expect("the relay starts");
    let admin = relay.admin_address().expect("it is configured");
    // Stored deliveries are counted after the start, in the background.
    while !support::metrics(admin).contains("relay_deliveries{") {
        std::thread::sleep(Duration::from_millis(10));
    }
    (relay, directory)
}

/// The time of a read in milliseconds.
fn read(admin: SocketAddr, path: &str) -> f64 {
    let took = (0..REPEATS).map(|_| {
        let start = Instant::now();
        let answer = support::get(admin, path);
        let took = start.elapsed().as_secs_f64() * 1e3;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        took
    });
    median(took.collect())
}
