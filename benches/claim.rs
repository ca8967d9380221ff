//! The cost of a claim with few and with many deliveries waiting, for one destination or many:
//!
//! - SQL alone: the statements of a tick (find what is due, claim 64 deliveries), in a transaction
//!   that is rolled back, so that the disk isn't measured;
//! - the executor with a transport that answers itself: deliveries claimed, settled and committed a
//!   second;
//! - with ordering keys: one line with all deliveries, lines of a hundred, and a line behind a dead
//!   letter before everything else: the scan, the look and the claim of the first tick, and
//!   deliveries settled a second;
//! - up to 100 000 destinations: a start's scan of all with waiting deliveries; the longest step of
//!   such a scan; and a step in which all become due at once, as after a jump of the clock.
//!
//! ```text
//! cargo bench --bench claim --features delivery
//! ```
//!
//! The largest backlog has five million rows; `RELAY_BENCH_ROWS` bounds it. The ratios are to ten
//! thousand even rows. A skewed backlog of ten thousand is no base: the other destinations have one
//! delivery each and are soon done.

mod support;

use std::time::{Duration, Instant};

use relay::Config;
use relay::config::{Destination, Ordering, Source};
use relay::measure::Claims;
use relay::model::Level;
use serde_json::{Value, json};
use support::seed::{Backlog, Lines, Skew, order, seed};
use support::{median, rounds, sample, shown, spread};
use tempfile::TempDir;

/// Workers, which is also the number of deliveries in a claim.
const WORKERS: usize = 64;
/// Claims in a transaction: a fifth of the smallest backlog.
const CLAIMS: usize = 32;
/// Transactions in one sample.
const REPEATS: usize = 8;
const SMALLEST: i64 = 10_000;

/// A backlog.
struct Scene {
    shape: &'static str,
    destinations: usize,
    rows: i64,
    config: Config,
    /// The database's directory, deleted on drop.
    _directory: TempDir,
    figures: Vec<Figures>,
}

/// One sample of each measure.
struct Figures {
    /// A start's scan of all destinations.
    scan: f64,
    /// The first claim of a connection.
    first: f64,
    look: f64,
    claim: f64,
    /// Scan and claim of a connection with warm caches.
    whole: f64,
    settled: f64,
}

#[expect(
    clippy::too_many_lines,
    reason = "measures one table from its head to its last row"
)]
fn main() {
    let start = Instant::now();
    let mut scenes = scenes();
    println!(
        "seeded in {:.0?}; {} rounds, interleaved, of {} claims of {WORKERS} and {:?} of draining; medians, and (least–most) of the ratios\n",
        start.elapsed(),
        rounds(),
        REPEATS * CLAIMS,
        sample()
    );
    for _ in 0..rounds() {
        for scene in &mut scenes {
            let figures = scene.measure();
            scene.figures.push(figures);
        }
    }
    println!(
        "{:<22} | {:>9} | {:>8} | {:>8} | {:>8} | {:>8} | {:>8} | {:<18} | {:<18} | {:>9} | drained ÷ even",
        "whose",
        "rows",
        "scan",
        "first",
        "look",
        "claim",
        "both",
        "÷ 10 000 even",
        "÷ 10 000 same",
        "settled/s"
    );
    let mut kept = Vec::new();
    for scene in &scenes {
        let same = scenes.iter().find(|other| other.shape == scene.shape);
        let same = same.expect("the smallest comes first");
        let even = &scenes[0];
        let of = |figure: fn(&Figures) -> f64| -> Vec<f64> {
            scene.figures.iter().map(figure).collect()
        };
        let by = |base: &Scene, figure: fn(&Figures) -> f64| {
            let pairs = scene.figures.iter().zip(&base.figures);
            shown(
                &pairs
                    .map(|(s, b)| figure(s) / figure(b))
                    .collect::<Vec<_>>(),
            )
        };
        let micros = |figure: fn(&Figures) -> f64| median(of(figure)) * 1e6;
        let by_even = by(even, |f| f.whole);
        let by_same = by(same, |f| f.whole);
        let drained = by(even, |f| f.settled);
        println!(
            "{:<22} | {:>9} | {:>5.0} µs | {:>5.0} µs | {:>5.0} µs | {:>5.0} µs | {:>5.0} µs | {:<18} | {:<18} | {:>9.0} | {}",
            scene.shape,
            scene.rows,
            micros(|f| f.scan),
            micros(|f| f.first),
            micros(|f| f.look),
            micros(|f| f.claim),
            micros(|f| f.whole),
            by_even.0,
            by_same.0,
            median(of(|f| f.settled)),
            drained.0
        );
        kept.push(json!({
            "shape": scene.shape,
            "rows": scene.rows,
            "scan_us": micros(|f| f.scan),
            "first_us": micros(|f| f.first),
            "look_us": micros(|f| f.look),
            "claim_us": micros(|f| f.claim),
            "whole_us": micros(|f| f.whole),
            "whole_by_10k_even": by_even.1,
            "whole_by_10k_same": by_same.1,
            "settled_per_second": median(of(|f| f.settled)),
            "settled_by_10k_even": drained.1,
        }));
    }
    let lines = lines();
    let looks = looks();
    let figures = json!({ "claims": kept, "lines": lines, "looks": looks });
    support::keep("claim", &figures);
}

