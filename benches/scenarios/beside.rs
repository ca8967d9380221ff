//! The latency of `POST`s beside work that keeps the writer, the disk or the readers busy.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use relay::config::Destination;
use relay::model::Level;
use relay::{Config, Relay};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::load::{Latency, described, steady_for};
use super::support::seed::{Backlog, Skew, seed};
use super::support::{self, median, runtime, sample};
use super::{Figure, Goal, Outcome, rounds, rows, shown};

/// The highest allowed ratio of the 99th percentile to the calm one.
pub const GOAL: f64 = 1.5;

/// A relay's latency in turn without and with other work.
#[derive(Default)]
pub struct Beside {
    pub calm: Vec<Latency>,
    pub busy: Vec<Latency>,
}

impl Beside {
    /// Prints it, and records it as the figure "POST p99 beside …".
    pub fn outcome(self, what: &str, details: Value) -> Outcome {
        self.outcome_within(GOAL, what, details)
    }

    /// The same with a goal of its own.
    pub fn outcome_within(self, goal: f64, what: &str, mut details: Value) -> Outcome {
        let of =
            |all: &[Latency], figure: fn(&Latency) -> f64| median(all.iter().map(figure).collect());
        println!(
            "POST from {}, ms\n{:<10} | {:>8} | {:>8} | {:>8} | {:>8} | refused",
            described(),
            "",
            "p50",
            "p99",
            "most",
            "requests"
        );
        for (name, all) in [("calm", &self.calm), ("beside it", &self.busy)] {
            println!(
                "{name:<10} | {:>8.2} | {:>8.2} | {:>8.2} | {:>8} | {}",
                of(all, |latency| latency.p50),
                of(all, |latency| latency.p99),
                of(all, |latency| latency.most),
                all.iter().map(|latency| latency.requests).sum::<usize>(),
                all.iter().map(|latency| latency.refused).sum::<usize>(),
            );
        }
        let pairs = self.calm.iter().zip(&self.busy);
        let samples: Vec<f64> = pairs.map(|(calm, busy)| busy.p99 / calm.p99).collect();
        println!("p99 beside it ÷ calm {}", shown(&samples));
        let json = |all: &[Latency]| all.iter().map(Latency::json).collect::<Vec<_>>();
        details["calm"] = json!(json(&self.calm));
        details["beside"] = json!(json(&self.busy));
        Outcome {
            figures: vec![Figure {
                name: format!("POST p99 beside {what} ÷ calm"),
                goal: Goal::AtMost(goal),
                unit: "",
                samples,
            }],
            details,
        }
    }
}

/// A configuration whose events go to one destination, which is never contacted once it is paused.
pub fn config(directory: &Path, level: Level) -> Config {
    let mut config = support::config(directory, "127.0.0.1:9".parse().expect("an address"));
    config.delivery.level = Some(level);
    config
}

/// Adds destinations that are never contacted, and returns their names.
pub fn destinations(config: &mut Config, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|n| format!("to{n}")).collect();
    for name in &names {
        let url = format!("http://127.0.0.1:9/{name}");
        let to = Destination::new(url.parse().expect("a URL"));
        config.destinations.insert(name.clone(), to);
    }
    names
}

/// 1 024 workers whose attempts end at about the same time, so that the dispatcher settles and
/// claims as many deliveries at once. The transport answers itself: with HTTP, connections would
/// take the processors, and the writer's share couldn't be measured. Threads that only wake, as
/// many, are measured beside it: no relay with that many workers disturbs less.
pub fn turn() -> Outcome {
    const WORKERS: usize = 1024;
    const DESTINATIONS: usize = 128;
    /// The duration of an attempt.
    const LATENCY: Duration = Duration::from_millis(250);

    let client = runtime(1);
    let directory = support::directory();
    let mut config = config(directory.path(), Level::Simulated);
    config.delivery.workers = WORKERS;
    config.delivery.simulated.latency = LATENCY;
    let names = destinations(&mut config, DESTINATIONS);
    let waiting = support::rows(200_000);
    seed(
        &config,
        &Backlog {
            events: waiting,
            destinations: &names,
            skew: Skew::Even,
            body: b"{}",
            keys: 0,
            due_in: None,
        },
    );
    let path = config.database.path.clone();
    rows::pause(&path, "sink");
    let measure = || {
        let relay = Relay::start(config.clone()).expect("the relay starts");
        steady_for(&client, relay.address(), sample() / 4);
        let latency = steady_for(&client, relay.address(), sample());
        relay.stop().expect("the relay stops");
        latency
    };
    let mut beside = Beside::default();
    let mut beside_sleepers = Vec::new();
    for _ in 0..rounds() {
        rows::pause(&path, "to%");
        let calm = measure();
        let sleepers = Sleepers::start(WORKERS, LATENCY);
        beside_sleepers.push(measure().p99 / calm.p99);
        sleepers.stop();
        beside.calm.push(calm);
        rows::resume(&path, "to%");
        beside.busy.push(measure());
    }
    println!(
        "p99 beside {WORKERS} threads that only wake ÷ calm {}",
        shown(&beside_sleepers)
    );
    let (settled, at_once) = settled_and_at_once(&path);
    println!(
        "settlements and claims of {WORKERS} workers, {waiting} deliveries to {DESTINATIONS} destinations wait; {settled} settled, at most {at_once} within 0.1 s"
    );
    beside.outcome(
        &format!("settlements and claims of {WORKERS} workers"),
        json!({
            "waiting": waiting,
            "settled": settled,
            "most_settled_in_100_ms": at_once,
            "beside_sleepers": beside_sleepers,
        }),
    )
}

