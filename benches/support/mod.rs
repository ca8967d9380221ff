//! Shared by the benchmarks: a load generator, servers that show limits, medians.

#![allow(
    dead_code,
    reason = "shared by several targets, each of which uses a part of it"
)]

pub mod backlog;
pub mod cost;
pub mod plot;
pub mod seed;
pub mod servers;
pub mod tls;

use std::borrow::Cow;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use relay::config::{Destination, Source};
use relay::{Config, Relay};
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// A body of 579 bytes, about the size of a provider's small webhook.
pub fn body() -> String {
    format!(
        r#"{{"id":"ord_7f3a","type":"order.created","created":1700000000,"data":{{"customer":"cus_91","currency":"EUR","total":12.50,"note":"{}"}}}}"#,
        "x".repeat(448)
    )
}

/// How much a benchmark measures; `RELAY_BENCH_FORM` sets it to `short` or `long`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A look that takes less than three minutes: short samples, few of them, small backlogs.
    Short,
    Usual,
    /// Backlogs of millions.
    Long,
}

pub fn form() -> Form {
    match std::env::var("RELAY_BENCH_FORM").as_deref() {
        Ok("short") => Form::Short,
        Ok("long") => Form::Long,
        Ok(other) => panic!("RELAY_BENCH_FORM is {other}: expected short or long"),
        Err(_) => Form::Usual,
    }
}

/// The length of a sample; `RELAY_BENCH_SECONDS` sets it in seconds.
pub fn sample() -> Duration {
    let usual = match form() {
        Form::Short => 0.5,
        Form::Usual | Form::Long => 2.0,
    };
    let seconds = std::env::var("RELAY_BENCH_SECONDS").ok();
    Duration::from_secs_f64(seconds.and_then(|text| text.parse().ok()).unwrap_or(usual))
}

/// The number of samples of each figure; `RELAY_BENCH_ROUNDS` sets it.
pub fn rounds() -> usize {
    rounds_or(5)
}

/// As [`rounds`], with another default.
pub fn rounds_or(usual: usize) -> usize {
    let usual = match form() {
        Form::Short => usual.min(SHORT_ROUNDS),
        Form::Usual | Form::Long => usual,
    };
    let rounds = std::env::var("RELAY_BENCH_ROUNDS").ok();
    rounds.and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// The rounds of the short form.
const SHORT_ROUNDS: usize = 2;
/// The most rows of a backlog in the short form.
const SHORT_ROWS: i64 = 100_000;

/// `at_most`, or the number in `RELAY_BENCH_ROWS` if that is lower.
pub fn rows(at_most: i64) -> i64 {
    let at_most = match form() {
        Form::Short => at_most.min(SHORT_ROWS),
        Form::Usual | Form::Long => at_most,
    };
    let rows = std::env::var("RELAY_BENCH_ROWS").ok();
    let rows = rows.and_then(|text| text.parse().ok()).unwrap_or(at_most);
    rows.min(at_most)
}

/// As [`rows`], with another number in the long form.
pub fn rows_by_form(usual: i64, long: i64) -> i64 {
    match form() {
        Form::Long => rows(long),
        Form::Short | Form::Usual => rows(usual),
    }
}

/// The parts of a benchmark that its arguments name, or all of them.
pub struct Parts(Vec<String>);

impl Parts {
    /// Ends the process if an argument names no part.
    pub fn of(known: &[&str]) -> Self {
        // Cargo adds an option of its own.
        let asked: Vec<String> = std::env::args()
            .skip(1)
            .filter(|argument| !argument.starts_with("--"))
            .collect();
        if let Some(unknown) = asked.iter().find(|name| !known.contains(&name.as_str())) {
            eprintln!("there is no {unknown}: expected {}", known.join(", "));
            std::process::exit(2);
        }
        Self(asked)
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|asked| asked == name)
    }
}

pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Smallest and largest.
pub fn spread(figures: &[f64]) -> (f64, f64) {
    let low = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let high = figures.iter().copied().fold(0.0, f64::max);
    (low, high)
}

/// Ratios as "median (least–most)", and as JSON.
pub fn shown(ratios: &[f64]) -> (String, Value) {
    let (least, most) = spread(ratios);
    let median = median(ratios.to_vec());
    (
        format!("{median:.2} ({least:.2}–{most:.2})"),
        json!({ "median": median, "least": least, "most": most }),
    )
}

