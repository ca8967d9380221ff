//! A backlog that one of many destinations owns nearly whole.

use serde_json::json;

use super::support::backlog::{Hosts, Waiting};
use super::support::seed::Skew;
use super::support::servers::no_op_of_hosts;
use super::support::{self, median, ratios, runtime};
use super::{Figure, Goal, Outcome, rounds, shown};

const DESTINATIONS: usize = 100;
/// The least that the skewed backlog may settle of what the even one does.
const GOAL: f64 = 0.8;
/// The rows of the even backlog.
const EVEN: i64 = 10_000;

/// One of 100 destinations owns 99 % of a large backlog, beside a small one that is spread evenly.
pub fn run() -> Outcome {
    let sinks = runtime(1);
    let (sink, _) = no_op_of_hosts(&sinks, None);
    let hosts = Hosts {
        port: sink.port(),
        ca_file: None,
    };
    let most = support::rows_by_form(1_000_000, 5_000_000);
    let waiting = |rows, skew| Waiting::new(hosts.destinations(DESTINATIONS), rows, skew);
    let even = waiting(support::rows(EVEN), Skew::Even);
    let skewed = waiting(most, Skew::MostlyFirst);
    let (mut base, mut rates) = (Vec::new(), Vec::new());
    for _ in 0..rounds() {
        base.push(even.drain());
        rates.push(skewed.drain());
    }
    let samples = ratios(&rates, &base);
    let (base, rate) = (median(base), median(rates));
    println!(
        "one of {DESTINATIONS} destinations owns 99 % of {most} deliveries: {rate:.0} settled/s; {} spread evenly: {base:.0}; ÷ {}",
        even.rows,
        shown(&samples)
    );
    Outcome {
        figures: vec![Figure {
            name: format!("settled/s, one of {DESTINATIONS} owns 99 % of {most} ÷ even"),
            goal: Goal::AtLeast(GOAL),
            unit: "",
            samples,
        }],
        details: json!({
            "rows": most,
            "even_per_second": base,
            "skewed_per_second": rate,
        }),
    }
}
