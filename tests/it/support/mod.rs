//! A relay in this process or as a process of its own, a client that sends exactly the given bytes,
//! and the examples' scripted receiver.

#![allow(
    dead_code,
    unused_imports,
    reason = "each build's tests use a part of it"
)]

pub mod certificates;
mod client;
pub mod document;
pub mod engine;
pub mod hostile;
pub mod own_server;
pub mod postgres;
mod process;
pub mod proxy;
pub mod raw;
#[path = "../../../examples/support/receiver.rs"]
mod receiver;
pub mod tls;
pub mod wire;

use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use relay::clock::FakeClock;
use relay::config::{Destination, RetrySettings, Secret, Source};
use relay::{Config, Relay};
use serde_json::Value;

pub use client::{Client, Connection, Reply};
pub use engine::{Columns, FromRow, Look};
pub use process::Process;
pub use receiver::{Answer, Arrival, Gate, Receiver};

pub const KEY: &str = "test-key";

/// A destination's URL where nothing listens.
pub const URL: &str = "http://127.0.0.1:9/hook";

/// A relay in this process, with a database in a directory of its own.
pub struct TestRelay {
    pub relay: Option<Relay>,
    pub client: Client,
    pub directory: Arc<tempfile::TempDir>,
}

/// A configuration for tests: port 0, limits that no test reaches by accident, loopback allowed, a
/// source `github` for the destination `orders` at `url`.
pub fn config(directory: &Path, url: &str) -> Config {
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".parse().expect("an address");
    config.server.shutdown_grace = Duration::from_secs(5);
    config.admin.listen = Some("127.0.0.1:0".parse().expect("an address"));
    engine::configure(&mut config, directory);
    config.database.min_free_bytes = 0;
    config.api.keys = vec![Secret::new(KEY)];
    config.api.rate_limit.post.per_second = 1e6;
    config.api.rate_limit.post.burst = 1_000_000;
    config.api.rate_limit.get = config.api.rate_limit.post;
    config.delivery.workers = 8;
    config.delivery.simulated.latency = Duration::from_millis(1);
    config.delivery.allow_networks = vec!["127.0.0.0/8".parse().expect("a network")];
    config.destinations.insert(
        "orders".to_owned(),
        Destination::new(url.parse().expect("a URL")),
    );
    config
        .sources
        .insert("github".to_owned(), Source::to(["orders"]));
    config
}

/// Turns delivery off, so that no status changes.
pub fn off(config: &mut Config) {
    config.delivery.level = Some(relay::model::Level::Off);
}

/// The settings of the destination `orders`.
pub fn orders(config: &mut Config) -> &mut Destination {
    config
        .destinations
        .get_mut("orders")
        .expect("a destination")
}

/// Retries at equal intervals, without jitter.
pub fn every(wait: Duration, times: usize) -> RetrySettings {
    RetrySettings {
        schedule: Some(vec![wait; times]),
        jitter: Some(0.0),
        ..RetrySettings::default()
    }
}

impl TestRelay {
    /// A relay whose destination doesn't listen.
    pub fn start() -> Self {
        Self::start_with("http://127.0.0.1:9/", |_| {})
    }

    /// A relay whose destination `orders` is at `url`, with further changes to its configuration.
    pub fn start_with(url: &str, change: impl FnOnce(&mut Config)) -> Self {
        let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        let mut config = config(directory.path(), url);
        change(&mut config);
        Self::start_in(directory, config, None)
    }

    pub fn start_in(
        directory: Arc<tempfile::TempDir>,
        config: Config,
        clock: Option<Arc<FakeClock>>,
    ) -> Self {
        let relay = match clock {
            Some(clock) => Relay::start_with_clock(config, clock),
            None => Relay::start(config),
        }
        .expect("the relay starts");
        Self {
            client: Client::of(relay.address()),
            relay: Some(relay),
            directory,
        }
    }

    pub fn stop(&mut self) {
        if let Some(relay) = self.relay.take() {
            relay.stop().expect("the relay stops in order");
        }
    }

    pub fn admin(&self) -> Client {
        let relay = self.relay.as_ref().expect("a running relay");
        Client::of_admin(relay.admin_address().expect("an admin listener"))
    }

