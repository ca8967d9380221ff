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
//! - `turn`, `prune`, `vacuum`, `scrape`: the 99th percentile of `POST`s beside the settlements and
//!   claims of 1 024 workers, the prune of events with many rows, a `VACUUM INTO`, and scrapes of
//!   `/metrics` at ten million waiting deliveries; each as a ratio to a calm relay.
//!
//! ```text
//! cargo bench --bench scenarios --features delivery
//! cargo bench --bench scenarios --features delivery -- origins scrape
//! ```
//!
//! There are three rounds unless `RELAY_BENCH_ROUNDS` sets another number. `RELAY_BENCH_ROWS`
//! bounds the number of origins and the rows of `turn`, `vacuum` and `scrape`. All scenarios take
//! some six minutes, one of which is for seeding ten million rows.

mod beside;
mod load;
mod origins;
mod outage;
mod receiver;
mod retention;
mod rows;
#[path = "../support/mod.rs"]
mod support;
mod vacuum;

use serde_json::{Map, Value, json};
use support::median;

/// A scenario's name and its function.
type Scenario = (&'static str, fn() -> Outcome);

fn main() {
    let all: [Scenario; 8] = [
        ("destinations", outage::destinations),
        ("origins", origins::run),
        ("recovery", outage::recovery),
        ("retention", retention::old_events),
        ("turn", beside::turn),
        ("prune", retention::wide_events),
        ("vacuum", vacuum::run),
        ("scrape", beside::scrape),
    ];
    // Cargo adds an option of its own.
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    if let Some(unknown) = asked
        .iter()
        .find(|name| all.iter().all(|(known, _)| known != name))
    {
        let known = all.map(|(name, _)| name).join(", ");
        eprintln!("there is no scenario {unknown}: expected {known}");
        std::process::exit(2);
    }
    println!(
        "{} rounds, interleaved; medians, and (least–most)\n",
        rounds()
    );
    let (mut figures, mut kept) = (Vec::new(), Map::new());
    for (name, run) in all {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
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

/// A figure with a goal.
struct Figure {
    name: String,
    /// The highest allowed value.
    goal: f64,
    /// The unit, empty for a ratio.
    unit: &'static str,
    samples: Vec<f64>,
}

impl Figure {
    fn median(&self) -> f64 {
        median(self.samples.clone())
    }

    fn is_reached(&self) -> bool {
        self.median() <= self.goal
    }

    fn json(&self) -> Value {
        let (least, most) = support::spread(&self.samples);
        json!({
            "figure": self.name,
            "unit": self.unit,
            "goal": self.goal,
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
        println!(
            "{:<66} | {:<7} | {:<24} | {verdict}",
            figure.name,
            format!("≤ {}{unit}", figure.goal),
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
