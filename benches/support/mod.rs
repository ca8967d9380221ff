//! Shared by the benchmarks: a load generator, servers that show limits, medians.

#![allow(
    dead_code,
    reason = "shared by several targets, each of which uses a part of it"
)]

pub mod plot;
pub mod seed;

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use relay::config::{Destination, Source};
use relay::{Config, Relay};
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// A body of 579 bytes, about the size of a provider's small webhook.
pub fn body() -> String {
    format!(
        r#"{{"id":"ord_7f3a","type":"order.created","created":1700000000,"data":{{"customer":"cus_91","currency":"EUR","total":12.50,"note":"{}"}}}}"#,
        "x".repeat(448)
    )
}

/// The length of a sample; `RELAY_BENCH_SECONDS` sets it in seconds.
pub fn sample() -> Duration {
    let seconds = std::env::var("RELAY_BENCH_SECONDS").ok();
    Duration::from_secs_f64(seconds.and_then(|text| text.parse().ok()).unwrap_or(2.0))
}

/// The number of samples of each figure; `RELAY_BENCH_ROUNDS` sets it.
pub fn rounds() -> usize {
    rounds_or(5)
}

/// As [`rounds`], with another default.
pub fn rounds_or(usual: usize) -> usize {
    let rounds = std::env::var("RELAY_BENCH_ROUNDS").ok();
    rounds.and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// `at_most`, or the number in `RELAY_BENCH_ROWS` if that is lower.
pub fn rows(at_most: i64) -> i64 {
    let rows = std::env::var("RELAY_BENCH_ROWS").ok();
    let rows = rows.and_then(|text| text.parse().ok()).unwrap_or(at_most);
    rows.min(at_most)
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
    let sql = Connection::open(&config.database.path).expect("a database");
    let relay = Relay::start(config.clone()).expect("the relay starts");
    let end = Instant::now() + sample();
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
    sql.execute_batch(
        "PRAGMA synchronous = OFF;
         BEGIN;
         UPDATE deliveries
         SET state = 0, claim = NULL, attempts = 0, history = 0, last_error = NULL,
             next_attempt_at = intent_id >> 12, updated_at = intent_id >> 12
         WHERE (intent_id, destination_id) IN (SELECT intent_id, destination_id FROM attempts);
         DELETE FROM attempts;
         COMMIT;
         PRAGMA wal_checkpoint(TRUNCATE)",
    )
    .expect("a database");
    settled / millis * 1e3
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

/// A hyper server that reads and counts each body and answers a constant: the limit for any
/// handler.
pub fn no_op(runtime: &Runtime) -> (SocketAddr, Arc<AtomicU64>) {
    let hits = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&hits);
    let address = answering(runtime, move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        std::future::ready(true)
    });
    (address, hits)
}

/// A hyper server that appends each body to a file and answers after a sync, which all bodies that
/// arrived meanwhile share: the limit for any server that answers after a sync.
pub fn fsync_log(runtime: &Runtime, directory: &Path) -> SocketAddr {
    let (queue, appended) = std::sync::mpsc::sync_channel::<(Bytes, oneshot::Sender<()>)>(4096);
    let path = directory.join("log");
    let mut file = std::fs::File::create(path).expect("a file");
    std::thread::spawn(move || {
        while let Ok(first) = appended.recv() {
            let batch: Vec<_> = std::iter::once(first)
                .chain(appended.try_iter().take(511))
                .collect();
            let bytes: Vec<u8> = batch
                .iter()
                .flat_map(|(body, _)| body.iter().copied())
                .collect();
            std::io::Write::write_all(&mut file, &bytes).expect("room");
            file.sync_data().expect("a disk that syncs");
            for (_, waiter) in batch {
                // A client may have left at the end of a sample.
                let _ = waiter.send(());
            }
        }
    });
    answering(runtime, move |body| {
        let (waiter, synced) = oneshot::channel();
        queue
            .try_send((body, waiter))
            .expect("fewer clients than places");
        async move { synced.await.is_ok() }
    })
}

/// A hyper server that gives each body to `take`, and answers 202 on success.
fn answering<F>(
    runtime: &Runtime,
    take: impl Fn(Bytes) -> F + Clone + Send + Sync + 'static,
) -> SocketAddr
where
    F: Future<Output = bool> + Send,
{
    const ANSWER: &str =
        r#"{"event_id":"evt_01a200b0-98cc-7000-84ec-471754438fd6","status":"accepted"}"#;
    let listener = runtime
        .block_on(TcpListener::bind("127.0.0.1:0"))
        .expect("loopback has a free port");
    let address = listener.local_addr().expect("an address");
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).expect("a socket option");
            let take = take.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let take = take.clone();
                    async move {
                        let body = request.into_body().collect().await;
                        let is_well = match body {
                            Ok(body) => take(body.to_bytes()).await,
                            Err(_) => false,
                        };
                        let response = hyper::Response::builder()
                            .status(if is_well { 202 } else { 400 })
                            .header("content-type", "application/json")
                            .body(Full::new(Bytes::from_static(ANSWER.as_bytes())))
                            .expect("a constant");
                        Ok::<_, Infallible>(response)
                    }
                });
                // The load generator closes at its end.
                let _ = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
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
        .enable_all()
        .build()
        .expect("a runtime")
}
