//! Receivers: one that records arrivals, and two that hang.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::runtime::Runtime;

use super::support::servers::listen;

/// A receiver that records the time at which each request began to arrive, by its `webhook-id`.
pub struct Receiver {
    pub address: SocketAddr,
    arrivals: Arc<Mutex<HashMap<String, Instant>>>,
}

impl Receiver {
    pub fn start(runtime: &Runtime) -> Self {
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
                                noted.lock().expect(NO_PANIC).insert(id.to_owned(), now);
                                let _ = request.into_body().collect().await;
                                let empty = Full::<bytes::Bytes>::default();
                                Ok::<_, std::convert::Infallible>(hyper::Response::new(empty))
                            }
                        },
                    );
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, arrivals }
    }

    /// The number of events that have arrived.
    pub fn count(&self) -> usize {
        self.arrivals.lock().expect(NO_PANIC).len()
    }

    /// The time at which an event arrived.
    pub fn arrival(&self, id: &str) -> Option<Instant> {
        self.arrivals.lock().expect(NO_PANIC).get(id).copied()
    }

    /// The times of all arrivals, ascending.
    pub fn arrivals(&self) -> Vec<Instant> {
        let arrivals = self.arrivals.lock().expect(NO_PANIC);
        let mut at: Vec<Instant> = arrivals.values().copied().collect();
        at.sort();
        at
    }
}

const NO_PANIC: &str = "nobody panics while holding this lock";

/// Accepts connections and never answers.
pub fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let kept: Vec<_> = listener.incoming().collect();
        drop(kept);
    });
    address
}

/// Listens on all of 127.0.0.0/8 and never accepts: the kernel makes the connection, and an
/// attempt waits for its answer until it times out. Past 4 096 connections the kernel makes none,
/// and attempts end with the shorter connect timeout, so a benchmark makes fewer. Returns the port,
/// which is free again when the listener is dropped.
pub fn tarpit(runtime: &Runtime) -> (tokio::net::TcpListener, u16) {
    let (listener, address) = listen(runtime, Ipv4Addr::UNSPECIFIED);
    (listener, address.port())
}
