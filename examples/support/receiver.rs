//! A scripted webhook receiver on loopback, for the examples, the tests and the benchmarks: it
//! keeps the requests, and answers by a script.

#![allow(
    dead_code,
    reason = "shared by several targets, each of which uses a part of it"
)]

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver as Channel, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Arrival {
    /// A header's value, or an empty string.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// The delay before the answer.
    pub delay: Duration,
    /// Holds the answer back.
    pub gate: Option<Gate>,
}

/// Holds answers back until it is opened; clones share it.
#[derive(Clone, Debug)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    pub fn closed() -> Self {
        Self(watch::Sender::new(false))
    }

    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn passed(&self) {
        // The sender lives as long as this gate.
        let _ = self.0.subscribe().wait_for(|is_open| *is_open).await;
    }
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: String::new(),
            delay: Duration::ZERO,
            gate: None,
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self
    }

    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    pub fn behind(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }
}

type Script = Arc<dyn Fn(&Arrival) -> Answer + Send + Sync>;

/// A receiver, which stops when it is dropped.
pub struct Receiver {
    address: SocketAddr,
    arrivals: Mutex<Channel<Arrival>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Receiver {
    /// Starts a receiver on a port that the system chooses.
    pub fn start(script: impl Fn(&Arrival) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"), script)
            .expect("loopback has a free port")
    }

    pub fn start_at(
        address: SocketAddr,
        script: impl Fn(&Arrival) -> Answer + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let (sender, arrivals) = channel();
        runtime.spawn(accept(listener, Arc::new(script), sender));
        Ok(Self {
            address,
            arrivals: Mutex::new(arrivals),
            runtime: Some(runtime),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path on this receiver.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Waits for the next request for at most `limit`.
    pub fn next_within(&self, limit: Duration) -> Option<Arrival> {
        let arrivals = self.arrivals.lock().expect("nobody panics holding this");
        arrivals.recv_timeout(limit).ok()
    }

    /// Waits for the next request.
    ///
    /// # Panics
    ///
    /// If there is none within a minute.
    pub fn next(&self) -> Arrival {
        self.next_within(Duration::from_secs(60))
            .expect("a request should have arrived")
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, script: Script, arrivals: Sender<Arrival>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener of this runtime");
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let (script, arrivals) = (Arc::clone(&script), arrivals.clone());
        tokio::spawn(async move {
            let service =
                service_fn(move |request| answer(request, Arc::clone(&script), arrivals.clone()));
            // The peer may end the connection in any way.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: hyper::Request<Incoming>,
    script: Script,
    arrivals: Sender<Arrival>,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let arrival = Arrival {
        path: head.uri.to_string(),
        headers: head.headers,
        body,
    };
    let answer = script(&arrival);
    // The receiver may have been dropped.
    let _ = arrivals.send(arrival);
    tokio::time::sleep(answer.delay).await;
    if let Some(gate) = &answer.gate {
        gate.passed().await;
    }
    let mut response = hyper::Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    Ok(response
        .body(Full::new(Bytes::from(answer.body)))
        .expect("the script's answer is well formed"))
}
