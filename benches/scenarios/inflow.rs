//! A backlog that is drained while events come in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use relay::config::Source;
use relay::{Config, Relay};
use rusqlite::{Connection, params};
use serde_json::json;
use tokio::runtime::Runtime;

use super::load::{Latency, Pace, steady};
use super::support::backlog::{Hosts, Waiting, now, settled_between};
use super::support::seed::Skew;
use super::support::servers::no_op_of_hosts;
use super::support::{self, median, ratios, runtime};
use super::{Outcome, rounds, shown};

const DESTINATIONS: usize = 10;
/// Events that come in a second.
const INFLOW: u32 = 5_000;

/// The drain of a backlog beside events that come in.
struct Drained {
    seconds: f64,
    /// Settled a second, those that came in included.
    per_second: f64,
    latency: Latency,
}

/// Settles a backlog alone for a sample, and then all of it while events come in. The older go
/// first, so the new ones wait until the end.
pub fn run() -> Outcome {
    let (client, sinks) = (runtime(1), runtime(1));
    let (sink, _) = no_op_of_hosts(&sinks, None);
    let hosts = Hosts {
        port: sink.port(),
        ca_file: None,
    };
    let rows = support::rows_by_form(100_000, 10_000_000);
    let mut waiting = Waiting::new(hosts.destinations(DESTINATIONS), rows, Skew::Even);
    let sources: Vec<String> = (0..DESTINATIONS).map(|n| format!("to{n}")).collect();
    for name in &sources {
        let source = Source::to([name.as_str()]);
        waiting.config.sources.insert(name.clone(), source);
    }
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..rounds() {
        alone.push(waiting.drain());
        beside.push(drain_beside(&client, &waiting.config, &sources));
    }
    let rates: Vec<f64> = beside.iter().map(|one| one.per_second).collect();
    let samples = ratios(&rates, &alone);
    let of = |figure: fn(&Drained) -> f64| median(beside.iter().map(figure).collect());
    let (alone, rate) = (median(alone), median(rates));
    let (seconds, p99) = (of(|one| one.seconds), of(|one| one.latency.p99));
    let refused: usize = beside.iter().map(|one| one.latency.refused).sum();
    println!(
        "a backlog of {rows} to {DESTINATIONS} destinations, drained while {INFLOW} events a second come in"
    );
    println!("alone, settled/s              | {alone:.0}");
    println!("while events come in          | {rate:.0}");
    println!("  ÷ alone                     | {}", shown(&samples));
    println!("drained in                    | {seconds:.1} s");
    println!("POST p99 meanwhile            | {p99:.2} ms, {refused} refused");
    Outcome {
        figures: Vec::new(),
        details: json!({
            "rows": rows,
            "inflow_per_second": INFLOW,
            "alone_per_second": alone,
            "beside_per_second": rate,
            "beside_by_alone": support::shown(&samples).1,
            "drained_in_seconds": seconds,
            "latency": beside.iter().map(|one| one.latency.json()).collect::<Vec<_>>(),
        }),
    }
}

/// Drains the seeded backlog while events come in. Afterwards the backlog is as before.
fn drain_beside(client: &Runtime, config: &Config, sources: &[String]) -> Drained {
    let sql = Connection::open(&config.database.path).expect("the database");
    let newest: i64 = sql
        .query_row("SELECT max(id) FROM intents", [], |row| row.get(0))
        .expect("a backlog");
    let pace = Pace::of(INFLOW, sources.to_vec());
    let is_over = Arc::new(AtomicBool::new(false));
    let (begun, start) = (now(), Instant::now());
    let relay = Relay::start(config.clone()).expect("the relay starts");
    let (to, ends) = (relay.address(), Arc::clone(&is_over));
    let (latency, seconds, ended) = std::thread::scope(|scope| {
        let load =
            scope.spawn(move || steady(client, to, &pace, move || ends.load(Ordering::SeqCst)));
        while waits_up_to(&sql, newest) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let (seconds, ended) = (start.elapsed().as_secs_f64(), now());
        is_over.store(true, Ordering::SeqCst);
        let latency = load.join().expect("a client doesn't panic");
        (latency, seconds, ended)
    });
    relay.stop().expect("the relay stops");
    let (_, per_second) = settled_between(&sql, "to%", begun, ended);
    for delete in [
        "DELETE FROM attempts WHERE intent_id > ?1",
        "DELETE FROM deliveries WHERE intent_id > ?1",
        "DELETE FROM idempotency WHERE intent_id > ?1",
        "DELETE FROM intents WHERE id > ?1",
    ] {
        sql.execute(delete, [newest])
            .expect("the schema is as known here");
    }
    support::reset(&sql);
    Drained {
        seconds,
        per_second,
        latency,
    }
}

/// Whether a delivery of an event up to this one waits or is in flight. The events of a backlog are
/// due since their own time, which the index `due` finds.
fn waits_up_to(sql: &Connection, newest: i64) -> bool {
    sql.query_row(
        "SELECT EXISTS (SELECT 1 FROM destinations t CROSS JOIN deliveries d
                        ON d.destination_id = t.id AND d.next_attempt_at <= ?1)
             OR EXISTS (SELECT 1 FROM deliveries WHERE claim IS NOT NULL AND intent_id <= ?2)",
        params![newest >> 12, newest],
        |row| row.get(0),
    )
    .expect("the schema is as known here")
}
