//! A copy of the database is made while events are accepted.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use relay::model::Level;
use relay::{Config, Relay};
use rusqlite::Connection;
use serde_json::json;
use tokio::runtime::Runtime;

use super::beside::{self, Beside};
use super::load::{Latency, Pace, steady, steady_for};
use super::support::seed::{Backlog, Skew, seed};
use super::support::{self, median, runtime, sample};
use super::{Figure, Goal, Outcome, rounds, rows, shown};

/// Events in the database: 1.1 GB.
const EVENTS: i64 = 1_200_000;
/// The pause after a copy, in which the writer checkpoints the frames that the copy's snapshot kept
/// in the WAL.
pub const REST: Duration = Duration::from_secs(1);

/// A `VACUUM INTO` by another connection. It reads the whole database and writes a copy, and its
/// snapshot keeps the WAL from being reset. A plain file of that size, written in turn, shows the
/// part of the latency that any load on the disk causes; a copy to another disk, in turn as well,
/// the part that the long read causes. `RELAY_BENCH_OTHER_DISK` names a directory there, memory by
/// default.
pub fn run() -> Outcome {
    let client = runtime(1);
    let directory = support::directory();
    let config = beside::config(directory.path(), Level::Durable);
    fill(&config);
    let path = config.database.path.clone();
    rows::pause(&path, "sink");
    let bytes = path.metadata().expect("the database").len();
    #[expect(clippy::cast_precision_loss, reason = "a size")]
    let gigabytes = bytes as f64 / 1e9;

    let copy = directory.path().join("copy.db");
    let relay = Relay::start(config).expect("the relay starts");
    steady_for(&client, relay.address(), sample() / 4);
    let mut beside = Beside::default();
    let mut took = Vec::new();
    let mut beside_a_file = Vec::new();
    let mut elsewhere = Vec::new();
    let other = other_disk();
    let other_copy = other.path().join("copy.db");
    for _ in 0..rounds() {
        let calm = steady_for(&client, relay.address(), sample());
        let calm_p99 = calm.p99;
        beside.calm.push(calm);
        let (busy, _) = during(&client, &relay, || vacuum_into(&path, &other_copy));
        elsewhere.push(busy.p99 / calm_p99);
        std::fs::remove_file(&other_copy).expect("the copy");
        std::thread::sleep(REST);
        let (busy, seconds) = during(&client, &relay, || vacuum_into(&path, &copy));
        beside.busy.push(busy);
        took.push(seconds);
        std::fs::remove_file(&copy).expect("the copy");
        std::thread::sleep(REST);
        let (busy, _) = during(&client, &relay, || write_file(&copy, bytes));
        beside_a_file.push(busy.p99);
        std::fs::remove_file(&copy).expect("the file");
        std::thread::sleep(REST);
    }
    relay.stop().expect("the relay stops");
    let seconds = median(took);
    println!(
        "a VACUUM INTO of {gigabytes:.2} GB by another connection, which takes {seconds:.1} s"
    );
    let pairs = beside.busy.iter().zip(&beside_a_file);
    let against_a_file: Vec<f64> = pairs.map(|(vacuum, file)| vacuum.p99 / file).collect();
    println!(
        "p99 beside a plain file of that size {:.2} ms; beside the VACUUM INTO ÷ beside the file {}",
        median(beside_a_file.clone()),
        shown(&against_a_file)
    );
    let mut outcome = beside.outcome(
        &format!("a VACUUM INTO of {gigabytes:.2} GB"),
        json!({ "bytes": bytes, "vacuum_seconds": seconds, "p99_beside_a_file": beside_a_file }),
    );
    outcome.figures.push(Figure {
        name: "POST p99 beside a VACUUM INTO to another disk ÷ calm".to_owned(),
        goal: Goal::AtMost(beside::GOAL),
        unit: "",
        samples: elsewhere,
    });
    outcome
}

/// Fills the database with events that are due long after the measurement.
fn fill(config: &Config) {
    seed(
        config,
        &Backlog {
            events: support::rows(EVENTS),
            destinations: &["sink".to_owned()],
            skew: Skew::Even,
            body: support::body().as_bytes(),
            keys: 0,
            due_in: Some(Duration::from_secs(4 * 3_600)),
        },
    );
}

/// A directory on another disk than the database's.
fn other_disk() -> tempfile::TempDir {
    let other = std::env::var("RELAY_BENCH_OTHER_DISK").unwrap_or_else(|_| "/dev/shm".to_owned());
    tempfile::tempdir_in(other).expect("a directory on another disk")
}

fn vacuum_into(database: &Path, copy: &Path) {
    let sql = Connection::open(database).expect("the database");
    sql.execute("VACUUM INTO ?1", [copy.to_str().expect("text")])
        .expect("a copy");
}

/// The latency of `POST`s for as long as `work` takes on a thread of its own, and its seconds.
pub fn during(client: &Runtime, relay: &Relay, work: impl FnOnce() + Send) -> (Latency, f64) {
    let is_over = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        let ends = Arc::clone(&is_over);
        let working = scope.spawn(move || {
            let start = Instant::now();
            work();
            ends.store(true, Ordering::SeqCst);
            start.elapsed().as_secs_f64()
        });
        let busy = steady(client, relay.address(), &Pace::usual(), move || {
            is_over.load(Ordering::SeqCst)
        });
        (busy, working.join().expect("the work doesn't panic"))
    })
}

/// Writes a file of this many bytes, in pieces of a mebibyte, and syncs it.
fn write_file(path: &Path, bytes: u64) {
    let mut file = File::create(path).expect("a file");
    let piece = vec![0x5a; 1 << 20];
    for _ in 0..bytes >> 20 {
        file.write_all(&piece).expect("written");
    }
    file.sync_all().expect("synced");
}
