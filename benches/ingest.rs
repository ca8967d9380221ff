//! Durable `POST /webhooks/{source}` a second beside two limits, interleaved in one run: a hyper
//! handler that does nothing, and one that appends to a file and syncs it, a group at a time. Only
//! the ratios can be compared between machines.
//!
//! ```text
//! cargo bench --bench ingest
//! ```

mod support;

use relay::Relay;
use relay::model::Level;
use serde_json::json;
use support::{Load, fsync_log, load, median, no_op, rounds, runtime, sample, spread};

/// One sample of each, in turn.
struct Sample {
    no_op: Load,
    log: Load,
    durable: Load,
}

fn main() {
    let client = runtime(1);
    let idle = runtime(2);
    let (no_op, _) = no_op(&idle);
    let directory = support::directory();
    let log = fsync_log(&idle, directory.path());
    let mut config = support::config(directory.path(), no_op);
    config.delivery.level = Some(Level::Off);
    let relay = Relay::start(config).expect("the relay starts");

    println!(
        "{} samples of {:?} each, interleaved; medians, and (least–most) of the ratios\n",
        rounds(),
        sample()
    );
    println!(
        "{:>5} | {:>8} {:>8} {:>8} | {:>8} {:>8} {:>8} | {:>8} {:>8} {:>8} | {:<18} | {:<18} | {:<11} | p99 ÷ log",
        "conns",
        "no-op/s",
        "p50",
        "p99",
        "log/s",
        "p50",
        "p99",
        "relay/s",
        "p50",
        "p99",
        "relay ÷ no-op",
        "relay ÷ log",
        "p50 ÷ log"
    );
    let mut figures = Vec::new();
    for connections in [1, 16, 64, 256] {
        // The first sample of each warms caches and pools.
        for to in [no_op, log, relay.address()] {
            load(&client, to, connections, sample() / 4);
        }
        let samples: Vec<Sample> = (0..rounds())
            .map(|_| Sample {
                no_op: load(&client, no_op, connections, sample()),
                log: load(&client, log, connections, sample()),
                durable: load(&client, relay.address(), connections, sample()),
            })
            .collect();
        let of = |figure: fn(&Sample) -> f64| -> Vec<f64> { samples.iter().map(figure).collect() };
        let micros = |figure: fn(&Sample) -> f64| format!("{:.0} µs", median(of(figure)) * 1e6);
        let ratio = |figure: fn(&Sample) -> f64| {
            let ratios = of(figure);
            let (least, most) = spread(&ratios);
            let median = median(ratios);
            let text = format!("{median:.2} ({least:.2}–{most:.2})");
            (
                text,
                json!({ "median": median, "least": least, "most": most }),
            )
        };
        let by_no_op = ratio(|s| s.durable.per_second / s.no_op.per_second);
        let by_log = ratio(|s| s.durable.per_second / s.log.per_second);
        let p50 = ratio(|s| s.durable.p50.as_secs_f64() / s.log.p50.as_secs_f64());
        let p99 = ratio(|s| s.durable.p99.as_secs_f64() / s.log.p99.as_secs_f64());
        println!(
            "{connections:>5} | {:>8.0} {:>8} {:>8} | {:>8.0} {:>8} {:>8} | {:>8.0} {:>8} {:>8} | {:<18} | {:<18} | {:<11} | {}",
            median(of(|s| s.no_op.per_second)),
            micros(|s| s.no_op.p50.as_secs_f64()),
            micros(|s| s.no_op.p99.as_secs_f64()),
            median(of(|s| s.log.per_second)),
            micros(|s| s.log.p50.as_secs_f64()),
            micros(|s| s.log.p99.as_secs_f64()),
            median(of(|s| s.durable.per_second)),
            micros(|s| s.durable.p50.as_secs_f64()),
            micros(|s| s.durable.p99.as_secs_f64()),
            by_no_op.0,
            by_log.0,
            p50.0.split(' ').next().unwrap_or_default(),
            p99.0.split(' ').next().unwrap_or_default(),
        );
        figures.push(json!({
            "connections": connections,
            "no_op_per_second": median(of(|s| s.no_op.per_second)),
            "log_per_second": median(of(|s| s.log.per_second)),
            "relay_per_second": median(of(|s| s.durable.per_second)),
            "relay_by_no_op": by_no_op.1,
            "relay_by_log": by_log.1,
            "p50_by_log": p50.1,
            "p99_by_log": p99.1,
        }));
    }
    relay.stop().expect("the relay stops");
    support::keep("ingest", &json!(figures));
}