/// The first tick and the pace with ordering keys, by the number of deliveries in their lines.
fn lines() -> Vec<Value> {
    println!(
        "\n{:<22} | {:>9} | {:>8} | {:>8} | {:>8} | {:>9}",
        "lines", "rows", "scan", "look", "claim", "settled/s"
    );
    let most = support::rows(1_000_000);
    let mut sizes = [SMALLEST.min(most), most].to_vec();
    sizes.dedup();
    let mut kept = Vec::new();
    for (shape, lines, by) in [
        ("one key", Lines::OneKey, "all"),
        ("a hundred each", Lines::HundredEach, "/id"),
        ("a blocked key first", Lines::BlockedFirst, "/id"),
    ] {
        for &rows in &sizes {
            let mut scene = Scene::new(shape, 1, Skew::Even, rows);
            for to in scene.config.destinations.values_mut() {
                to.ordering = Some(Ordering::by(by));
            }
            let ticks: Vec<_> = (0..rounds())
                .map(|_| {
                    order(&scene.config, lines);
                    (scene.first_tick(), support::drain(&scene.config))
                })
                .collect();
            let micros = |figure: fn(&FirstTick) -> Duration| {
                let all = ticks
                    .iter()
                    .map(|(tick, _)| figure(tick).as_secs_f64() * 1e6);
                median(all.collect())
            };
            let settled = median(ticks.iter().map(|(_, settled)| *settled).collect());
            println!(
                "{shape:<22} | {rows:>9} | {:>5.0} µs | {:>5.0} µs | {:>5.0} µs | {settled:>9.0}",
                micros(|tick| tick.scan),
                micros(|tick| tick.look),
                micros(|tick| tick.claim),
            );
            kept.push(json!({
                "shape": shape,
                "rows": rows,
                "scan_us": micros(|tick| tick.scan),
                "look_us": micros(|tick| tick.look),
                "claim_us": micros(|tick| tick.claim),
                "settled_per_second": settled,
            }));
        }
    }
    kept
}

/// The cost of a first tick with warm caches.
struct FirstTick {
    scan: Duration,
    look: Duration,
    claim: Duration,
}

/// The longest that a step of a scan over all destinations may take, in milliseconds.
const LONGEST_STEP: f64 = 50.0;

