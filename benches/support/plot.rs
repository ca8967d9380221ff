//! Small line charts as SVG. The background is transparent, and the colours are readable on white
//! and on black.

use std::fmt::Write as _;
use std::path::PathBuf;

/// One chart.
pub struct Panel {
    pub title: String,
    /// The label of each axis, with its unit.
    pub x: &'static str,
    pub y: &'static str,
    /// The label of the points' notes, with their unit.
    pub notes: &'static str,
    /// Points from left to right.
    pub points: Vec<Point>,
}

/// The samples at one x.
pub struct Point {
    /// The x value, above zero because the axis is logarithmic.
    pub x: f64,
    pub tick: String,
    pub median: f64,
    pub least: f64,
    pub most: f64,
    /// A note below the point's tick.
    pub note: String,
}

const WIDTH: f64 = 450.0;
const HEIGHT: f64 = 280.0;
/// The edges of the plane in a panel.
const LEFT: f64 = 64.0;
const RIGHT: f64 = WIDTH - 20.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = HEIGHT - 66.0;
/// Room for half a tick's text at both ends of the x axis.
const INDENT: f64 = 24.0;
const TEXT: &str = "#767676";
const SMALL: &str = "font-size=\"11\"";
const LINE: &str = "#2f81f7";

/// Draws the panels, two in a row.
pub fn draw(panels: &[Panel]) -> String {
    let (columns, rows) = (panels.len().min(2), panels.len().div_ceil(2));
    let (width, height) = (WIDTH * real(columns), HEIGHT * real(rows));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"{TEXT}\">\n"
    );
    for (at, panel) in panels.iter().enumerate() {
        let (left, top) = (WIDTH * real(at % 2), HEIGHT * real(at / 2));
        let _ = writeln!(svg, "<g transform=\"translate({left} {top})\">");
        panel.draw(&mut svg);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

impl Panel {
    #[expect(clippy::too_many_lines, reason = "draws one panel from top to bottom")]
    fn draw(&self, svg: &mut String) {
        let middle = f64::midpoint(LEFT, RIGHT);
        text(
            svg,
            (LEFT, 20.0),
            "start",
            "font-weight=\"600\"",
            &self.title,
        );
        text(svg, (middle, HEIGHT - 14.0), "middle", "", self.x);
        let across = f64::midpoint(TOP, BOTTOM);
        let turned = format!("transform=\"rotate(-90 16 {across})\"");
        text(svg, (16.0, across), "middle", &turned, self.y);

        text(svg, (LEFT - 6.0, BOTTOM + 33.0), "end", SMALL, self.notes);

        let most = self
            .points
            .iter()
            .map(|point| point.most)
            .fold(0.0, f64::max);
        let step = step(most);
        let steps = (most / step).ceil().max(1.0);
        let y = |value: f64| BOTTOM - (BOTTOM - TOP) * value / (step * steps);
        let mut value = 0.0;
        while value <= step * (steps + 0.5) {
            let at = y(value);
            let opacity = if value == 0.0 { 1.0 } else { 0.25 };
            line(
                svg,
                (LEFT, at),
                (RIGHT, at),
                &format!("{TEXT}\" stroke-opacity=\"{opacity}"),
            );
            text(svg, (LEFT - 6.0, at + 4.0), "end", "", &short(value));
            value += step;
        }

        let (Some(first), Some(last)) = (self.points.first(), self.points.last()) else {
            return;
        };
        let span = (last.x / first.x).ln().max(f64::MIN_POSITIVE);
        let width = RIGHT - LEFT - 2.0 * INDENT;
        let x = |point: &Point| LEFT + INDENT + width * (point.x / first.x).ln() / span;
        let places: Vec<String> = self
            .points
            .iter()
            .map(|point| format!("{:.1},{:.1}", x(point), y(point.median)))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{LINE}\" stroke-width=\"2\"/>",
            places.join(" ")
        );
        for point in &self.points {
            let (x, low, high) = (x(point), y(point.least), y(point.most));
            line(svg, (x, low), (x, high), LINE);
            for end in [low, high] {
                line(svg, (x - 4.0, end), (x + 4.0, end), LINE);
            }
            let _ = writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"{LINE}\"/>",
                y(point.median)
            );
            line(svg, (x, BOTTOM), (x, BOTTOM + 4.0), TEXT);
            text(svg, (x, BOTTOM + 17.0), "middle", "", &point.tick);
            text(svg, (x, BOTTOM + 33.0), "middle", SMALL, &point.note);
        }
    }
}

/// The path in `RELAY_BENCH_PLOT`, or one beside the JSON.
pub fn keep(name: &str, svg: &str) {
    let path = std::env::var_os("RELAY_BENCH_PLOT").map_or_else(
        || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{name}.svg")),
        PathBuf::from,
    );
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).expect("a directory");
    }
    std::fs::write(&path, svg).expect("a file");
    println!("as a picture: {}", path.display());
}

/// A step of 1, 2 or 5 times a power of ten, of which at most six fit.
fn step(most: f64) -> f64 {
    let rough = (most / 6.0).max(1e-3);
    let power = 10_f64.powf(rough.log10().floor());
    let round = [1.0, 2.0, 5.0].map(|round| round * power);
    round
        .into_iter()
        .find(|&step| step >= rough)
        .unwrap_or(10.0 * power)
}

/// Formats 1500 as "1.5 k".
pub fn short(value: f64) -> String {
    let (value, unit) = match value {
        1e6.. => (value / 1e6, " M"),
        1e3.. => (value / 1e3, " k"),
        _ => (value, ""),
    };
    format!("{}{unit}", (value * 100.0).round() / 100.0)
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, more: &str, text: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {more}>{text}</text>"
    );
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), stroke: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{stroke}\"/>",
        from.0, from.1, to.0, to.1
    );
}

#[expect(clippy::cast_precision_loss, reason = "a small count")]
fn real(count: usize) -> f64 {
    count as f64
}