/// The ratios of samples to those of the base, which were taken in turn with them.
pub fn ratios(samples: &[f64], base: &[f64]) -> Vec<f64> {
    let pairs = samples.iter().zip(base);
    pairs.map(|(sample, base)| sample / base).collect()
}

/// Whether any delivery waits or is in flight.
pub fn waits(sql: &Connection) -> bool {
    sql.query_row(
        "SELECT EXISTS (SELECT 1 FROM deliveries WHERE next_attempt_at IS NOT NULL)
             OR EXISTS (SELECT 1 FROM deliveries WHERE claim IS NOT NULL)",
        [],
        |row| row.get(0),
    )
    .expect("a database")
}

/// Runs the executor on a backlog for a sample, or until nothing waits, and makes the deliveries
/// pending again. Returns deliveries settled a second, from the first attempt to the last
/// settlement.
pub fn drain(config: &Config) -> f64 {
    drain_for(config, sample())
}

/// As [`drain`], for this time at most.
pub fn drain_for(config: &Config, time: Duration) -> f64 {
    let sql = Connection::open(&config.database.path).expect("a database");
    let relay = Relay::start(config.clone()).expect("the relay starts");
    let end = Instant::now() + time;
    while Instant::now() < end && waits(&sql) {
        std::thread::sleep(Duration::from_millis(5));
    }
    relay.stop().expect("the relay stops");
    let (settled, millis): (f64, f64) = sql
        .query_row(
            "SELECT CAST(count(*) AS REAL), CAST(max(d.updated_at) - min(a.started_at) AS REAL)
             FROM attempts a CROSS JOIN deliveries d
             ON d.intent_id = a.intent_id AND d.destination_id = a.destination_id
             WHERE d.state = 3",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .expect("something was settled");
    reset(&sql);
    settled / millis * 1e3
}

/// Makes the deliveries with an attempt pending again, and forgets their history.
pub fn reset(sql: &Connection) {
    sql.execute_batch(
        "PRAGMA synchronous = OFF;
         BEGIN;
         UPDATE deliveries
         SET state = 0, claim = NULL, attempts = 0, history = 0, interruptions = 0,
             last_error = NULL, next_attempt_at = intent_id >> 12, updated_at = intent_id >> 12
         WHERE (intent_id, destination_id) IN (SELECT intent_id, destination_id FROM attempts)
            OR claim IS NOT NULL;
         DELETE FROM attempts;
         COMMIT;
         PRAGMA wal_checkpoint(TRUNCATE)",
    )
    .expect("a database");
}

/// A configuration for benchmarks, with its database in `directory`.
pub fn config(directory: &Path, sink: SocketAddr) -> Config {
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".parse().expect("an address");
    config.admin.listen = Some("127.0.0.1:0".parse().expect("an address"));
    config.database.path = directory.join("relay.db");
    config.database.min_free_bytes = 0;
    let url = format!("http://{sink}/hook").parse().expect("a URL");
    let mut to = Destination::new(url);
    to.concurrency = Some(1024);
    config.destinations.insert("sink".to_owned(), to);
    config
        .sources
        .insert("bench".to_owned(), Source::to(["sink"]));
    config
}

/// The address of a host, one of many on loopback.
pub fn host(n: usize) -> Ipv4Addr {
    let part = |n: usize| u8::try_from(n).expect("fewer hosts than loopback has addresses");
    Ipv4Addr::new(
        127,
        part(1 + n / 62_500),
        part(n / 250 % 250),
        part(n % 250 + 1),
    )
}

/// The metrics, headers included.
pub fn metrics(admin: SocketAddr) -> String {
    let answer = get(admin, "/metrics");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

/// A metric without labels.
pub fn metric(admin: SocketAddr, name: &str) -> f64 {
    let answer = metrics(admin);
    let mut lines = answer.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().expect("a number"))
}

/// The answer to a GET on a connection of its own, headers included.
pub fn get(admin: SocketAddr, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(admin).expect("the operator's listener");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

/// A directory on the disk of the build, because `/tmp` may be in memory.
pub fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory")
}

/// The result of a load.
pub struct Load {
    /// The number of answers.
    pub count: usize,
    pub per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
}

/// `POST`s from `connections` connections, each request under a key of its own.
pub fn load(runtime: &Runtime, to: SocketAddr, connections: usize, time: Duration) -> Load {
    load_of(runtime, to, connections, time, &Arc::new(body()))
}

/// As [`load`], with a given body.
pub fn load_of(
    runtime: &Runtime,
    to: SocketAddr,
    connections: usize,
    time: Duration,
    body: &Arc<String>,
) -> Load {
    let body = Arc::clone(body);
    let write: WriteRequest = Arc::new(move |client| client.write_event(&body));
    load_with(runtime, to, connections, time, &write)
}

/// Prepares a client's next request.
pub type WriteRequest = Arc<dyn Fn(&mut Client) + Send + Sync>;

/// As [`load`], with given requests.
pub fn load_with(
    runtime: &Runtime,
    to: SocketAddr,
    connections: usize,
    time: Duration,
    write: &WriteRequest,
) -> Load {
    runtime.block_on(async {
        let end = Instant::now() + time;
        let tasks: Vec<_> = (0..connections)
            .map(|_| {
                let write = Arc::clone(write);
                tokio::spawn(async move {
                    let mut client = Client::connect(to).await;
                    let mut took = Vec::new();
                    while Instant::now() < end {
                        write(&mut client);
                        let start = Instant::now();
                        client.send().await;
                        took.push(start.elapsed());
                    }
                    took
                })
            })
            .collect();
        let start = Instant::now();
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.expect("a client doesn't panic"));
        }
        let elapsed = start.elapsed();
        all.sort();
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        Load {
            count: all.len(),
            per_second: all.len() as f64 / elapsed.as_secs_f64(),
            p50: percentile(&all, 0.5),
            p99: percentile(&all, 0.99),
        }
    })
}

