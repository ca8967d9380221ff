//! What an outage costs those that are well, in figures:
//!
//! - 20 destinations, of which 19 hang, 10 000 deliveries each: how long the healthy one's events take
//!   from acceptance to arrival, and ingestion beside a calm relay's;
//! - 50 000 retries that are due at once after an outage: the receiver's busiest second;
//! - retention at work on 100 000 old events: ingestion beside one that has nothing to prune.
//!
//! ```text
//! cargo bench --bench scenarios --features delivery
//! ```

mod support;

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use relay::config::{Destination, RateLimit, RetrySettings, Source};
use relay::model::Level;
use relay::{Config, Relay};
use support::{median, rounds, runtime};

fn main() {
    println!(
        "{} rounds; medians, and (least–most) of the ratios\n",
        rounds()
    );
    hanging();
    after_an_outage();
    pruning();
}

/// A receiver that notes when each request's body began to arrive, by its `webhook-id`.
struct Noting {
    address: SocketAddr,
    arrivals: Arc<Mutex<HashMap<String, Instant>>>,
}

fn noting(runtime: &tokio::runtime::Runtime) -> Noting {
    use http_body_util::{BodyExt as _, Full};
    use hyper_util::rt::TokioIo;

    let arrivals: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .expect("loopback has a free port");
    let address = listener.local_addr().expect("an address");
    let noted = Arc::clone(&arrivals);
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).expect("a socket option");
            let noted = Arc::clone(&noted);
            tokio::spawn(async move {
                let service = hyper::service::service_fn(
                    move |request: hyper::Request<hyper::body::Incoming>| {
                        let noted = Arc::clone(&noted);
                        async move {
                            let now = Instant::now();
                            let id = request.headers().get("webhook-id");
                            let id = id.and_then(|id| id.to_str().ok()).unwrap_or_default();
                            noted.lock().expect("no panic").insert(id.to_owned(), now);
                            let _ = request.into_body().collect().await;
                            Ok::<_, std::convert::Infallible>(hyper::Response::new(Full::<
                                bytes::Bytes,
                            >::default(
                            )))
                        }
                    },
                );
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Noting { address, arrivals }
}

/// Accepts connections and says nothing, ever.
fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let kept: Vec<_> = listener.incoming().collect();
        drop(kept);
    });
    address
}

fn destination(config: &mut Config, name: &str, at: SocketAddr) {
    let url = format!("http://{at}/").parse().expect("a URL");
    config
        .destinations
        .insert(name.to_owned(), Destination::new(url));
    config
        .sources
        .insert(name.to_owned(), Source::to([name.to_owned()]));
}

/// Makes the database, and puts so many events into it that wait for each of these destinations.
fn seed(config: &Config, names: &[String], each: usize, state: &str, ago: Duration) {
    let mut off = config.clone();
    off.delivery.level = Some(Level::Off);
    let relay = Relay::start(off).expect("the relay starts");
    relay.stop().expect("the relay stops");
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    let at = i64::try_from(now.saturating_sub(ago).as_millis()).expect("in range");
    fill(&config.database.path, names, each, state, at);
}

fn fill(path: &Path, names: &[String], each: usize, state: &str, at: i64) {
    let mut database = rusqlite::Connection::open(path).expect("the database");
    let transaction = database.transaction().expect("a transaction");
    let body = support::body();
    for name in names {
        transaction
            .execute(
                "INSERT OR IGNORE INTO destinations (name) VALUES (?1)",
                [name],
            )
            .expect("a destination");
    }
    for at_name in 0..each {
        for (index, name) in names.iter().enumerate() {
            let row = (at << 12) + i64::try_from(at_name * names.len() + index).expect("small");
            transaction
                .prepare_cached(
                    "INSERT INTO intents (id, random, surface, created_at, label, headers, body)
                     VALUES (?1, ?1, 1, ?2, ?3, x'', ?4)",
                )
                .and_then(|mut insert| insert.execute((row, at, name, body.as_bytes())))
                .expect("an intent");
            transaction
                .prepare_cached(&format!(
                    "INSERT INTO deliveries (intent_id, destination_id, state, attempts, next_attempt_at, updated_at)
                     SELECT ?1, id, {state}, ?2 FROM destinations WHERE name = ?3"
                ))
                .and_then(|mut insert| insert.execute((row, at, name)))
                .expect("a delivery");
        }
    }
    transaction.commit().expect("committed");
}

