//! Everything at once: accepting, delivering and settling, on the same processors.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use relay::Relay;
use relay::model::Level;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::support::{self, load, median, ratios, rounds, sample, shown};
use super::{Scene, bare};

const CONNECTIONS: usize = 64;
const WORKERS: usize = 16;

/// The pipeline beside a relay that only accepts, and beside the same pieces without a database.
pub fn beside_limits(scene: &Scene) -> Value {
    let (mut off, mut bare, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds() {
        off.push(accepting(scene));
        bare.push(bare::pipeline(scene, CONNECTIONS, WORKERS));
        all.push(pipeline(scene));
    }
    let (by_off, by_off_json) = shown(&ratios(&all, &off));
    let (by_bare, by_bare_json) = shown(&ratios(&all, &bare));
    let (off, bare, all) = (median(off), median(bare), median(all));
    println!("{CONNECTIONS} connections, {WORKERS} workers");
    println!("only accepted, a second                   | {off:.0}");
    println!("a bare pipeline, a second                 | {bare:.0}");
    println!("accepted = delivered = settled, a second  | {all:.0}");
    println!("pipeline ÷ accepting                      | {by_off}");
    println!("pipeline ÷ bare pipeline                  | {by_bare}");
    json!({
        "connections": CONNECTIONS,
        "workers": WORKERS,
        "accepted_per_second": off,
        "bare_per_second": bare,
        "settled_per_second": all,
        "pipeline_by_accepting": by_off_json,
        "pipeline_by_bare": by_bare_json,
    })
}

/// Events a second of a relay that delivers nothing.
fn accepting(scene: &Scene) -> f64 {
    let directory = support::directory();
    let mut config = support::config(directory.path(), scene.sink);
    config.delivery.level = Some(Level::Off);
    let relay = Relay::start(config).expect("the relay starts");
    let accepted = load(&scene.client, relay.address(), CONNECTIONS, sample());
    relay.stop().expect("the relay stops");
    accepted.per_second
}

/// Events a second that are accepted during a sample, over the time from its beginning to the
/// settlement of the last of them.
fn pipeline(scene: &Scene) -> f64 {
    let arrived = &scene.arrived;
    let directory = support::directory();
    let mut config = support::config(directory.path(), scene.sink);
    config.delivery.workers = WORKERS;
    config.delivery.level = Some(Level::Durable);
    let database = config.database.path.clone();
    let relay = Relay::start(config).expect("the relay starts");
    let database = Connection::open(database).expect("a database");
    let before = arrived.load(Ordering::Relaxed);
    let start = Instant::now();
    let accepted = load(&scene.client, relay.address(), CONNECTIONS, sample()).count;
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
