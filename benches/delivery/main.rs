//! Events a second through the executor to a sink on loopback, interleaved in one run. Each part
//! has a name:
//!
//! - `executor`: from a backlog, beside a bare pool of ureq clients to the same sink;
//! - `https`: from a backlog over kept-alive connections in TLS 1.3, beside plain HTTP;
//! - `pipeline`: accepted, delivered and settled at the same time, beside a relay that only accepts
//!   and beside a pipeline of the same pieces without a database;
//! - `destinations`: from a backlog of 1 to 10 000 destinations, each at an address of its own,
//!   with the cost of a delivery;
//! - `one-host`: the same with one address for all of them;
//! - `refusals`: from a backlog of which a part is refused.
//!
//! ```text
//! cargo bench --bench delivery --features delivery
//! cargo bench --bench delivery --features delivery -- https destinations
//! RELAY_BENCH_FORM=short cargo bench --bench delivery --features delivery
//! ```

mod bare;
mod executor;
mod pipeline;
#[path = "../support/posts.rs"]
mod posts;
mod settling;
#[path = "../support/mod.rs"]
mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use serde_json::{Map, Value};
use support::servers::no_op;
use support::{Parts, rounds, runtime, sample};
use tokio::runtime::Runtime;

/// A part's name and its function.
type Part = (&'static str, fn(&Scene) -> Value);

/// The load generator and the sink.
struct Scene {
    client: Runtime,
    sinks: Runtime,
    sink: SocketAddr,
    /// Requests that the sink has got.
    arrived: Arc<AtomicU64>,
}

fn main() {
    let all: [Part; 6] = [
        ("executor", executor::beside_bare),
        ("https", settling::over_https),
        ("pipeline", pipeline::beside_limits),
        ("destinations", settling::by_destinations),
        ("one-host", settling::by_destinations_of_one_host),
        ("refusals", settling::with_refusals),
    ];
    let parts = Parts::of(&all.map(|(name, _)| name));
    let sinks = runtime(1);
    let (sink, arrived) = no_op(&sinks);
    let scene = Scene {
        client: runtime(1),
        sinks,
        sink,
        arrived,
    };
    println!(
        "{} samples of {:?}, interleaved; medians, and (least–most) of the ratio",
        rounds(),
        sample()
    );
    let mut kept = Map::new();
    for (name, measure) in all {
        if parts.has(name) {
            let start = std::time::Instant::now();
            println!();
            kept.insert(name.to_owned(), measure(&scene));
            println!("({name}: {:.0?})", start.elapsed());
        }
    }
    support::keep("delivery", &Value::Object(kept));
}
