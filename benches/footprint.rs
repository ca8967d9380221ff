//! The footprint of the binary, as a process of its own: memory, time to start, disk; and the cost
//! of accepting an event with a million stored.
//!
//! ```text
//! cargo bench --bench footprint --features delivery
//! ```
//!
//! `RELAY_BENCH_ROWS` bounds the million.

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use support::seed::{Backlog, Skew, seed};
use support::servers::no_op;
use support::{load, median, rounds, runtime, sample, shown};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const BINARY: &str = env!("CARGO_BIN_EXE_relay");

fn main() {
    let client = runtime(1);
    let sinks = runtime(1);
    let (sink, _) = no_op(&sinks);
    let events = support::rows(1_000_000);
    let keys = events * 6 / 10;
    let full = full(events, keys, sink);
    println!(
        "{} rounds, interleaved; medians, and (least–most) of the ratios; \"full\": {events} events that wait, {keys} random keys\n",
        rounds()
    );
    let (built, stripped) = binary();
    println!("binary                             | {}", mib(built));
    println!("  stripped                         | {}", mib(stripped));
    let starts = starts(full.path(), sink);
    let accepts = loaded(&client, sink, "off", "most memory, 256 connections");
    let delivers = loaded(&client, sink, "durable", "  delivering as well");
    let disk = disk(&client, sink);
    let accepting = accepting(&client, full.path(), sink);
    support::keep(
        "footprint",
        &json!({
            "events": events,
            "keys": keys,
            "binary_bytes": built,
            "binary_stripped_bytes": stripped,
            "starts": starts,
            "resident_bytes_at_256_connections": accepts,
            "resident_bytes_at_256_connections_delivering": delivers,
            "disk": disk,
            "accepting": accepting,
        }),
    );
}

/// A database with `events` events, none of which is due within the next hours.
fn full(events: i64, keys: i64, sink: SocketAddr) -> TempDir {
    let directory = support::directory();
    seed(
        &support::config(directory.path(), sink),
        &Backlog {
            events,
            destinations: &["sink".to_owned()],
            skew: Skew::Even,
            body: support::body().as_bytes(),
            keys,
            due_in: Some(Duration::from_secs(4 * 3_600)),
        },
    );
    directory
}

/// Bytes of the binary as built and without symbols.
fn binary() -> (f64, f64) {
    let stripped = support::directory();
    let path = stripped.path().join("relay");
    let status = Command::new("strip")
        .arg("-o")
        .args([&path, Path::new(BINARY)])
        .status();
    let is_stripped = status.is_ok_and(|status| status.success());
    let without = if is_stripped { size(&path) } else { f64::NAN };
    (size(Path::new(BINARY)), without)
}

/// The time from the process's start to the first 200 of `/readyz`, and the memory after an idle
/// second.
fn starts(full: &Path, sink: SocketAddr) -> serde_json::Value {
    let empty = support::directory();
    Server::start(empty.path(), "durable", sink).stop();
    let mut took = [const { Vec::new() }; 3];
    let mut resident = [const { Vec::new() }; 3];
    for _ in 0..rounds() {
        let fresh = support::directory();
        for (at, directory) in [fresh.path(), empty.path(), full].into_iter().enumerate() {
            let server = Server::start(directory, "durable", sink);
            took[at].push(server.ready_after.as_secs_f64() * 1e3);
            std::thread::sleep(Duration::from_secs(1));
            resident[at].push(server.resident("VmRSS:"));
            server.stop();
        }
    }
    let mut kept = Vec::new();
    let names = ["no database", "empty", "full"];
    for ((name, took), resident) in names.into_iter().zip(took).zip(resident) {
        let (least, most) = support::spread(&took);
        let (took, resident) = (median(took), median(resident));
        println!(
            "start to ready, {name:<18} | {took:.1} ms ({least:.1}–{most:.1}); then idle at {}",
            mib(resident)
        );
        kept.push(json!({
            "database": name,
            "ready_ms": { "median": took, "least": least, "most": most },
            "idle_resident_bytes": resident,
        }));
    }
    json!(kept)
}

/// The peak memory at a level, with 256 connections posting.
fn loaded(client: &Runtime, sink: SocketAddr, level: &str, what: &str) -> f64 {
    let most = (0..rounds())
        .map(|_| {
            let directory = support::directory();
            let server = Server::start(directory.path(), level, sink);
            load(client, server.address, 256, sample());
            let most = server.resident("VmHWM:");
            server.stop();
            most
        })
        .collect();
    let most = median(most);
    println!("{what:35}| {}", mib(most));
    most
}

