//! The time in which a node picks up an event that another one has accepted.

use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::postgres::Server;
use super::support::servers::answering;
use super::support::{self, Client, percentile, runtime};
use super::{Shared, stop};

/// Events, one after the other.
const EVENTS: usize = 300;

/// A pause before each event, so that both nodes are idle.
const PAUSE: Duration = Duration::from_millis(10);

/// The name of the node that delivers to `sink`: 64 bits of the digest of its name, of which 8
/// count.
const OWNER: &str = "SELECT n.name FROM relay.buckets b JOIN relay.nodes n ON n.epoch = b.epoch
     WHERE b.bucket = get_byte(sha256('sink'), 7)";

/// From the answer of one node to the request of the other, both idle.
pub fn of_another_nodes_events(server: &Server) -> Value {
    let (sinks, clients) = (runtime(1), runtime(1));
    let (arrived, arrivals) = channel();
    let arrived = std::sync::Arc::new(Mutex::new(arrived));
    let sink = answering(&sinks, Ipv4Addr::LOCALHOST, None, move |_| {
        let sender = arrived.lock().expect("no panic");
        // The last one may come when nobody waits any more.
        let _ = sender.send(Instant::now());
        std::future::ready(true)
    });
    let directory = support::directory();
    let config = support::config(directory.path(), sink);
    let database = Shared::new(server);
    let nodes = database.nodes(&config, 2);
    let owner = database.sql(OWNER);
    let other = super::NODES.iter().position(|name| *name != owner);
    let to = nodes[other.expect("there are two")].address();
    let mut took: Vec<Duration> = clients.block_on(async {
        let mut client = Client::connect(to).await;
        let body = support::body();
        let mut took = Vec::new();
        for _ in 0..EVENTS {
            tokio::time::sleep(PAUSE).await;
            client.write_event(&body);
            client.send().await;
            let answered = Instant::now();
            let come = arrivals.recv_timeout(Duration::from_secs(10));
            let come = come.expect("it is delivered");
            took.push(come.saturating_duration_since(answered));
        }
        took
    });
    stop(nodes);
    took.sort();
    let millis = |part| percentile(&took, part).as_secs_f64() * 1e3;
    let (p50, p99, most) = (millis(0.5), millis(0.99), millis(1.0 - 1e-9));
    println!(
        "pickup of another node's event, from its answer to the request, {EVENTS} events, ms: \
         p50 {p50:.2}, p99 {p99:.2}, most {most:.2}"
    );
    json!({ "events": EVENTS, "p50_ms": p50, "p99_ms": p99, "most_ms": most })
}
