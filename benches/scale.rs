//! The growth of the cost with one variable at a time:
//!
//! - connections: accepted `POST`s a second and their p99, nothing delivered;
//! - payload size: the same at 64 connections, and megabytes a second;
//! - destinations: deliveries settled a second from a backlog that is spread evenly among them;
//! - backlog: the same for one destination.
//!
//! The production executor delivers to a sink on loopback that all destinations share, so
//! connecting to many receivers isn't measured.
//!
//! ```text
//! cargo bench --bench scale --features delivery
//! ```
//!
//! The largest backlog has a million rows; `RELAY_BENCH_ROWS` bounds it. The curves are written
//! beside the JSON, or to the path in `RELAY_BENCH_PLOT`, as in `RELAY_BENCH_PLOT=docs/scale.svg`.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use relay::Relay;
use relay::model::Level;
use serde_json::{Value, json};
use support::backlog::{Waiting, of_one_host};
use support::plot::{self, Panel, Point, short};
use support::seed::Skew;
use support::servers::no_op;
use support::{load_of, median, rounds, runtime, sample, shown, spread};
use tokio::runtime::Runtime;

/// Connections of the other series.
const CONNECTIONS: usize = 64;
/// Waiting deliveries in the series of destinations.
const EVEN: i64 = 100_000;

/// One figure of a series.
struct Scene {
    /// The variable's value.
    size: f64,
    name: String,
    samples: Vec<Sample>,
}

/// One sample of a figure.
struct Sample {
    per_second: f64,
    /// The second figure.
    other: f64,
}

/// A variable and its figures.
struct Series {
    key: &'static str,
    title: String,
    x: &'static str,
    y: &'static str,
    /// The second figure, in JSON and on the plot; without one, a point's note is its ratio.
    other: Option<(&'static str, &'static str)>,
}

fn main() {
    println!(
        "{} rounds of {:?}, interleaved in each series; medians, and (least–most)",
        rounds(),
        sample()
    );
    let client = runtime(1);
    let sinks = runtime(1);
    let (sink, _) = no_op(&sinks);
    let all = [
        connections(&client, sink),
        payload(&client, sink),
        destinations(sink),
        backlog(sink),
    ];
    let (figures, panels): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    support::keep("scale", &figures.into_iter().collect());
    plot::keep("scale", &plot::draw(&panels));
}

fn connections(client: &Runtime, sink: SocketAddr) -> ((String, Value), Panel) {
    let body = Arc::new(support::body());
    let scenes = interleaved(
        [1, 4, 16, 64, 256].map(|connections: usize| (real(connections), connections)),
        |&connections| accept(client, sink, connections, &body),
        |&connections| connections.to_string(),
    );
    Series {
        key: "connections",
        title: format!("Connections, bodies of {} bytes", body.len()),
        x: "connections",
        y: "accepted POST/s",
        other: Some(("p99_ms", "p99, ms")),
    }
    .report(&scenes)
}

fn payload(client: &Runtime, sink: SocketAddr) -> ((String, Value), Panel) {
    // A source's default limit is 1 MiB.
    let bodies = [512, 2 << 10, 8 << 10, 32 << 10, 128 << 10];
    let scenes = interleaved(
        bodies.map(|bytes: usize| (real(bytes) / 1024.0, Arc::new(body(bytes)))),
        |body| {
            let accepted = accept(client, sink, CONNECTIONS, body);
            Sample {
                other: accepted.per_second * real(body.len()) / 1e6,
                ..accepted
            }
        },
        |body| format!("{}", real(body.len()) / 1024.0),
    );
    Series {
        key: "payload_kib",
        title: format!("Payload, {CONNECTIONS} connections"),
        x: "payload, KiB",
        y: "accepted POST/s",
        other: Some(("megabytes_per_second", "MB/s")),
    }
    .report(&scenes)
}

fn destinations(sink: SocketAddr) -> ((String, Value), Panel) {
    let rows = support::rows(EVEN);
    let scenes = interleaved(
        [1, 10, 100, 1000].map(|count: usize| (real(count), waiting(sink, count, rows))),
        drain,
        |waiting| waiting.destinations.to_string(),
    );
    Series {
        key: "destinations",
        title: format!(
            "Destinations, {} deliveries wait",
            short(rows_as_size(rows))
        ),
        x: "destinations",
        y: "settled deliveries/s",
        other: None,
    }
    .report(&scenes)
}