/// A percentile of sorted times.
pub fn percentile(sorted: &[Duration], part: f64) -> Duration {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a list"
    )]
    let place = (sorted.len() as f64 * part) as usize;
    sorted.get(place).copied().unwrap_or_default()
}

/// A connection of the load generator.
pub struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Client {
    pub async fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.expect("the server listens");
        stream.set_nodelay(true).expect("a socket option");
        Self {
            stream,
            request: Vec::new(),
            answer: vec![0; 4096],
        }
    }

    /// Prepares a webhook request under a key of its own.
    pub fn write_event(&mut self, body: &str) {
        self.write_event_of("bench", "", body);
    }

    /// The same for a source of this name, with more header lines.
    pub fn write_event_of(&mut self, source: &str, headers: &str, body: &str) {
        static KEY: AtomicU64 = AtomicU64::new(0);
        // Random keys, like those of providers: their order isn't that of arrival.
        let n = KEY.fetch_add(1, Ordering::Relaxed);
        let key = (n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.write(format_args!(
            "POST /webhooks/{source} HTTP/1.1\r\nHost: relay\r\nIdempotency-Key: {key:016x}-{n:08x}\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    }

    /// Prepares a request of this text.
    pub fn write(&mut self, request: std::fmt::Arguments<'_>) {
        self.request.clear();
        std::io::Write::write_fmt(&mut self.request, request).expect("memory takes all");
    }

    /// Sends the request and reads its answer, which must be a success.
    pub async fn send(&mut self) {
        let (status, answer) = self.exchange().await;
        assert!(matches!(status, 201 | 202), "{answer}");
    }

    /// Sends the request and reads its answer.
    pub async fn exchange(&mut self) -> (u16, Cow<'_, str>) {
        let sent = self.stream.write_all(&self.request).await;
        sent.expect("the server reads");
        let buffer = &mut self.answer;
        let mut filled = 0;
        let status = loop {
            let read = self.stream.read(&mut buffer[filled..]).await;
            let read = read.expect("an answer");
            assert!(read > 0, "the server closed the connection");
            filled += read;
            let answer = &buffer[..filled];
            let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let head = std::str::from_utf8(&answer[..end]).expect("text");
            let length: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .and_then(|length| length.parse().ok())
                .expect("a length");
            if filled >= end + 4 + length {
                let status = head.get(9..12).and_then(|status| status.parse().ok());
                break status.expect("a status");
            }
        };
        (status, String::from_utf8_lossy(&buffer[..filled]))
    }
}

/// Writes a benchmark's figures as JSON.
pub fn keep(name: &str, figures: &Value) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{name}.json"));
    let text = serde_json::to_string_pretty(figures).expect("figures are JSON");
    std::fs::write(&path, text).expect("a file");
    println!("\nas JSON: {}", path.display());
}

/// A runtime for one side of a benchmark.
pub fn runtime(threads: usize) -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("bench-io")
        .enable_all()
        .build()
        .expect("a runtime")
}