    /// The first row that a query finds in the database.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn peek<'a, T: FromRow>(&self, look: impl Into<Look<'a>>) -> T {
        let mut rows = self.peek_rows(look).into_iter();
        rows.next().expect("a row")
    }

    /// The rows that a query finds in the database.
    pub fn peek_rows<'a, T: FromRow>(&self, look: impl Into<Look<'a>>) -> Vec<T> {
        engine::rows(self.directory.path(), look)
    }

    /// A read-only connection to the database, for tests of the file.
    pub fn sqlite(&self) -> rusqlite::Connection {
        rusqlite::Connection::open_with_flags(
            self.directory.path().join("relay.db"),
            rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
        )
        .expect("the database opens")
    }
}

/// A create request to `url`.
pub fn relay_to(url: &str, payload: &str) -> String {
    format!(
        r#"{{"eventType":"order.created","destination":{{"type":"webhook","url":"{url}"}},"payload":{payload}}}"#
    )
}

/// The longest wait for anything: enough for the slowest machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until `look` finds a value.
///
/// # Panics
///
/// If there is none within a minute.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not within a minute");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// A port that is free, for a program that can't be told to choose one. It is none of those that
/// the system hands out, so that no other socket of a test is given it.
///
/// # Panics
///
/// If there is none.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let range = range.unwrap_or_default();
    let first_of_system = range.split_whitespace().next();
    let end = first_of_system.and_then(|port| port.parse().ok());
    let end = end.unwrap_or(32_768_u16).max(20_000);
    let count = end - 10_000;
    // Other processes begin elsewhere.
    let begin = std::process::id().wrapping_mul(97) % u32::from(count);
    let begin = u16::try_from(begin).expect("below a number of 16 bits");
    let ports = std::iter::repeat_with(|| {
        10_000 + begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % count
    });
    let is_free = |port: &u16| {
        let address = ("127.0.0.1", *port);
        TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
    };
    let mut ports = ports.take(usize::from(count));
    ports.find(is_free).expect("a free port")
}

/// Polls an event until it has the status.
pub fn event_with_status(client: &Client, id: &str, status: &str) -> Value {
    until(&format!("{id} is {status}"), || {
        let event = client.get(&format!("/events/{id}")).json();
        (event["status"] == status).then_some(event)
    })
}

/// Polls a relay until it has the status.
pub fn relay_with_status(client: &Client, id: &str, status: &str) -> Value {
    until(&format!("{id} is {status}"), || {
        let relay = client.get(&format!("/v1/relays/{id}")).json();
        (relay["status"] == status).then_some(relay)
    })
}

/// The id of an accepted event.
pub fn event_id(reply: &Reply) -> String {
    assert_eq!(reply.status, 202, "{}", reply.text());
    reply.json()["event_id"].as_str().expect("an id").to_owned()
}

/// The id of a created relay.
pub fn relay_id(reply: &Reply) -> String {
    assert_eq!(reply.status, 201, "{}", reply.text());
    reply.json()["id"].as_str().expect("an id").to_owned()
}

/// The outcomes in the history of an event's first delivery, oldest first.
pub fn outcomes(event: &Value) -> Vec<&str> {
    event["deliveries"][0]["history"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| entry["outcome"].as_str().expect("text"))
        .collect()
}

/// Asserts that `reply` is an error of the relay API with this status, this code, and `says` in its
/// message.
pub fn assert_error(reply: &Reply, status: u16, code: &str, says: &str) {
    assert_eq!(reply.status, status, "{}", reply.text());
    let body = reply.json();
    assert_eq!(body["code"], code, "{body}");
    let message = body["message"].as_str().expect("a message");
    assert!(message.contains(says), "{message:?} should say {says:?}");
    assert_eq!(body["requestId"].as_str(), reply.header("x-request-id"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
}

/// The most commits of a start: the configuration is noted, and retention and the rollups make
/// their first sweeps. Two of them may share a commit.
pub const COMMITS_OF_A_START: u64 = 3;

/// The commits of a relay, by its metrics.
pub fn commits(admin: &Client) -> u64 {
    let text = admin.send("GET", "/metrics", &[], b"").text();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("relay_commits_total "));
    line.expect("a counter").parse().expect("a number")
}