/// Bytes of an event in the database file: while it waits, and delivered.
fn disk(client: &Runtime, sink: SocketAddr) -> serde_json::Value {
    let directory = support::directory();
    let path = directory.path().join("relay.db");
    Server::start(directory.path(), "off", sink).stop();
    let before = size(&path);
    let server = Server::start(directory.path(), "off", sink);
    let events = load(client, server.address, 64, sample()).count;
    server.stop();
    let waiting = (size(&path) - before) / real(events);

    let server = Server::start(directory.path(), "durable", sink);
    let sql = Connection::open(&path).expect("the database");
    while support::waits(&sql) {
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(sql);
    server.stop();
    let delivered = (size(&path) - before) / real(events);
    println!(
        "disk, an event of {} bytes        | {waiting:.0} bytes while it waits, {delivered:.0} delivered ({events} events)",
        support::body().len()
    );
    json!({ "waiting_bytes": waiting, "delivered_bytes": delivered, "events": events })
}

/// Durable `POST`s a second, and bytes written for each, with an empty database and a full one.
fn accepting(client: &Runtime, full: &Path, sink: SocketAddr) -> serde_json::Value {
    let full = Server::start(full, "off", sink);
    let (mut rates, mut written) = (Vec::new(), Vec::new());
    for _ in 0..rounds() {
        // A fresh copy, because a round fills the empty database.
        let directory = support::directory();
        let empty = Server::start(directory.path(), "off", sink);
        let of_empty = accept(client, &empty);
        let of_full = accept(client, &full);
        empty.stop();
        rates.push((of_empty.0, of_full.0));
        written.push((of_empty.1, of_full.1));
    }
    full.stop();
    let first = |pairs: &[(f64, f64)]| median(pairs.iter().map(|pair| pair.0).collect());
    let second = |pairs: &[(f64, f64)]| median(pairs.iter().map(|pair| pair.1).collect());
    let ratio = |pairs: &[(f64, f64)]| {
        let ratios: Vec<f64> = pairs.iter().map(|pair| pair.1 / pair.0).collect();
        shown(&ratios)
    };
    let (by_rate, by_bytes) = (ratio(&rates), ratio(&written));
    println!(
        "durable POST/s, 64 connections     | {:.0} empty, {:.0} full; full ÷ empty {}",
        first(&rates),
        second(&rates),
        by_rate.0
    );
    println!(
        "bytes written, an accepted event   | {:.0} empty, {:.0} full; full ÷ empty {}",
        first(&written),
        second(&written),
        by_bytes.0
    );
    json!({
        "empty_per_second": first(&rates),
        "full_per_second": second(&rates),
        "full_by_empty": by_rate.1,
        "empty_bytes_written": first(&written),
        "full_bytes_written": second(&written),
        "bytes_by_empty": by_bytes.1,
    })
}

/// Events a second, and bytes written for each, with those of the last checkpoint.
fn accept(client: &Runtime, server: &Server) -> (f64, f64) {
    // Warms the caches. After an idle second the writer has emptied its WAL.
    let rest = Duration::from_millis(1_500);
    load(client, server.address, 64, sample() / 4);
    std::thread::sleep(rest);
    let before = server.written();
    let load = load(client, server.address, 64, sample());
    std::thread::sleep(rest);
    let written = server.written() - before;
    (load.per_second, written / real(load.count))
}

/// The real binary.
struct Server {
    process: Child,
    address: SocketAddr,
    /// The time from the process's start to the first 200 of `/readyz`.
    ready_after: Duration,
}

impl Server {
    fn start(directory: &Path, level: &str, sink: SocketAddr) -> Self {
        let toml = format!(
            r#"
            server.listen = "127.0.0.1:0"
            admin.listen = "127.0.0.1:0"
            database.min_free_bytes = 0
            delivery.level = "{level}"
            [destinations.sink]
            url = "http://{sink}/hook"
            concurrency = 1024
            [sources.bench]
            destinations = ["sink"]
            "#
        );
        std::fs::write(directory.join("relay.toml"), toml).expect("a file");
        let start = Instant::now();
        let mut process = Command::new(BINARY)
            .arg("serve")
            .current_dir(directory)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut log = BufReader::new(process.stderr.take().expect("a pipe"));
        let mut seen = String::new();
        let address = loop {
            let mut line = String::new();
            let read = log.read_line(&mut line).expect("its log is text");
            seen.push_str(&line);
            assert!(read > 0, "it ended without listening:\n{seen}");
            if let Some((_, rest)) = line.split_once("listening at http://") {
                let address = rest.split('"').next().expect("an address");
                break address.parse().expect("an address");
            }
        };
        while !is_ready(address) {}
        let ready_after = start.elapsed();
        // A full pipe would block it.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self {
            process,
            address,
            ready_after,
        }
    }

    /// Bytes of memory, from a line of its /proc status.
    fn resident(&self, line: &str) -> f64 {
        self.told("status", line) * 1024.0
    }

    /// Bytes that it has written to the disk.
    fn written(&self) -> f64 {
        self.told("io", "write_bytes:")
    }

    fn told(&self, file: &str, line: &str) -> f64 {
        let path = PathBuf::from(format!("/proc/{}/{file}", self.process.id()));
        let text = std::fs::read_to_string(path).expect("the system tells");
        let number = text
            .lines()
            .find_map(|found| found.strip_prefix(line)?.split_whitespace().next());
        number
            .and_then(|number| number.parse().ok())
            .expect("a number")
    }

    fn stop(mut self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).expect("it runs");
        let status = self.process.wait().expect("it ends");
        assert!(status.success(), "{status}");
    }
}

/// A panic must not leave a server behind.
impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn is_ready(address: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.starts_with("HTTP/1.1 200")
}

#[expect(clippy::cast_precision_loss, reason = "a size")]
fn size(path: &Path) -> f64 {
    path.metadata().expect("a file").len() as f64
}

#[expect(clippy::cast_precision_loss, reason = "a count")]
fn real(count: usize) -> f64 {
    count as f64
}

fn mib(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1 << 20))
}
