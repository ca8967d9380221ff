//! Retention while events are accepted.

use std::time::Duration;

use relay::Relay;
use relay::model::Level;
use rusqlite::Connection;
use serde_json::json;

use super::beside::{self, Beside};
use super::load::steady_for;
use super::support::{self, median, runtime, sample};
use super::{Outcome, rounds, rows, shown};

/// Ingestion while 100 000 old events are pruned, and without a prune.
pub fn old_events() -> Outcome {
    const OLD: usize = 100_000;

    let sinks = runtime(1);
    let client = runtime(1);
    let (sink, _) = support::servers::no_op(&sinks);
    let (mut ratios, mut figures, mut pruned) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds() {
        let one = |old: usize| {
            let directory = support::directory();
            let mut config = support::config(directory.path(), sink);
            config.delivery.level = Some(Level::Off);
            let age = Duration::from_secs(30 * 86_400);
            rows::seed(&config, &["sink".to_owned()], old.max(1), "3, 1, NULL", age);
            let path = config.database.path.clone();
            let relay = Relay::start(config).expect("the relay starts");
            let load = support::load(&client, relay.address(), 16, sample() * 2);
            relay.stop().expect("the relay stops");
            let left: i64 = Connection::open(path)
                .and_then(|database| {
                    database.query_row(
                        "SELECT count(*) FROM deliveries WHERE state = 3",
                        [],
                        |row| row.get(0),
                    )
                })
                .expect("a count");
            (load.p99.as_secs_f64() * 1e3, left)
        };
        let ((without, _), (with, left)) = (one(0), one(OLD));
        ratios.push(with / without);
        figures.push((without, with));
        #[expect(clippy::cast_precision_loss, reason = "a count")]
        pruned.push(OLD as f64 - left as f64);
    }
    let without = median(figures.iter().map(|f| f.0).collect());
    let with = median(figures.iter().map(|f| f.1).collect());
    let pruned = median(pruned);
    println!("retention at work on {OLD} old events, 16 connections posting");
    println!(
        "ingestion p99: {without:.2} ms without, {with:.2} ms with; with ÷ without {}; {pruned:.0} pruned meanwhile",
        shown(&ratios),
    );
    Outcome {
        figures: Vec::new(),
        details: json!({
            "without_ms": without,
            "with_ms": with,
            "with_by_without": support::shown(&ratios).1,
            "pruned": pruned,
        }),
    }
}

/// Prunes few events with many rows at once: each was delivered to many destinations after many
/// attempts.
pub fn wide_events() -> Outcome {
    const EVENTS: i64 = 64;
    const DESTINATIONS: usize = 20;
    const ATTEMPTS: i64 = 50;

    let client = runtime(1);
    let directory = support::directory();
    let config = beside::config(directory.path(), Level::Durable);
    let path = config.database.path.clone();
    rows::create(&config);
    rows::pause(&path, "sink");
    let names: Vec<String> = (0..DESTINATIONS).map(|n| format!("to{n}")).collect();
    let mut beside = Beside::default();
    let (mut old, mut left) = (0, Vec::new());
    // Each start begins a sweep.
    let measure = || {
        let relay = Relay::start(config.clone()).expect("the relay starts");
        let latency = steady_for(&client, relay.address(), sample() * 2);
        relay.stop().expect("the relay stops");
        latency
    };
    for _ in 0..rounds() {
        beside.calm.push(measure());
        old = rows::wide_events(&path, &names, EVENTS, ATTEMPTS);
        beside.busy.push(measure());
        left.push(rows::delete_old(&path));
    }
    println!(
        "retention of {EVENTS} events of {DESTINATIONS} destinations and {ATTEMPTS} attempts each, {old} rows in all; {left:?} of them left at the end of each sample"
    );
    beside.outcome(
        &format!("a prune of {EVENTS} × {DESTINATIONS} × {ATTEMPTS}"),
        json!({ "rows": old, "left": left }),
    )
}
