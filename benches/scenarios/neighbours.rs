//! Healthy destinations beside slow ones and hanging ones.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use relay::Relay;
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::receiver::tarpit;
use super::support::backlog::{Hosts, Waiting, lasting, now, settled_between};
use super::support::seed::Skew;
use super::support::servers::{answering, no_op_of_hosts};
use super::support::{self, median, ratios, runtime, sample};
use super::{Outcome, rounds, rows, shown};

/// The time that a slow destination takes for its answer.
const SLOW: Duration = Duration::from_millis(300);
/// The time for an attempt: short, so that a sample soon shows what relay has learnt.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Settled a second to the healthy destinations.
struct Rates {
    /// From the start on: all destinations are proven, and none has timed out yet.
    at_first: f64,
    /// After two timeouts.
    later: f64,
}

/// Each tenth of 100 and of 1 000 destinations is slow, and another tenth hangs; beside the same
/// destinations while those two tenths are paused.
pub fn run() -> Outcome {
    let sinks = runtime(1);
    let (healthy, _) = no_op_of_hosts(&sinks, None);
    let slow = answering(&sinks, Ipv4Addr::UNSPECIFIED, None, |_| async {
        tokio::time::sleep(SLOW).await;
        true
    });
    println!(
        "settled a second to the healthy ones of destinations of which a tenth takes {SLOW:?} and a tenth hangs (timeout {TIMEOUT:?}), beside the same without those"
    );
    println!("destinations |              |  without |     with | with ÷ without");
    let mut details = json!([]);
    for count in [100, 1_000] {
        let scene = scene(count, [healthy.port(), slow.port()]);
        let (mut calm, mut storm) = (Vec::new(), Vec::new());
        for _ in 0..rounds() {
            calm.push(scene.measure(&sinks, false));
            storm.push(scene.measure(&sinks, true));
        }
        for (what, rate) in [
            (
                "at first",
                (|rates: &Rates| rates.at_first) as fn(&Rates) -> f64,
            ),
            ("later", |rates| rates.later),
        ] {
            let of = |all: &[Rates]| -> Vec<f64> { all.iter().map(rate).collect() };
            let (calm, storm) = (of(&calm), of(&storm));
            let ratios = ratios(&storm, &calm);
            let (calm, storm) = (median(calm), median(storm));
            println!(
                "{count:>12} | {what:<12} | {calm:>8.0} | {storm:>8.0} | {}",
                shown(&ratios)
            );
            push(
                &mut details,
                json!({
                    "destinations": count,
                    "when": what,
                    "without_per_second": calm,
                    "with_per_second": storm,
                    "with_by_without": support::shown(&ratios).1,
                }),
            );
        }
    }
    Outcome {
        figures: Vec::new(),
        details,
    }
}

fn push(list: &mut Value, item: Value) {
    list.as_array_mut().expect("a list").push(item);
}

/// A backlog for destinations of three kinds.
struct Scene(Waiting);

/// `to…` is healthy, `slow…` slow, and `hangs…` hangs.
fn scene(count: usize, [healthy, slow]: [u16; 2]) -> Scene {
    let destinations = (0..count).map(|n| {
        // The port of hanging destinations comes with their listener.
        let (kind, port) = match n % 10 {
            3 => ("slow", slow),
            8 => ("hangs", healthy),
            _ => ("to", healthy),
        };
        let hosts = Hosts {
            port,
            ca_file: None,
        };
        let mut to = hosts.destination(n);
        // The default, and not as many as in other benchmarks: it is a part of the protection.
        to.concurrency = None;
        (format!("{kind}{n}"), to)
    });
    let rows = lasting(2 * TIMEOUT + sample());
    let mut waiting = Waiting::new(destinations.collect(), rows, Skew::Even);
    waiting.config.delivery.timeout = TIMEOUT;
    waiting.config.delivery.connect_timeout = Some(TIMEOUT);
    // The stop cuts hanging attempts off.
    waiting.config.server.shutdown_grace = Duration::from_millis(100);
    Scene(waiting)
}

impl Scene {
    /// Settles for two timeouts and a sample; afterwards all deliveries are pending again.
    fn measure(&self, sinks: &Runtime, with_others: bool) -> Rates {
        let (_tarpit, port) = tarpit(sinks);
        let mut config = self.0.config.clone();
        for (name, to) in &mut config.destinations {
            if let Some(n) = name.strip_prefix("hangs") {
                let n = n.parse().expect("a number");
                let url = format!("http://{}:{port}/hook", support::host(n));
                to.url = url.parse().expect("a URL");
            }
        }
        let path = config.database.path.clone();
        prove(&path);
        for like in ["slow%", "hangs%"] {
            if with_others {
                rows::resume(&path, like);
            } else {
                rows::pause(&path, like);
            }
        }
        let begun = now();
        let relay = Relay::start(config).expect("the relay starts");
        std::thread::sleep(sample().min(TIMEOUT));
        let first = now();
        std::thread::sleep((2 * TIMEOUT).saturating_sub(sample().min(TIMEOUT)));
        let later = now();
        std::thread::sleep(sample());
        let end = now();
        relay.stop().expect("the relay stops");
        let sql = Connection::open(&path).expect("the database");
        let rates = Rates {
            at_first: settled_between(&sql, "to%", begun, first).1,
            later: settled_between(&sql, "to%", later, end).1,
        };
        support::reset(&sql);
        rates
    }
}

/// All destinations have answered before, and no breaker is open.
fn prove(path: &Path) {
    let sql = Connection::open(path).expect("the database");
    sql.execute(
        "UPDATE destinations SET proven_at = ?1, probe_at = NULL, probe_wait = NULL,
                                 held_until = NULL",
        [now()],
    )
    .expect("the schema is as known here");
}
