//! Outages of named destinations, and their end.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use relay::Relay;
use relay::config::{RateLimit, RetrySettings};
use relay::model::Level;
use rusqlite::Connection;
use serde_json::json;
use tokio::runtime::Runtime;

use super::receiver::{Receiver, silent};
use super::support::{self, median, runtime, sample};
use super::{Outcome, rounds, rows, shown};

/// Waiting deliveries for each of the destinations, most of which hang.
const EACH: usize = 10_000;

/// The latency to the healthy destination and of ingestion, with and without 19 hanging ones.
pub fn destinations() -> Outcome {
    let sinks = runtime(1);
    let silent = silent();
    let mut figures: Vec<[f64; 6]> = Vec::new();
    for _ in 0..rounds() {
        let calm = beside_hanging(&sinks, silent, 0);
        let storm = beside_hanging(&sinks, silent, 19);
        figures.push([calm.0, storm.0, calm.1, storm.1, calm.2, storm.2]);
    }
    let of = |at: usize| median(figures.iter().map(|f| f[at]).collect());
    println!(
        "19 of 20 destinations hang, {EACH} deliveries each (200 events/s to the healthy one)"
    );
    println!("                      |      calm |     storm | storm ÷ calm");
    let mut details = json!({});
    for (what, key, calm, storm) in [
        ("ingestion p99, ms", "ingestion_p99_ms", 0, 1),
        ("accept → arrive p50", "arrival_p50_ms", 2, 3),
        ("accept → arrive p99", "arrival_p99_ms", 4, 5),
    ] {
        let ratios: Vec<f64> = figures.iter().map(|f| f[storm] / f[calm]).collect();
        println!(
            "{what:<21} | {:>9.2} | {:>9.2} | {}",
            of(calm),
            of(storm),
            shown(&ratios)
        );
        details[key] = json!({
            "calm": of(calm), "storm": of(storm), "storm_by_calm": support::shown(&ratios).1,
        });
    }
    Outcome {
        figures: Vec::new(),
        details,
    }
}

