//! Outages and heavy work, measured. Each scenario has a name:
//!
//! - `destinations`: 19 of 20 destinations hang. Measures the time from acceptance to arrival at
//!   the healthy one, and ingestion, beside a calm relay.
//! - `origins`: 10 000 origins of one API key hang. Measures the time of the first event to a
//!   destination of relay.toml, before and after a restart.
//! - `recovery`: 20 000 retries are due at once after an outage. Measures the receiver's busiest
//!   second.
//! - `retention`: 100 000 old events are pruned. Measures ingestion beside a relay with nothing to
//!   prune.
//! - `turn`, `prune`, `vacuum`, `backup`, `scrape`: the 99th percentile of `POST`s beside the
//!   settlements and claims of 1 024 workers, the prune of events with many rows,
//!   a `VACUUM INTO`, `relay backup`, and scrapes of `/metrics` at ten million waiting deliveries;
//!   each as a ratio to a calm relay.
//! - `neighbours`: of 100 and of 1 000 destinations a tenth is slow and a tenth hangs. Measures
//!   deliveries settled a second to the healthy ones, beside the same without the others.
//! - `skew`: one of 100 destinations owns 99 % of a million deliveries (long form: five million).
//!   Measures deliveries settled a second, beside ten thousand that are spread evenly.
//! - `order`: a million deliveries of one ordering key, of ten thousand keys, and behind a blocked
//!   one. Measures deliveries settled a second, beside ten thousand.
//! - `cold`: 200 HTTPS hosts wait for an event each when relay starts, and again when all of them
//!   have closed their connections. Measures the time until each has got it.
//! - `inflow`: a backlog is drained while 5 000 events a second come in (long form: ten million).
//!   Measures deliveries settled a second beside the backlog alone, and the latency of `POST`s.
//! - `reads`: the metrics, each list of the operator's API and each page of the console with a
//!   million deliveries stored (long form: ten million), beside ten thousand.
//! - `consoles`: the 99th percentile of `POST`s beside ten open consoles, as a ratio to a calm
//!   relay. Needs the console.
//!
//! ```text
//! cargo bench --bench scenarios --features delivery
//! cargo bench --bench scenarios --features delivery -- origins scrape
//! ```
//!
//! There are three rounds unless `RELAY_BENCH_ROUNDS` sets another number. `RELAY_BENCH_ROWS`
//! bounds the number of origins and the rows of backlogs. All scenarios take some ten minutes, one
//! of which is for seeding ten million rows; `RELAY_BENCH_FORM=short` looks at all of them in less
//! than three, and `RELAY_BENCH_FORM=long` has the largest backlogs.

mod backup;
mod beside;
mod cold;
mod consoles;
mod inflow;
mod load;
mod neighbours;
mod order;
mod origins;
mod outage;
mod reads;
mod receiver;
mod retention;
mod rows;
mod skew;
#[path = "../support/mod.rs"]
mod support;
mod vacuum;

use serde_json::{Map, Value, json};
use support::{Parts, median};

/// A scenario's name and its function.
type Scenario = (&'static str, fn() -> Outcome);

fn main() {
    let all: [Scenario; 16] = [
        ("destinations", outage::destinations),
        ("origins", origins::run),
        ("recovery", outage::recovery),
        ("retention", retention::old_events),
        ("turn", beside::turn),
        ("prune", retention::wide_events),
        ("vacuum", vacuum::run),
        ("backup", backup::run),
        ("scrape", beside::scrape),
        ("neighbours", neighbours::run),
        ("skew", skew::run),
        ("order", order::run),
        ("cold", cold::run),
        ("inflow", inflow::run),
        ("reads", reads::run),
        ("consoles", consoles::run),
    ];
    let parts = Parts::of(&all.map(|(name, _)| name));
    println!(
        "{} rounds, interleaved; medians, and (least–most)\n",
        rounds()
    );
    let (mut figures, mut kept) = (Vec::new(), Map::new());
    for (name, run) in all {
        if parts.has(name) {
            let start = std::time::Instant::now();
            let outcome = run();
            println!("({name}: {:.0?})\n", start.elapsed());
            let goals = outcome.figures.iter().map(Figure::json);
            kept.insert(
                name.to_owned(),
                json!({ "goals": goals.collect::<Vec<_>>(), "details": outcome.details }),
            );
            figures.extend(outcome.figures);
        }
    }
    table(&figures);
    support::keep("scenarios", &Value::Object(kept));
}

/// Three, because some scenarios are long; `RELAY_BENCH_ROUNDS` sets it.
fn rounds() -> usize {
    support::rounds_or(3)
}

/// The result of a scenario.
struct Outcome {
    /// Figures with a goal.
    figures: Vec<Figure>,
    /// All figures, as JSON.
    details: Value,
}

/// The goal of a figure.
#[derive(Clone, Copy)]
enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

/// A figure with a goal.
struct Figure {
    name: String,
    goal: Goal,
    /// The unit, empty for a ratio.
    unit: &'static str,
    samples: Vec<f64>,
}

impl Figure {
    fn median(&self) -> f64 {
        median(self.samples.clone())
    }

    fn is_reached(&self) -> bool {
        match self.goal {
            Goal::AtMost(most) => self.median() <= most,
            Goal::AtLeast(least) => self.median() >= least,
        }
    }

    fn json(&self) -> Value {
        let (least, most) = support::spread(&self.samples);
        let (at, goal) = match self.goal {
            Goal::AtMost(goal) => ("at most", goal),
            Goal::AtLeast(goal) => ("at least", goal),
        };
        json!({
            "figure": self.name,
            "unit": self.unit,
            "goal": goal,
            "goal_is": at,
            "median": self.median(),
            "least": least,
            "most": most,
            "is_reached": self.is_reached(),
        })
    }
}

/// Prints all figures with a goal, and whether it is reached.
fn table(figures: &[Figure]) {
    if figures.is_empty() {
        return;
    }
    println!("{:<66} | {:<7} | {:<24} |", "figure", "goal", "measured");
    for figure in figures {
        let (least, most) = support::spread(&figure.samples);
        let verdict = if figure.is_reached() {
            "reached"
        } else {
            "short"
        };
        let (unit, decimals) = (figure.unit, if figure.unit.is_empty() { 2 } else { 3 });
        let goal = match figure.goal {
            Goal::AtMost(goal) => format!("≤ {goal}{unit}"),
            Goal::AtLeast(goal) => format!("≥ {goal}{unit}"),
        };
        println!(
            "{:<66} | {goal:<7} | {:<24} | {verdict}",
            figure.name,
            format!(
                "{:.decimals$}{unit} ({least:.decimals$}–{most:.decimals$})",
                figure.median(),
            ),
        );
    }
}

/// Ratios as "median (least–most)".
fn shown(ratios: &[f64]) -> String {
    support::shown(ratios).0
}
