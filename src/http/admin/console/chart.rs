//! Charts, drawn here as SVG. The figures behind them stand in a table.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::model::{DestinationCounts, LatencyHistogram, SourceCounts};
use crate::store::{RollupQuery, RollupSink};

use super::visit::{grouped, millis};

/// The height of a chart in its own units.
const HEIGHT: u64 = 72;
/// The width of a bar with its gap, and without.
const STEP: u64 = 6;
const WIDTH: u64 = 5;
/// The detail of a chart without bars.
const NONE: &str = "none in this time";

/// The counts of one step.
#[derive(Clone, Copy, Default)]
pub(super) struct Point {
    pub accepted: u64,
    pub delivered: u64,
    pub failed: u64,
    pub dead: u64,
    pub latency: LatencyHistogram,
}

/// Stored rows that a series takes of sources, and of destinations: a thousand destinations over an
/// hour of minutes fit into it, and it takes some 40 ms.
const MAX_ROWS: usize = 100_000;

/// The counts of a time, in steps of one length: those of all rows that it takes in.
#[derive(Clone)]
pub(super) struct Series {
    from: Timestamp,
    step: Duration,
    pub points: Vec<Point>,
    sources: usize,
    destinations: usize,
    /// Whether there were more rows.
    pub is_cut_short: bool,
}

impl Series {
    /// None yet, in this number of steps.
    pub fn new(query: &RollupQuery, steps: usize) -> Self {
        Self {
            from: query.from(),
            step: query.step(),
            points: vec![Point::default(); steps],
            sources: 0,
            destinations: 0,
            is_cut_short: false,
        }
    }

    fn at(&mut self, at: Timestamp) -> Option<&mut Point> {
        let steps = at.since(self.from).as_millis() / self.step.as_millis().max(1);
        self.points.get_mut(usize::try_from(steps).ok()?)
    }

    /// Whether one more row is taken.
    fn has_room(&mut self, rows: usize) -> bool {
        self.is_cut_short |= rows == MAX_ROWS;
        rows < MAX_ROWS
    }

    /// The beginning of a step.
    fn begin(&self, step: usize) -> Timestamp {
        let steps = u32::try_from(step).unwrap_or(u32::MAX);
        self.from.plus(self.step.saturating_mul(steps))
    }

    /// The hour and minute at which a step begins.
    fn label(&self, step: usize) -> String {
        let text = self.begin(step).to_string();
        text.get(11..16).unwrap_or_default().to_owned()
    }

    /// All steps together.
    pub fn total(&self) -> Point {
        let mut total = Point::default();
        for point in &self.points {
            total.accepted += point.accepted;
            total.delivered += point.delivered;
            total.failed += point.failed;
            total.dead += point.dead;
            total.latency.add(&point.latency);
        }
        total
    }

    /// A chart of counts. `unit` names a step.
    pub fn counts(
        &self,
        name: &'static str,
        class: &'static str,
        unit: &str,
        count: impl Fn(&Point) -> u64,
    ) -> Chart {
        let values: Vec<u64> = self.points.iter().map(&count).collect();
        let most = values.iter().copied().max().unwrap_or(0);
        let total = values
            .iter()
            .fold(0u64, |sum, one| sum.saturating_add(*one));
        let bars = self.bars(class, &values, most, grouped);
        Chart {
            name,
            figure: grouped(total),
            detail: match most {
                0 => NONE.to_owned(),
                most => format!("at most {} {unit}", grouped(most)),
            },
            ..self.chart(bars)
        }
    }

    /// A chart of the latencies' median and 99th percentile.
    pub fn latencies(&self) -> Chart {
        let quantile = |share| {
            let all = self.points.iter();
            let all = all.map(move |point| point.latency.quantile(share).unwrap_or_default());
            let micros = all.map(|one| u64::try_from(one.as_micros()).unwrap_or(u64::MAX));
            micros.collect::<Vec<_>>()
        };
        let (middle, high) = (quantile(0.5), quantile(0.99));
        let most = high.iter().copied().max().unwrap_or(0);
        let shown = |micros| millis(Duration::from_micros(micros));
        let mut bars = self.bars("p99", &high, most, |value| format!("p99 {}", shown(value)));
        bars.extend(self.bars("p50", &middle, most, |value| {
            format!("p50 {}", shown(value))
        }));
        let total = self.total().latency;
        if total.quantile(0.5).is_none() {
            return Chart {
                name: "Latency",
                figure: "–".to_owned(),
                detail: NONE.to_owned(),
                ..self.chart(bars)
            };
        }
        Chart {
            name: "Latency",
            has_key: true,
            figure: format!("p50 {}", quantile_text(&total, 0.5)),
            detail: format!("p99 {}", quantile_text(&total, 0.99)),
            ..self.chart(bars)
        }
    }