fn backlog(sink: SocketAddr) -> ((String, Value), Panel) {
    let most = support::rows(1_000_000);
    let mut sizes = vec![10_000.min(most), 100_000.min(most), most];
    sizes.dedup();
    let scenes = interleaved(
        sizes
            .into_iter()
            .map(|rows| (rows_as_size(rows), waiting(sink, 1, rows))),
        drain,
        |waiting| short(rows_as_size(waiting.rows)),
    );
    Series {
        key: "backlog",
        title: "Backlog, one destination".to_owned(),
        x: "deliveries that wait",
        y: "settled deliveries/s",
        other: None,
    }
    .report(&scenes)
}

/// Takes one sample of each point in turn, for each round.
fn interleaved<T>(
    sized: impl IntoIterator<Item = (f64, T)>,
    measure: impl Fn(&T) -> Sample,
    name: impl Fn(&T) -> String,
) -> Vec<Scene> {
    let mut all: Vec<(T, Scene)> = sized
        .into_iter()
        .map(|(size, what)| {
            let name = name(&what);
            let samples = Vec::new();
            (
                what,
                Scene {
                    size,
                    name,
                    samples,
                },
            )
        })
        .collect();
    for _ in 0..rounds() {
        for (what, scene) in &mut all {
            scene.samples.push(measure(what));
        }
    }
    all.into_iter().map(|(_, scene)| scene).collect()
}

impl Series {
    /// Prints a table, and adds JSON under its key and a panel of the plot.
    fn report(&self, scenes: &[Scene]) -> ((String, Value), Panel) {
        let other = self.other.map_or("", |(_, shown)| shown);
        println!(
            "\n{}\n{:>20} | {:>19} | {:<24} | {:<18} | {other}",
            self.title, self.x, self.y, "(least–most)", "÷ first"
        );
        let (mut kept, mut points) = (Vec::new(), Vec::new());
        for scene in scenes {
            let rates: Vec<f64> = scene.samples.iter().map(|s| s.per_second).collect();
            let ratios: Vec<f64> = scene
                .samples
                .iter()
                .zip(&scenes[0].samples)
                .map(|(this, first)| this.per_second / first.per_second)
                .collect();
            let (least, most) = spread(&rates);
            let rate = median(rates);
            let (by_first, by_first_json) = shown(&ratios);
            let mut figures = json!({
                self.key: scene.size,
                "per_second": { "median": rate, "least": least, "most": most },
                "by_first": by_first_json,
            });
            let note = if let Some((key, _)) = self.other {
                let other = median(scene.samples.iter().map(|s| s.other).collect());
                figures[key] = json!(other);
                format!("{other:.1}")
            } else {
                format!("{:.2}", median(ratios))
            };
            println!(
                "{:>20} | {rate:>19.0} | {:<24} | {by_first:<18} | {}",
                scene.name,
                format!("({least:.0}–{most:.0})"),
                if self.other.is_some() { &note } else { "" },
            );
            kept.push(figures);
            points.push(Point {
                x: scene.size,
                tick: scene.name.clone(),
                median: rate,
                least,
                most,
                note,
            });
        }
        let panel = Panel {
            title: self.title.clone(),
            x: self.x,
            y: self.y,
            notes: self.other.map_or("÷ first", |(_, shown)| shown),
            points,
        };
        ((self.key.to_owned(), json!(kept)), panel)
    }
}

/// Uses a database of its own, so that samples don't influence each other.
fn accept(client: &Runtime, sink: SocketAddr, connections: usize, body: &Arc<String>) -> Sample {
    let directory = support::directory();
    let mut config = support::config(directory.path(), sink);
    config.delivery.level = Some(Level::Off);
    let relay = Relay::start(config).expect("the relay starts");
    // Warms caches and pools.
    load_of(client, relay.address(), connections, sample() / 4, body);
    let load = load_of(client, relay.address(), connections, sample(), body);
    relay.stop().expect("the relay stops");
    Sample {
        per_second: load.per_second,
        other: load.p99.as_secs_f64() * 1e3,
    }
}

/// JSON of `bytes` bytes.
fn body(bytes: usize) -> String {
    let (head, tail) = (r#"{"type":"order.created","note":""#, r#""}"#);
    let filler = "x".repeat(bytes - head.len() - tail.len());
    format!("{head}{filler}{tail}")
}

/// A backlog, spread evenly among destinations of one address.
fn waiting(sink: SocketAddr, destinations: usize, rows: i64) -> Waiting {
    Waiting::new(of_one_host(sink, destinations), rows, Skew::Even)
}

fn drain(waiting: &Waiting) -> Sample {
    Sample {
        per_second: waiting.drain(),
        other: f64::NAN,
    }
}

fn rows_as_size(rows: i64) -> f64 {
    f64::from(u32::try_from(rows).expect("a million at most"))
}

#[expect(clippy::cast_precision_loss, reason = "a size")]
fn real(count: usize) -> f64 {
    count as f64
}