/// The 99th percentile of ingestion, and the median and the 99th percentile from acceptance to
/// arrival at a healthy destination, in milliseconds.
fn beside_hanging(sinks: &Runtime, silent: SocketAddr, others: usize) -> (f64, f64, f64) {
    let receiver = Receiver::start(sinks);
    let directory = support::directory();
    let mut config = support::config(directory.path(), receiver.address);
    let mut names: Vec<String> = (0..others).map(|n| format!("hangs{n}")).collect();
    for name in &names {
        rows::destination(&mut config, name, silent);
    }
    rows::destination(&mut config, "healthy", receiver.address);
    if others > 0 {
        names.push("healthy".to_owned());
        rows::seed(&config, &names, EACH, "0, 0, ?2", Duration::from_secs(60));
    }
    config.delivery.level = Some(Level::Durable);
    let relay = Relay::start(config).expect("the relay starts");
    if others > 0 {
        // Its own ten thousand go first; the events after them are measured.
        while receiver.count() < EACH {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let (took, accepted) = paced(relay.address(), "healthy", sample() * 3);
    std::thread::sleep(Duration::from_secs(2));
    let late: Vec<f64> = accepted
        .iter()
        .map(|(id, at)| {
            receiver.arrival(id).map_or(f64::INFINITY, |arrived| {
                arrived.saturating_duration_since(*at).as_secs_f64() * 1e3
            })
        })
        .collect();
    // The stop cuts hanging attempts off.
    drop(relay);
    (
        percentile(took, 0.99),
        percentile(late.clone(), 0.5),
        percentile(late, 0.99),
    )
}

/// Posts to a source at a pace; returns the milliseconds of each request, and the ids with the
/// times of their acceptance.
fn paced(to: SocketAddr, source: &str, time: Duration) -> (Vec<f64>, Vec<(String, Instant)>) {
    const PAUSE: Duration = Duration::from_millis(5);

    let mut stream = TcpStream::connect(to).expect("the relay listens");
    stream.set_nodelay(true).expect("a socket option");
    let (mut took, mut accepted) = (Vec::new(), Vec::new());
    let end = Instant::now() + time;
    while Instant::now() < end {
        let start = Instant::now();
        let (id, at) = post(&mut stream, source);
        took.push((at - start).as_secs_f64() * 1e3);
        accepted.push((id, at));
        std::thread::sleep(PAUSE);
    }
    (took, accepted)
}

/// Posts an event under a key of its own; returns its id and the time of its acceptance.
pub fn post(stream: &mut TcpStream, source: &str) -> (String, Instant) {
    static KEY: AtomicU64 = AtomicU64::new(0);
    let key = KEY.fetch_add(1, Ordering::Relaxed);
    let body = support::body();
    let request = format!(
        "POST /webhooks/{source} HTTP/1.1\r\nHost: relay\r\nIdempotency-Key: {key}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut buffer = [0; 4096];
    let read = stream.read(&mut buffer).expect("it answers");
    let accepted = Instant::now();
    let answer = String::from_utf8_lossy(&buffer[..read]);
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let id = answer
        .split("\"event_id\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("an id");
    (id.to_owned(), accepted)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a place in a list"
)]
fn percentile(mut figures: Vec<f64>, part: f64) -> f64 {
    figures.sort_by(f64::total_cmp);
    let place = ((figures.len() as f64 * part) as usize).min(figures.len().saturating_sub(1));
    figures.get(place).copied().unwrap_or(f64::NAN)
}

/// The receiver's busiest second when everything is due at once.
#[expect(
    clippy::too_many_lines,
    reason = "one scenario from its start to its figures"
)]
pub fn recovery() -> Outcome {
    const LIMIT: f64 = 2_000.0;
    const DUE: usize = 20_000;

    let sinks = runtime(1);
    let (mut peaks, mut spikes) = (Vec::new(), Vec::new());
    for _ in 0..rounds() {
        let receiver = Receiver::start(&sinks);
        let directory = support::directory();
        let mut config = support::config(directory.path(), receiver.address);
        rows::destination(&mut config, "healed", receiver.address);
        let healed = config.destinations.get_mut("healed").expect("just added");
        healed.rate_limit = Some(RateLimit {
            per_second: LIMIT,
            burst: 4_000,
        });
        healed.retry = RetrySettings::default();
        rows::seed(
            &config,
            &["healed".to_owned()],
            DUE,
            "2, 3, ?2",
            Duration::from_secs(600),
        );
        // As an outage leaves it: the breaker open, the next probe due.
        Connection::open(&config.database.path)
            .and_then(|database| {
                database.execute(
                    "UPDATE destinations SET probe_at = 0, probe_wait = 600000
                     WHERE name = 'healed'",
                    [],
                )
            })
            .expect("a breaker");
        config.delivery.level = Some(Level::Durable);
        let relay = Relay::start(config).expect("the relay starts");
        while receiver.count() < DUE {
            std::thread::sleep(Duration::from_millis(20));
        }
        relay.stop().expect("the relay stops");
        let at = receiver.arrivals();
        // The highest number in any window of a second.
        let (mut most, mut first) = (0, 0);
        for last in 0..at.len() {
            while at[last] - at[first] >= Duration::from_secs(1) {
                first += 1;
            }
            most = most.max(last - first + 1);
        }
        let whole = (at[DUE - 1] - at[0]).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let (peak, mean) = (most as f64, DUE as f64 / whole);
        peaks.push(peak / LIMIT);
        spikes.push(peak / mean);
    }
    println!("{DUE} retries due at once after an outage, limit 2 000/s with bursts of 4 000");
    println!("busiest second ÷ limit  {}", shown(&peaks));
    println!("busiest second ÷ mean   {}", shown(&spikes));
    Outcome {
        figures: Vec::new(),
        details: json!({
            "busiest_second_by_limit": support::shown(&peaks).1,
            "busiest_second_by_mean": support::shown(&spikes).1,
        }),
    }
}