/// Posts to a source for so long, at a pace; what each took, and the ids with when they were accepted.
fn paced(to: SocketAddr, source: &str, time: Duration) -> (Vec<f64>, Vec<(String, Instant)>) {
    use std::io::{Read as _, Write as _};
    const PAUSE: Duration = Duration::from_millis(5);

    let mut stream = std::net::TcpStream::connect(to).expect("the relay listens");
    stream.set_nodelay(true).expect("a socket option");
    let (mut took, mut accepted) = (Vec::new(), Vec::new());
    let body = support::body();
    let end = Instant::now() + time;
    let mut key = 0_u64;
    let mut buffer = [0; 4096];
    while Instant::now() < end {
        key += 1;
        let request = format!(
            "POST /webhooks/{source} HTTP/1.1\r\nHost: relay\r\nIdempotency-Key: {key}-{:x}\r\nContent-Length: {}\r\n\r\n{body}",
            std::process::id(),
            body.len()
        );
        let start = Instant::now();
        stream.write_all(request.as_bytes()).expect("it reads");
        let read = stream.read(&mut buffer).expect("it answers");
        let now = Instant::now();
        took.push((now - start).as_secs_f64() * 1e3);
        let answer = String::from_utf8_lossy(&buffer[..read]);
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
        let id = answer
            .split("\"event_id\":\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .expect("an id");
        accepted.push((id.to_owned(), now));
        std::thread::sleep(PAUSE);
    }
    (took, accepted)
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

fn shown(ratios: &[f64]) -> String {
    let (least, most) = support::spread(ratios);
    format!("{:.2} ({least:.2}–{most:.2})", median(ratios.to_vec()))
}

/// How long the healthy one's events take, and ingestion, with 19 others hanging or without.
fn hanging() {
    let sinks = runtime(1);
    let silent = silent();
    let mut figures: Vec<[f64; 6]> = Vec::new();
    for _ in 0..rounds() {
        let one = |others: usize| {
            let noting = noting(&sinks);
            let directory = support::directory();
            let mut config = support::config(directory.path(), noting.address);
            let mut names: Vec<String> = (0..others).map(|n| format!("hangs{n}")).collect();
            for name in &names {
                destination(&mut config, name, silent);
            }
            destination(&mut config, "healthy", noting.address);
            if others > 0 {
                names.push("healthy".to_owned());
                seed(&config, &names, 10_000, "0, 0, ?2", Duration::from_secs(60));
            }
            config.delivery.level = Some(Level::Durable);
            let relay = Relay::start(config).expect("the relay starts");
            if others > 0 {
                // Its own ten thousand go first; what is measured comes after them.
                while noting.arrivals.lock().expect("no panic").len() < 10_000 {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            let time = support::sample() * 10;
            let (took, accepted) = paced(relay.address(), "healthy", time);
            std::thread::sleep(Duration::from_secs(2));
            let arrivals = noting.arrivals.lock().expect("no panic");
            let late: Vec<f64> = accepted
                .iter()
                .map(|(id, at)| {
                    arrivals.get(id).map_or(f64::INFINITY, |arrived| {
                        arrived.saturating_duration_since(*at).as_secs_f64() * 1e3
                    })
                })
                .collect();
            drop(arrivals);
            // Those that hang are cut off, not waited for.
            drop(relay);
            (
                percentile(took, 0.99),
                percentile(late.clone(), 0.5),
                percentile(late, 0.99),
            )
        };
        let (calm, storm) = (one(0), one(19));
        figures.push([calm.0, storm.0, calm.1, storm.1, calm.2, storm.2]);
    }
    let of = |at: usize| median(figures.iter().map(|f| f[at]).collect());
    println!(
        "19 of 20 destinations hang, 10 000 deliveries each (200 events/s to the healthy one)"
    );
    println!("                      |      calm |     storm | storm ÷ calm");
    for (what, calm, storm) in [
        ("ingestion p99, ms", 0, 1),
        ("accept → arrive p50", 2, 3),
        ("accept → arrive p99", 4, 5),
    ] {
        let ratios: Vec<f64> = figures.iter().map(|f| f[storm] / f[calm]).collect();
        println!(
            "{what:<21} | {:>9.2} | {:>9.2} | {}",
            of(calm),
            of(storm),
            shown(&ratios)
        );
    }
    println!();
}

/// The receiver's busiest second when everything is due at once.
fn after_an_outage() {
    const LIMIT: f64 = 2_000.0;
    const DUE: usize = 50_000;

    let sinks = runtime(1);
    let (mut peaks, mut spikes) = (Vec::new(), Vec::new());
    for _ in 0..rounds() {
        let noting = noting(&sinks);
        let directory = support::directory();
        let mut config = support::config(directory.path(), noting.address);
        destination(&mut config, "healed", noting.address);
        let healed = config.destinations.get_mut("healed").expect("just added");
        healed.rate_limit = Some(RateLimit {
            per_second: LIMIT,
            burst: 4_000,
        });
        healed.retry = RetrySettings::default();
        seed(
            &config,
            &["healed".to_owned()],
            DUE,
            "2, 3, ?2",
            Duration::from_secs(600),
        );
        // As the outage left it: its breaker open, and the next probe due.
        let database = rusqlite::Connection::open(&config.database.path).expect("the database");
        database
            .execute(
                "UPDATE destinations SET probe_at = 0, probe_wait = 600000 WHERE name = 'healed'",
                [],
            )
            .expect("a breaker");
        drop(database);
        config.delivery.level = Some(Level::Durable);
        let relay = Relay::start(config).expect("the relay starts");
        while noting.arrivals.lock().expect("no panic").len() < DUE {
            std::thread::sleep(Duration::from_millis(20));
        }
        relay.stop().expect("the relay stops");
        let mut at: Vec<Instant> = noting
            .arrivals
            .lock()
            .expect("no panic")
            .values()
            .copied()
            .collect();
        at.sort();
        // The most in any second, wherever it begins.
        let mut most = 0;
        let mut first = 0;
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
    println!("50 000 retries due at once after an outage, limit 2 000/s with bursts of 4 000");
    println!("busiest second ÷ limit  {}", shown(&peaks));
    println!("busiest second ÷ mean   {}\n", shown(&spikes));
}

/// Ingestion while 100 000 old events are pruned, and while nothing is.
fn pruning() {
    let sinks = runtime(1);
    let client = runtime(1);
    let (sink, _) = support::no_op(&sinks);
    let mut ratios = Vec::new();
    let mut figures = Vec::new();
    let mut pruned = Vec::new();
    for _ in 0..rounds() {
        let one = |old: usize| {
            let directory = support::directory();
            let mut config = support::config(directory.path(), sink);
            config.delivery.level = Some(Level::Off);
            let age = Duration::from_secs(30 * 86_400);
            seed(&config, &["sink".to_owned()], old.max(1), "3, 1, NULL", age);
            let path = config.database.path.clone();
            let relay = Relay::start(config).expect("the relay starts");
            let load = support::load(&client, relay.address(), 16, support::sample() * 2);
            relay.stop().expect("the relay stops");
            let database = rusqlite::Connection::open(path).expect("the database");
            let left: i64 = database
                .query_row(
                    "SELECT count(*) FROM deliveries WHERE state = 3",
                    [],
                    |row| row.get(0),
                )
                .expect("a count");
            (load.p99.as_secs_f64() * 1e3, left)
        };
        let ((without, _), (with, left)) = (one(0), one(100_000));
        ratios.push(with / without);
        figures.push((without, with));
        #[expect(clippy::cast_precision_loss, reason = "a count")]
        pruned.push((100_000 - left) as f64);
    }
    println!("retention at work on 100 000 old events, 16 connections posting");
    println!(
        "ingestion p99: {:.2} ms without, {:.2} ms with; with ÷ without {}; {:.0} pruned meanwhile",
        median(figures.iter().map(|f| f.0).collect()),
        median(figures.iter().map(|f| f.1).collect()),
        shown(&ratios),
        median(pruned)
    );
}