    fn chart(&self, bars: Vec<Bar>) -> Chart {
        let last = self.points.len().saturating_sub(1);
        Chart {
            name: "",
            has_key: false,
            figure: String::new(),
            detail: String::new(),
            width: self.points.len() as u64 * STEP,
            bars,
            from: self.label(0),
            middle: self.label(self.points.len() / 2),
            to: self.label(last),
        }
    }

    fn bars(
        &self,
        class: &'static str,
        values: &[u64],
        most: u64,
        tell: impl Fn(u64) -> String,
    ) -> Vec<Bar> {
        let values = values.iter().enumerate().filter(|(_, value)| **value > 0);
        let bars = values.map(|(step, &value)| {
            // The smallest count is visible.
            let height = u128::from(value) * u128::from(HEIGHT) / u128::from(most.max(1));
            let height = u64::try_from(height).unwrap_or(HEIGHT).clamp(2, HEIGHT);
            Bar {
                class,
                x: step as u64 * STEP,
                y: HEIGHT - height,
                width: WIDTH,
                height,
                title: format!("{} – {}", self.label(step), tell(value)),
            }
        });
        bars.collect()
    }

    /// The figures, the latest first.
    pub fn rows(&self) -> Vec<FiguresRow> {
        let rows = self.points.iter().enumerate().rev();
        let rows = rows.map(|(step, point)| FiguresRow {
            machine: self.begin(step).to_string(),
            at: self.label(step),
            accepted: grouped(point.accepted),
            delivered: grouped(point.delivered),
            failed: grouped(point.failed),
            dead: grouped(point.dead),
            p50: quantile_text(&point.latency, 0.5),
            p99: quantile_text(&point.latency, 0.99),
        });
        rows.collect()
    }
}

/// A quantile as it is shown.
pub(super) fn quantile_text(latency: &LatencyHistogram, share: f64) -> String {
    latency
        .quantile(share)
        .map_or_else(|| "–".to_owned(), millis)
}

impl RollupSink for Series {
    fn source(&mut self, at: Timestamp, _: &str, counts: &SourceCounts) -> bool {
        if !self.has_room(self.sources) {
            return false;
        }
        self.sources += 1;
        if let Some(point) = self.at(at) {
            point.accepted += counts.accepted;
        }
        true
    }

    fn destination(&mut self, at: Timestamp, _: &str, counts: &DestinationCounts) -> bool {
        if !self.has_room(self.destinations) {
            return false;
        }
        self.destinations += 1;
        if let Some(point) = self.at(at) {
            point.delivered += counts.delivered;
            point.failed += counts.failed;
            point.dead += counts.dead;
            point.latency.add(&counts.latency);
        }
        true
    }
}

/// A chart of bars.
pub(super) struct Chart {
    pub name: &'static str,
    /// Whether its bars have two colours, which the figure and the detail explain.
    pub has_key: bool,
    /// The figure of the whole time.
    pub figure: String,
    pub detail: String,
    pub width: u64,
    pub bars: Vec<Bar>,
    pub from: String,
    pub middle: String,
    pub to: String,
}

/// A bar of a chart.
pub(super) struct Bar {
    pub class: &'static str,
    pub x: u64,
    pub y: u64,
    pub width: u64,
    pub height: u64,
    pub title: String,
}

/// A row of the table behind the charts.
pub(super) struct FiguresRow {
    pub machine: String,
    pub at: String,
    pub accepted: String,
    pub delivered: String,
    pub failed: String,
    pub dead: String,
    pub p50: String,
    pub p99: String,
}

#[cfg(test)]
mod tests;
