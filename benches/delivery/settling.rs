//! The pace of settling a backlog and the cost of each delivery, over HTTP and HTTPS, to one
//! destination and to many.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

use super::Scene;
use super::support::backlog::{Hosts, Settled, Waiting, lasting, of_one_host, warm_up};
use super::support::cost::GROUPS;
use super::support::seed::Skew;
use super::support::servers::{answering, no_op_of_hosts};
use super::support::tls::{Authority, Resumption};
use super::support::{self, median, ratios, rounds, sample, shown};

/// The numbers of destinations.
const COUNTS: [usize; 5] = [1, 10, 100, 1_000, 10_000];
/// The numbers of destinations over HTTPS. Each with `ca_file` has connections of its own.
const HTTPS_COUNTS: [usize; 2] = [1, 100];

/// A backlog and its samples.
struct Row {
    name: String,
    details: Value,
    waiting: Waiting,
    samples: Vec<Settled>,
}

impl Row {
    fn new(name: String, details: Value, waiting: Waiting) -> Self {
        Self {
            name,
            details,
            waiting,
            samples: Vec::new(),
        }
    }

    fn rates(&self) -> Vec<f64> {
        self.samples
            .iter()
            .map(|settled| settled.per_second)
            .collect()
    }

    /// The median of a figure of each delivery.
    fn each(&self, figure: impl Fn(&Settled) -> f64) -> f64 {
        let samples = self.samples.iter();
        median(samples.map(|one| figure(one) / one.count).collect())
    }
}

/// Destinations at one port, each at an address of its own.
pub fn by_destinations(scene: &Scene) -> Value {
    let (sink, _) = no_op_of_hosts(&scene.sinks, None);
    let hosts = Hosts {
        port: sink.port(),
        ca_file: None,
    };
    let rows = COUNTS.map(|count| {
        let waiting = Waiting::new(hosts.destinations(count), backlog(), Skew::Even);
        Row::new(count.to_string(), json!({ "destinations": count }), waiting)
    });
    println!("destinations, each at an address of its own");
    measured(rows.into(), |_| 0, "÷ one")
}

/// The same at one address, whose connections they share.
pub fn by_destinations_of_one_host(scene: &Scene) -> Value {
    let rows = COUNTS.map(|count| {
        let destinations = of_one_host(scene.sink, count);
        let waiting = Waiting::new(destinations, backlog(), Skew::Even);
        Row::new(count.to_string(), json!({ "destinations": count }), waiting)
    });
    println!("destinations, all at one address");
    measured(rows.into(), |_| 0, "÷ one")
}

/// Destinations at one address that refuse a part of the events, which are dead-lettered at once.
pub fn with_refusals(scene: &Scene) -> Value {
    let rows = [1, 100].into_iter().flat_map(|count| {
        [0, 5, 20, 50].map(|refused| {
            let sink = refusing(scene, refused);
            let mut waiting = Waiting::new(of_one_host(sink, count), backlog(), Skew::Even);
            waiting.has_refusals = refused > 0;
            let details = json!({ "destinations": count, "refused_percent": refused });
            Row::new(format!("{count}, {refused} %"), details, waiting)
        })
    });
    println!("destinations that refuse a part of the events");
    measured(rows.collect(), |at| at - at % 4, "÷ 0 %")
}

/// A sink that refuses this many of a hundred events, at random.
fn refusing(scene: &Scene, percent: u32) -> SocketAddr {
    answering(&scene.sinks, Ipv4Addr::LOCALHOST, None, move |_| {
        std::future::ready(!rand::random_ratio(percent, 100))
    })
}

/// Kept-alive connections in TLS 1.3, beside plain ones to the same hosts.
pub fn over_https(scene: &Scene) -> Value {
    let authority = Authority::new();
    let directory = support::directory();
    let ca_file = authority.write(directory.path());
    let most = HTTPS_COUNTS.into_iter().max().expect("a count");
    let tls = authority.hosts(most, Resumption::Offered);
    let (plain, _) = no_op_of_hosts(&scene.sinks, None);
    let (secure, _) = no_op_of_hosts(&scene.sinks, Some(tls));
    let mut rows = Vec::new();
    for count in HTTPS_COUNTS {
        for (scheme, port, ca_file) in [
            ("http", plain.port(), None),
            ("https", secure.port(), Some(ca_file.clone())),
        ] {
            let hosts = Hosts { port, ca_file };
            let waiting = Waiting::new(hosts.destinations(count), backlog(), Skew::Even);
            rows.push(Row::new(
                format!("{count} {scheme}"),
                json!({ "destinations": count, "scheme": scheme }),
                waiting,
            ));
        }
    }
    println!("destinations over HTTP and HTTPS (TLS 1.3, connections kept open)");
    measured(rows, |at| at - at % 2, "÷ HTTP")
}

/// The rows of each backlog.
fn backlog() -> i64 {
    lasting(warm_up() + sample())
}

/// Takes a sample of each row in turn, prints the table, and returns it as JSON. `base` gives the
/// row that a row is compared to.
fn measured(mut rows: Vec<Row>, base: impl Fn(usize) -> usize, by: &str) -> Value {
    for _ in 0..rounds() {
        for row in &mut rows {
            let settled = row.waiting.settle();
            row.samples.push(settled);
        }
    }
    head(by);
    let kept = rows.iter().enumerate().map(|(at, row)| {
        let (ratio, ratio_json) = shown(&ratios(&row.rates(), &rows[base(at)].rates()));
        line(row, &ratio);
        let mut figures = row.details.clone();
        let (least, most) = support::spread(&row.rates());
        figures["settled_per_second"] =
            json!({ "median": median(row.rates()), "least": least, "most": most });
        figures["by_base"] = ratio_json;
        figures["deliveries_a_commit"] = json!(1.0 / row.each(|one| one.commits));
        figures["idle"] = json!(idle(row));
        let samples = row.samples.iter();
        let each = samples.map(|one| one.cost.json(one.count));
        figures["each_delivery"] = json!(each.collect::<Vec<_>>());
        figures
    });
    kept.collect()
}

/// A column for each group of threads.
fn columns(text: impl Fn(&str) -> String) -> String {
    let all = GROUPS
        .iter()
        .map(|(group, _)| format!(" | {:>10}", text(group)));
    all.collect::<Vec<_>>().concat()
}

fn head(by: &str) {
    let groups = columns(str::to_owned);
    println!("µs of processor time, and voluntary switches, each of one delivery:");
    println!(
        "{:>12} | {:>9} | {by:<18} | {:>9}{groups} | {:>9} | {:>8}{groups} | {:>13} | idle",
        "", "settled/s", "relay, µs", "others", "switches", "deliv./commit"
    );
}

fn line(row: &Row, ratio: &str) {
    let micros = columns(|group| format!("{:.1}", row.each(|one| one.cost.micros(group))));
    let switches = columns(|group| format!("{:.2}", row.each(|one| one.cost.switches(group))));
    println!(
        "{:>12} | {:>9.0} | {ratio:<18} | {:>9.1}{micros} | {:>9.1} | {:>8}{switches} | {:>13.1} | {:.0} %",
        row.name,
        median(row.rates()),
        row.each(|one| one.cost.relay_micros()),
        row.each(|one| one.cost.other_micros()),
        "",
        1.0 / row.each(|one| one.commits),
        idle(row) * 100.0,
    );
}

/// The idle part of the processors, in the median.
fn idle(row: &Row) -> f64 {
    median(row.samples.iter().map(|one| one.cost.idle).collect())
}
