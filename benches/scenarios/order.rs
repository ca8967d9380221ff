//! Backlogs in the lines of ordering keys.

use relay::config::Ordering;
use serde_json::json;

use super::support::backlog::{Hosts, Waiting};
use super::support::seed::{Lines, Skew, order};
use super::support::servers::no_op_of_hosts;
use super::support::{self, median, ratios, runtime};
use super::{Figure, Goal, Outcome, rounds, shown};

/// The least that the large backlog may settle of what the small one does.
const GOAL: f64 = 0.8;
/// The rows of the small backlog.
const SMALL: i64 = 10_000;

/// A large backlog in lines of each shape, beside a small one of the same shape.
pub fn run() -> Outcome {
    let sinks = runtime(1);
    let (sink, _) = no_op_of_hosts(&sinks, None);
    let hosts = Hosts {
        port: sink.port(),
        ca_file: None,
    };
    let most = support::rows(1_000_000);
    let waiting = |rows, by| {
        let mut waiting = Waiting::new(hosts.destinations(1), rows, Skew::Even);
        for to in waiting.config.destinations.values_mut() {
            to.ordering = Some(Ordering::by(by));
        }
        waiting
    };
    let (mut figures, mut details) = (Vec::new(), Vec::new());
    for (shape, lines, by) in [
        ("one key", Lines::OneKey, "all"),
        ("a hundred each", Lines::HundredEach, "/id"),
        ("behind a blocked key", Lines::BlockedFirst, "/id"),
    ] {
        let (small, large) = (waiting(support::rows(SMALL), by), waiting(most, by));
        let (mut base, mut rates) = (Vec::new(), Vec::new());
        let drain = |waiting: &Waiting| {
            order(&waiting.config, lines);
            waiting.drain()
        };
        for _ in 0..rounds() {
            base.push(drain(&small));
            rates.push(drain(&large));
        }
        let samples = ratios(&rates, &base);
        let (base, rate) = (median(base), median(rates));
        println!(
            "{shape}: {most} deliveries, {rate:.0} settled/s; {}: {base:.0}; ÷ {}",
            small.rows,
            shown(&samples)
        );
        details.push(json!({
            "shape": shape,
            "rows": most,
            "small_per_second": base,
            "large_per_second": rate,
        }));
        figures.push(Figure {
            name: format!("settled/s in order, {shape}, {most} ÷ {}", small.rows),
            goal: Goal::AtLeast(GOAL),
            unit: "",
            samples,
        });
    }
    Outcome {
        figures,
        details: json!(details),
    }
}
