//! A copy of the database is made while events come in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use relay::Relay;
use relay::model::Level;
use rusqlite::Connection;
use serde_json::json;

use super::beside::{self, Beside};
use super::load::{steady, steady_for};
use super::support::seed::{Backlog, Skew, seed};
use super::support::{self, median, runtime, sample};
use super::{Outcome, rounds, rows};

/// Events of the database: 1.1 GB.
const EVENTS: i64 = 1_200_000;
/// Between the end of a copy and the next calm sample: the writer has to checkpoint what the copy's
/// snapshot kept in the WAL.
const REST: Duration = Duration::from_secs(1);

/// Another connection's `VACUUM INTO`. It reads and writes the whole database, and its snapshot
/// keeps the WAL from being reset.
pub fn run() -> Outcome {
    let client = runtime(1);
    let directory = support::directory();
    let config = beside::config(directory.path(), Level::Durable);
    seed(
        &config,
        &Backlog {
            events: support::rows(EVENTS),
            destinations: &["sink".to_owned()],
            skew: Skew::Even,
            body: support::body().as_bytes(),
            keys: 0,
            due_in: Some(Duration::from_secs(4 * 3_600)),
        },
    );
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
    for _ in 0..rounds() {
        let calm = steady_for(&client, relay.address(), sample());
        beside.calm.push(calm);
        let is_over = Arc::new(AtomicBool::new(false));
        let vacuum = {
            let (path, copy, is_over) = (path.clone(), copy.clone(), Arc::clone(&is_over));
            std::thread::spawn(move || {
                let start = Instant::now();
                let sql = Connection::open(path).expect("the database");
                let made = sql.execute("VACUUM INTO ?1", [copy.to_str().expect("text")]);
                is_over.store(true, Ordering::SeqCst);
                made.expect("a copy");
                start.elapsed().as_secs_f64()
            })
        };
        let busy = steady(&client, relay.address(), move || {
            is_over.load(Ordering::SeqCst)
        });
        beside.busy.push(busy);
        took.push(vacuum.join().expect("a copy is made"));
        std::fs::remove_file(&copy).expect("the copy");
        std::thread::sleep(REST);
    }
    relay.stop().expect("the relay stops");
    let seconds = median(took);
    println!(
        "a VACUUM INTO of {gigabytes:.2} GB by another connection, which takes {seconds:.1} s"
    );
    beside.outcome(
        &format!("a VACUUM INTO of {gigabytes:.2} GB"),
        json!({ "bytes": bytes, "vacuum_seconds": seconds }),
    )
}
