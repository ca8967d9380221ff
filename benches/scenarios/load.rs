//! `POST`s at a steady pace, so that a stall counts for every request that it delays.
//!
//! A client that waits for an answer before its next request sends nothing during a stall. Then of
//! 30 000 requests only 64 have waited for half a second, and the 99th percentile doesn't show
//! them. So requests have fixed times here, and the latency of a request that is sent late, because
//! the answer before it is late, counts from its fixed time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep_until};

use super::support::{self, Client};

/// Connections: the number that the goals are given for.
const CONNECTIONS: u32 = 64;

/// The pace of requests, and the sources that they go to.
#[derive(Clone)]
pub struct Pace {
    /// The time between two requests of a connection. With none each connection sends its next
    /// request after the last answer.
    every: Duration,
    /// Connections take them in turn.
    sources: Vec<String>,
}

impl Pace {
    /// Requests to the source `bench`; `RELAY_BENCH_PACE` sets the time between two requests of a
    /// connection in milliseconds. By default all connections send 6 400 requests a second, a
    /// quarter of the rate that two cores accept, so that a calm relay has no queue.
    pub fn usual() -> Self {
        let millis = std::env::var("RELAY_BENCH_PACE").ok();
        let millis = millis.and_then(|text| text.parse().ok()).unwrap_or(10);
        Self {
            every: Duration::from_millis(millis),
            sources: vec!["bench".to_owned()],
        }
    }

    /// This many requests a second.
    pub fn of(a_second: u32, sources: Vec<String>) -> Self {
        Self {
            every: Duration::from_secs(1) * CONNECTIONS / a_second,
            sources,
        }
    }
}

/// The usual load, in words.
pub fn described() -> String {
    let every = Pace::usual().every;
    if every.is_zero() {
        return format!("{CONNECTIONS} connections, as fast as they are answered");
    }
    let rate = f64::from(CONNECTIONS) / every.as_secs_f64();
    format!("{CONNECTIONS} connections, {rate:.0} a second")
}

/// The latencies of the requests, in milliseconds.
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub most: f64,
    pub requests: usize,
    /// Requests with another answer than 202. Their latency counts as infinite.
    pub refused: usize,
}

/// Sends events until the end of the sample.
pub fn steady(
    runtime: &Runtime,
    to: SocketAddr,
    pace: &Pace,
    is_over: impl Fn() -> bool + Clone + Send + 'static,
) -> Latency {
    let body = Arc::new(support::body());
    let mut took: Vec<Duration> = Vec::new();
    let every = pace.every;
    runtime.block_on(async {
        let start = Instant::now() + every;
        let tasks: Vec<_> = (0..CONNECTIONS)
            .map(|n| {
                let (body, is_over) = (Arc::clone(&body), is_over.clone());
                let source = n as usize % pace.sources.len();
                let source = pace.sources[source].clone();
                // Connections begin spread over the interval.
                let mut due = start + every * n / CONNECTIONS;
                tokio::spawn(async move {
                    let mut client = Client::connect(to).await;
                    let mut took = Vec::new();
                    while !is_over() {
                        client.write_event_of(&source, "", &body);
                        // The timer's own delay isn't the relay's.
                        let is_late = !every.is_zero() && Instant::now() >= due;
                        if !is_late {
                            sleep_until(due).await;
                        }
                        let sent = if is_late { due } else { Instant::now() };
                        let (status, _) = client.exchange().await;
                        took.push(match status {
                            202 => sent.elapsed(),
                            _ => Duration::MAX,
                        });
                        due += every;
                    }
                    took
                })
            })
            .collect();
        for task in tasks {
            took.extend(task.await.expect("a client doesn't panic"));
        }
    });
    took.sort();
    let refused = took.iter().rev().take_while(|took| **took == Duration::MAX);
    let refused = refused.count();
    let millis = |took: Duration| match took {
        Duration::MAX => f64::INFINITY,
        took => took.as_secs_f64() * 1e3,
    };
    Latency {
        p50: millis(support::percentile(&took, 0.5)),
        p99: millis(support::percentile(&took, 0.99)),
        most: millis(took.last().copied().unwrap_or_default()),
        requests: took.len(),
        refused,
    }
}

/// As [`steady`], at the usual pace and for a given time.
pub fn steady_for(runtime: &Runtime, to: SocketAddr, time: Duration) -> Latency {
    let end = Instant::now() + time;
    let pace = Pace::usual();
    steady(runtime, to, &pace, move || Instant::now() >= end)
}

impl Latency {
    pub fn json(&self) -> Value {
        json!({
            "p50_ms": self.p50,
            "p99_ms": self.p99,
            "most_ms": self.most,
            "requests": self.requests,
            "refused": self.refused,
        })
    }
}
