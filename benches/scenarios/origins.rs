//! Guarantee 6: an outage blocks no other destination, not even an outage of ten thousand ad hoc
//! origins.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use relay::config::{RateLimit, Secret};
use relay::model::Level;
use relay::{Config, Relay};
use rusqlite::Connection;
use serde_json::json;
use tokio::runtime::Runtime;

use super::outage::post;
use super::receiver::{Receiver, tarpit};
use super::support::{self, Client, median, runtime};
use super::{Figure, Goal, Outcome, rounds, rows};

/// The longest that the first event may take, in seconds.
const GOAL: f64 = 2.0;
/// The time limit of an event; a later one counts as this late.
const PATIENCE: Duration = Duration::from_secs(20);
/// The pause after a start and after the last accepted relay, until hanging origins have all the
/// workers that they can get.
const REST: Duration = Duration::from_secs(1);
const KEY: &str = "benchmark";
const CONNECTIONS: usize = 64;

pub fn run() -> Outcome {
    let (client, sinks) = (runtime(1), runtime(1));
    let (_tarpit, port) = tarpit(&sinks);
    let origins = usize::try_from(support::rows(10_000)).expect("a count");
    let mut late = [const { Vec::new() }; 3];
    let mut hanging = Vec::new();
    for _ in 0..rounds() {
        let round = Round::new(&sinks);
        let relay = Relay::start(round.config.clone()).expect("the relay starts");
        hang(&client, relay.address(), origins, port);
        std::thread::sleep(REST);
        hanging.push(round.under_way());
        late[0].push(round.first_event(relay.address(), "orders"));
        relay.stop().expect("the relay stops");
        // After the restart relay knows of destinations only from the database.
        let relay = Relay::start(round.config.clone()).expect("the relay starts");
        std::thread::sleep(REST);
        hanging.push(round.under_way());
        late[1].push(round.first_event(relay.address(), "orders"));
        late[2].push(round.first_event(relay.address(), "invoices"));
        relay.stop().expect("the relay stops");
    }
    println!(
        "the first event to a named destination beside {origins} hanging origins of one API key, of which {hanging:?} have an attempt; from acceptance to arrival, seconds ({} at most)",
        PATIENCE.as_secs()
    );
    let whats = [
        "before a restart",
        "after it, answered before",
        "after it, never contacted before",
    ];
    let figures: Vec<Figure> = whats
        .into_iter()
        .zip(late)
        .map(|(what, samples)| {
            let (least, most) = support::spread(&samples);
            let middle = median(samples.clone());
            println!("{what:<32} | {middle:>6.3} ({least:.3}–{most:.3})");
            Figure {
                name: format!("first event beside {origins} origins, {what}"),
                goal: Goal::AtMost(GOAL),
                unit: " s",
                samples,
            }
        })
        .collect();
    Outcome {
        figures,
        details: json!({ "origins": origins, "attempts_under_way": hanging }),
    }
}

/// A database, and a receiver of two named destinations.
struct Round {
    receiver: Receiver,
    config: Config,
    /// The database's directory, deleted on drop.
    _directory: tempfile::TempDir,
}

impl Round {
    fn new(sinks: &Runtime) -> Self {
        let receiver = Receiver::start(sinks);
        let directory = support::directory();
        let mut config = support::config(directory.path(), receiver.address);
        for name in ["orders", "invoices"] {
            rows::destination(&mut config, name, receiver.address);
        }
        config.delivery.level = Some(Level::Durable);
        let loopback = "127.0.0.0/8".parse().expect("a network");
        config.delivery.allow_networks = vec![loopback];
        config.api.keys = vec![Secret::new(KEY)];
        config.api.rate_limit.post = RateLimit {
            per_second: 1e6,
            burst: 1_000_000,
        };
        // The stop cuts hanging attempts off.
        config.server.shutdown_grace = Duration::from_millis(100);
        Self {
            receiver,
            config,
            _directory: directory,
        }
    }

    /// Attempts in flight.
    fn under_way(&self) -> i64 {
        Connection::open(&self.config.database.path)
            .and_then(|database| {
                database.query_row(
                    "SELECT count(*) FROM deliveries WHERE claim IS NOT NULL",
                    [],
                    |row| row.get(0),
                )
            })
            .expect("a count")
    }

    /// The seconds from the acceptance of an event to its arrival.
    fn first_event(&self, to: SocketAddr, source: &str) -> f64 {
        let mut stream = TcpStream::connect(to).expect("the relay listens");
        let (id, accepted) = post(&mut stream, source);
        let end = accepted + PATIENCE;
        loop {
            if let Some(arrived) = self.receiver.arrival(&id) {
                return arrived.saturating_duration_since(accepted).as_secs_f64();
            }
            if Instant::now() >= end {
                return PATIENCE.as_secs_f64();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Creates a relay to each of this many hanging origins.
fn hang(client: &Runtime, to: SocketAddr, origins: usize, port: u16) {
    client.block_on(async {
        let tasks: Vec<_> = (0..CONNECTIONS)
            .map(|first| {
                tokio::spawn(async move {
                    let mut client = Client::connect(to).await;
                    for n in (first..origins).step_by(CONNECTIONS) {
                        let body = relay_to(&format!("http://{}:{port}/", support::host(n)));
                        client.write(format_args!(
                            "POST /v1/relays HTTP/1.1\r\nHost: relay\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                            body.len()
                        ));
                        client.send().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("a client doesn't panic");
        }
    });
}

/// The body of a request that creates a relay.
fn relay_to(url: &str) -> String {
    json!({
        "eventType": "order.created",
        "destination": { "type": "webhook", "url": url },
        "payload": {},
    })
    .to_string()
}
