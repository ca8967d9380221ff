//! Reads of the operator with many deliveries stored, beside few.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use relay::Relay;
use relay::model::Level;
use serde_json::{Value, json};
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

/// The reads, each with its path; `ID` stands for the newest event's. A build without the console
/// has none of its pages. All of them look at as many rows with few deliveries as with many.
const READS: [(&str, &str); 21] = [
    ("GET /metrics", "/metrics"),
    (
        "a list by status",
        "/api/deliveries?status=retrying&limit=50",
    ),
    (
        "a list of dead letters",
        "/api/deliveries?status=dead_lettered&limit=50",
    ),
    ("a list of all", "/api/deliveries?limit=50"),
    ("an event", "/api/events/ID"),
    ("the overview", "/api/overview"),
    ("the destinations", "/api/destinations"),
    ("a destination", "/api/destinations/to5"),
    ("the operations", "/api/operations"),
    ("the rollups", "/api/rollups"),
    ("the configuration", "/api/config"),
    ("console, overview", "/"),
    ("console, list", "/deliveries"),
    ("console, by status", "/deliveries?status=retrying"),
    (
        "console, dead letters",
        "/deliveries?status=dead_lettered&destination=to5",
    ),
    ("console, no match", "/deliveries?source=none"),
    ("console, event", "/events/ID"),
    ("console, destinations", "/destinations"),
    ("console, destination", "/destinations/to5"),
    ("console, operations", "/operations"),
    ("console, configuration", "/configuration"),
];

/// Reads with few rows and with many, in turn.
pub fn run() -> Outcome {
    let most = support::rows_by_form(1_000_000, 10_000_000);
    let (few, _few) = start(FEW.min(most));
    let (many, _many) = start(most);
    let [small, large] = [&few, &many].map(|relay| relay.admin_address().expect("configured"));
    let newest = [small, large].map(newest);
    println!("reads with {most} deliveries that wait, beside {FEW}, ms");
    println!("{:<22} | {:>7} | {:>7} | many ÷ few", "", "few", "many");
    let (mut figures, mut kept) = (Vec::new(), Vec::new());
    for (what, path) in READS {
        let [of_few, of_many] = newest.each_ref().map(|id| path.replace("ID", id));
        if support::get(small, &of_few).starts_with("HTTP/1.1 404") {
            continue;
        }
        // The first read of each fills caches.
        read(small, &of_few);
        read(large, &of_many);
        let (mut base, mut took) = (Vec::new(), Vec::new());
        for _ in 0..rounds() {
            base.push(read(small, &of_few));
            took.push(read(large, &of_many));
        }
        let samples = ratios(&took, &base);
        let (ratio, ratio_json) = support::shown(&samples);
        let (base, took) = (median(base), median(took));
        println!("{what:<22} | {base:>7.2} | {took:>7.2} | {ratio}");
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

/// The newest event's id.
pub fn newest(admin: SocketAddr) -> String {
    let answer = support::get(admin, "/api/deliveries?limit=1");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let page: Value = serde_json::from_str(body).expect("JSON");
    page["items"][0]["id"]
        .as_str()
        .expect("an event")
        .to_owned()
}

/// A relay with this many deliveries, most of which wait for their next attempt.
pub fn start(events: i64) -> (Relay, TempDir) {
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
    rows::vary(&config.database.path);
    rows::pause(&config.database.path, "sink");
    let relay = Relay::start(config).expect("the relay starts");
    let admin = relay.admin_address().expect("it is configured");
    // Stored deliveries are counted after the start, in the background.
    while !support::metrics(admin).contains("relay_deliveries{") {
        std::thread::sleep(Duration::from_millis(10));
    }
    (relay, directory)
}

/// The median time of reads in milliseconds.
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
