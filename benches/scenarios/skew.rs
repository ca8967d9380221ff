//! A backlog that one of many destinations owns nearly whole.

use std::time::Duration;

use serde_json::json;

use super::support::backlog::{Hosts, Waiting};
use super::support::seed::Skew;
use super::support::servers::no_op_of_hosts;
use super::support::{self, drain_for, median, ratios, runtime};
use super::{Figure, Goal, Outcome, rounds, shown};

const DESTINATIONS: usize = 100;
/// The least that the skewed backlog may settle of what the even one does.
const GOAL: f64 = 0.8;
/// The rows of the even backlog.
const EVEN: i64 = 10_000;

/// The time for a whole backlog: five million at a pace that no relay should fall below.
const PATIENCE: Duration = Duration::from_secs(1_000);

/// One of 100 destinations owns 99 % of a large backlog, beside a small one that is spread evenly.
/// At first all 100 have their turns, and the deliveries of the 99 lie far apart, each on a page of
/// its own. Once those are gone, the owner is alone.
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
    let (mut base, mut first, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds() {
        base.push(even.drain());
        first.push(skewed.drain());
        whole.push(drain_for(&skewed.config, PATIENCE));
    }
    let samples = ratios(&whole, &base);
    let at_first = ratios(&first, &base);
    let [base, first, whole] = [base, first, whole].map(median);
    println!(
        "{} deliveries spread evenly: {base:.0} settled/s; {most}, of which one of {DESTINATIONS} destinations owns 99 %: {whole:.0}, ÷ {}; at first: {first:.0}, ÷ {}",
        even.rows,
        shown(&samples),
        shown(&at_first)
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
            "skewed_per_second": whole,
            "at_first_per_second": first,
            "at_first_by_even": support::shown(&at_first).1,
        }),
    }
}