/// The deliveries that were settled, and the most of them within 0.1 s.
fn settled_and_at_once(path: &Path) -> (i64, i64) {
    Connection::open(path)
        .and_then(|sql| {
            sql.query_row(
                "SELECT coalesce(sum(settled), 0), coalesce(max(settled), 0)
                 FROM (SELECT count(*) AS settled FROM deliveries WHERE state = 3
                       GROUP BY updated_at / 100)",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
        })
        .expect("a count")
}

/// Threads that wake together and do nothing: what as many workers cost at least.
struct Sleepers {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Sleepers {
    fn start(count: usize, every: Duration) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let start = Instant::now();
        let sleeper = || {
            let is_over = Arc::clone(&is_over);
            let sleep = move || {
                let mut next = every;
                while !is_over.load(Ordering::Relaxed) {
                    std::thread::sleep(next.saturating_sub(start.elapsed()));
                    next += every;
                }
            };
            let thread = std::thread::Builder::new().stack_size(64 * 1024);
            thread.spawn(sleep).expect("a thread")
        };
        let threads = (0..count).map(|_| sleeper()).collect();
        Self { is_over, threads }
    }

    fn stop(self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a sleeper doesn't panic");
        }
    }
}

/// The size that the goal is given for, some 2 GB; seeding takes half a minute to a minute.
const PENDING: i64 = 10_000_000;

/// A scrape of `/metrics` once a second, while a large backlog waits for its next attempts.
pub fn scrape() -> Outcome {
    const DESTINATIONS: usize = 100;

    let client = runtime(1);
    let directory = support::directory();
    let mut config = config(directory.path(), Level::Durable);
    let names = destinations(&mut config, DESTINATIONS);
    let pending = support::rows(PENDING);
    let start = Instant::now();
    seed(
        &config,
        &Backlog {
            events: pending,
            destinations: &names,
            skew: Skew::Even,
            body: b"{}",
            keys: 0,
            due_in: Some(Duration::from_secs(4 * 3_600)),
        },
    );
    rows::pause(&config.database.path, "sink");
    let seeded = start.elapsed();
    let start = Instant::now();
    let relay = Relay::start(config).expect("the relay starts");
    let started = start.elapsed();
    let admin = relay.admin_address().expect("it is configured");
    // Stored deliveries are counted after the start, in the background.
    while !support::metrics(admin).contains("relay_deliveries{") {
        std::thread::sleep(Duration::from_millis(10));
    }
    let counted = start.elapsed();
    steady_for(&client, relay.address(), sample() / 4);
    let mut beside = Beside::default();
    let mut scrapes = Vec::new();
    for _ in 0..rounds() {
        let time = sample() * 2;
        beside.calm.push(steady_for(&client, relay.address(), time));
        let monitor = Scraper::start(admin);
        beside.busy.push(steady_for(&client, relay.address(), time));
        scrapes.extend(monitor.stop());
    }
    relay.stop().expect("the relay stops");
    let (least, most) = support::spread(&scrapes);
    let scrape = median(scrapes.clone());
    println!(
        "a scrape of /metrics once a second, {pending} deliveries pending (seeded in {seeded:.0?}, started in {started:.1?}, counted after {counted:.1?}); {} scrapes of {scrape:.1} ms ({least:.1}–{most:.1})",
        scrapes.len()
    );
    beside.outcome(
        &format!("a scrape a second, {pending} pending"),
        json!({
            "pending": pending,
            "start_ms": started.as_secs_f64() * 1e3,
            "counted_after_ms": counted.as_secs_f64() * 1e3,
            "scrape_ms": { "median": scrape, "least": least, "most": most },
        }),
    )
}

/// Asks for the metrics once a second, on a thread of its own.
struct Scraper {
    stop: Sender<()>,
    thread: JoinHandle<Vec<f64>>,
}

impl Scraper {
    fn start(admin: SocketAddr) -> Self {
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::spawn(move || {
            let mut took = Vec::new();
            loop {
                let start = Instant::now();
                support::metrics(admin);
                took.push(start.elapsed().as_secs_f64() * 1e3);
                let rest = Duration::from_secs(1).saturating_sub(start.elapsed());
                if stopped.recv_timeout(rest) != Err(RecvTimeoutError::Timeout) {
                    return took;
                }
            }
        });
        Self { stop, thread }
    }

    /// The duration of each scrape in milliseconds.
    fn stop(self) -> Vec<f64> {
        // The thread ends only on request.
        self.stop.send(()).expect("the thread waits for it");
        self.thread.join().expect("a scrape doesn't panic")
    }
}