/// The times of a scan by the number of destinations, with one waiting delivery for each.
#[expect(
    clippy::too_many_lines,
    reason = "measures one table from its head to its last row"
)]
fn looks() -> Vec<Value> {
    println!(
        "\n{:>12} | {:>15} | {:>5} | {:>23} | {:<7} | all due at once",
        "destinations",
        "a start's look",
        "steps",
        "longest step",
        format!("≤ {LONGEST_STEP:.0} ms")
    );
    let most = support::rows(100_000);
    let mut counts = [100.min(most), 10_000.min(most), most].to_vec();
    counts.dedup();
    let mut kept = Vec::new();
    for count in counts {
        let directory = support::directory();
        let nobody = "127.0.0.1:9".parse().expect("an address");
        let config = support::config(directory.path(), nobody);
        // Ad hoc origins, because relay.toml won't have so many destinations.
        let origins: Vec<String> = (0..count)
            .map(|n| format!("http://10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255))
            .collect();
        seed(
            &config,
            &Backlog {
                events: count,
                destinations: &origins,
                skew: Skew::Even,
                body: b"{}",
                keys: 0,
                due_in: None,
            },
        );
        let (mut starts, mut longest, mut at_once) = (Vec::new(), Vec::new(), Vec::new());
        let mut steps = 0;
        let millis = |took: Duration| took.as_secs_f64() * 1e3;
        for _ in 0..rounds() {
            let open = || Claims::open(&config).expect("a database");
            let in_steps = |claims: &mut Claims| claims.scan_in_steps().expect("a database");
            // A start's scan, and the next one.
            let mut claims = open();
            let mut took = in_steps(&mut claims);
            steps = took.len();
            took.extend(in_steps(&mut claims));
            longest.push(millis(took.into_iter().max().expect("a step")));
            // With the first step all deliveries become due, and none before.
            let mut claims = open();
            starts.push(millis(scan(&mut claims, origins.len())));
            at_once.push(millis(in_steps(&mut claims)[0]));
        }
        let (least, most) = spread(&longest);
        let (start, step, at_once) = (median(starts), median(longest), median(at_once));
        let verdict = if step <= LONGEST_STEP {
            "reached"
        } else {
            "short"
        };
        println!(
            "{count:>12} | {start:>12.2} ms | {steps:>5} | {:>23} | {verdict:<7} | {at_once:>12.2} ms",
            format!("{step:.2} ms ({least:.2}–{most:.2})"),
        );
        kept.push(json!({
            "destinations": count,
            "start_ms": start,
            "steps": steps,
            "longest_step_ms": { "median": step, "least": least, "most": most },
            "goal_ms": LONGEST_STEP,
            "is_reached": step <= LONGEST_STEP,
            "all_due_at_once_ms": at_once,
        }));
    }
    kept
}

/// Measures a start's scan of this many destinations with waiting deliveries.
fn scan(claims: &mut Claims, destinations: usize) -> Duration {
    let start = Instant::now();
    let found = claims.scan().expect("a database");
    let took = start.elapsed();
    assert_eq!(found, destinations);
    took
}

/// Each shape in each size, beginning with ten thousand even rows.
fn scenes() -> Vec<Scene> {
    let most = support::rows(5_000_000);
    let mut sizes = [SMALLEST, 1_000_000.min(most), most].to_vec();
    sizes.retain(|&rows| rows >= SMALLEST);
    sizes.dedup();
    let mut scenes = Vec::new();
    for (shape, destinations, skew) in [
        ("100 destinations", 100, Skew::Even),
        ("1 destination", 1, Skew::Even),
        ("100, one owns 99 %", 100, Skew::MostlyFirst),
    ] {
        for &rows in &sizes {
            scenes.push(Scene::new(shape, destinations, skew, rows));
        }
    }
    scenes
}

impl Scene {
    fn new(shape: &'static str, destinations: usize, skew: Skew, rows: i64) -> Self {
        let directory = support::directory();
        let mut config = support::config(
            directory.path(),
            "127.0.0.1:9".parse().expect("an address"), // not contacted
        );
        let names: Vec<String> = (0..destinations).map(|n| format!("to{n}")).collect();
        for name in &names {
            let url = format!("http://127.0.0.1:9/{name}");
            let to = Destination::new(url.parse().expect("a URL"));
            config.destinations.insert(name.clone(), to);
        }
        let source = Source::to(names.iter().map(String::as_str));
        config.sources.insert("bench".to_owned(), source);
        config.delivery.level = Some(Level::Simulated);
        config.delivery.simulated.latency = Duration::ZERO;
        config.delivery.workers = WORKERS;
        seed(
            &config,
            &Backlog {
                events: rows,
                destinations: &names,
                skew,
                body: br#"{"id":"ord_7f3a","type":"order.created","created":1700000000}"#,
                keys: 0,
                due_in: None,
            },
        );
        Self {
            shape,
            destinations,
            rows,
            config,
            _directory: directory,
            figures: Vec::new(),
        }
    }

    /// The second of two first ticks: the first one fills the caches, and is rolled back.
    fn first_tick(&self) -> FirstTick {
        let mut claims = Claims::open(&self.config).expect("a database");
        let scan = scan(&mut claims, self.destinations);
        claims.run(1, WORKERS).expect("claims");
        let again = claims.run(1, WORKERS).expect("claims");
        assert!(again[0].rows > 0);
        FirstTick {
            scan,
            look: again[0].look,
            claim: again[0].claim,
        }
    }

    fn measure(&self) -> Figures {
        let mut claims = Claims::open(&self.config).expect("a database");
        let scan = scan(&mut claims, self.destinations);
        let mut run = |count| claims.run(count, WORKERS).expect("claims");
        let first = run(1);
        // Fills the caches for the next one.
        run(CLAIMS);
        let warm: Vec<_> = (0..REPEATS).flat_map(|_| run(CLAIMS)).collect();
        for claim in first.iter().chain(&warm) {
            assert!(claim.rows > 0);
        }
        // When most destinations have just been emptied, a claim takes fewer rows than it could.
        // Its cost is scaled to a full claim.
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let of = |took: fn(&relay::measure::ClaimTimes) -> Duration| {
            let each = |claim| took(claim).as_secs_f64() * WORKERS as f64 / claim.rows as f64;
            median(warm.iter().map(each).collect())
        };
        let figures = Figures {
            scan: scan.as_secs_f64(),
            first: (first[0].look + first[0].claim).as_secs_f64(),
            look: of(|claim| claim.look),
            claim: of(|claim| claim.claim),
            whole: of(|claim| claim.look + claim.claim),
            settled: 0.0,
        };
        drop(claims);
        Figures {
            settled: support::drain(&self.config),
            ..figures
        }
    }
}
