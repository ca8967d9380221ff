//! The first event to each of many HTTPS hosts.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use relay::config::Source;
use relay::model::Level;
use relay::{Config, Relay};
use rustls::HandshakeKind;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::outage::post;
use super::support::backlog::{Hosts, wait_until};
use super::support::servers::{Acceptors, acceptor, listen};
use super::support::tls::{Authority, Resumption};
use super::support::{self, median, ratios, runtime};
use super::{Figure, Goal, Outcome, rounds, shown};

const HOSTS: usize = 200;
/// The time for all hosts; a later one counts as this late. It has room for a retry.
const PATIENCE: Duration = Duration::from_secs(30);
/// The time from the end of the connections until the next event.
const REST: Duration = Duration::from_millis(200);
/// The least part of the connections that resumes a session where the host offers it.
const GOAL: f64 = 1.0;

/// The way to the hosts.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    tls: Option<Resumption>,
}

const KINDS: [Kind; 3] = [
    Kind {
        name: "http",
        tls: None,
    },
    Kind {
        name: "https, no resumption offered",
        tls: Some(Resumption::None),
    },
    Kind {
        name: "https, resumption offered",
        tls: Some(Resumption::Offered),
    },
];

/// The samples of a kind.
#[derive(Default)]
struct Samples {
    /// Seconds from relay's start until each host has got an event that waits.
    cold: Vec<f64>,
    /// Seconds from an event's acceptance until each host has got it, after all of them have closed
    /// their connections.
    again: Vec<f64>,
    /// The resumed part of the second connections.
    resumed: Vec<f64>,
}

pub fn run() -> Outcome {
    let sinks = runtime(1);
    let authority = Authority::new();
    let directory = support::directory();
    let ca_file = authority.write(directory.path());
    let mut all = KINDS.map(|_| Samples::default());
    for _ in 0..rounds() {
        for (kind, samples) in KINDS.iter().zip(&mut all) {
            let tls = kind.tls.map(|offered| authority.hosts(HOSTS, offered));
            let ca_file = kind.tls.map(|_| ca_file.clone());
            measure(&sinks, tls, ca_file, samples);
        }
    }
    println!("seconds until each of {HOSTS} hosts has got an event");
    println!(
        "{:<28} | {:>10} | {:<18} | {:>12} | {:<18} | resumed",
        "", "cold start", "÷ http", "reconnecting", "÷ http"
    );
    let kept: Vec<Value> = KINDS
        .iter()
        .zip(&all)
        .map(|(kind, samples)| line(kind, samples, &all[0]))
        .collect();
    let [_, full, offered] = &all;
    println!(
        "reconnecting, resumption offered ÷ not offered: {}",
        shown(&ratios(&offered.again, &full.again))
    );
    Outcome {
        figures: vec![Figure {
            name: format!("connections to {HOSTS} HTTPS hosts that resume a session"),
            goal: Goal::AtLeast(GOAL),
            unit: "",
            samples: offered.resumed.clone(),
        }],
        details: json!({
            "hosts": HOSTS,
            "kinds": kept,
            "offered_by_not_offered":
                support::shown(&ratios(&offered.again, &full.again)).1,
        }),
    }
}

fn line(kind: &Kind, samples: &Samples, http: &Samples) -> Value {
    let cold = ratios(&samples.cold, &http.cold);
    let again = ratios(&samples.again, &http.again);
    let (cold, cold_json) = support::shown(&cold);
    let (again, again_json) = support::shown(&again);
    let resumed = median(samples.resumed.clone());
    println!(
        "{:<28} | {:>10.3} | {cold:<18} | {:>12.3} | {again:<18} | {:.0} %",
        kind.name,
        median(samples.cold.clone()),
        median(samples.again.clone()),
        resumed * 100.0
    );
    json!({
        "kind": kind.name,
        "cold_s": median(samples.cold.clone()),
        "cold_by_http": cold_json,
        "again_s": median(samples.again.clone()),
        "again_by_http": again_json,
        "resumed": resumed,
    })
}

fn measure(
    sinks: &Runtime,
    tls: Option<Acceptors>,
    ca_file: Option<PathBuf>,
    samples: &mut Samples,
) {
    let receiver = Receiver::start(sinks, tls);
    let directory = support::directory();
    let config = config(directory.path(), receiver.port, ca_file);
    // The event waits before the start.
    let mut off = config.clone();
    off.delivery.level = Some(Level::Off);
    let relay = Relay::start(off).expect("the relay starts");
    send(relay.address());
    relay.stop().expect("the relay stops");

    let start = Instant::now();
    let relay = Relay::start(config).expect("the relay starts");
    samples.cold.push(receiver.seconds_to_all(start));
    receiver.close_connections();
    std::thread::sleep(REST);
    let accepted = send(relay.address());
    samples.again.push(receiver.seconds_to_all(accepted));
    let [resumed, full] = [&receiver.state.resumed, &receiver.state.full]
        .map(|count| f64::from(u32::try_from(count.load(Ordering::SeqCst)).expect("some")));
    samples.resumed.push(resumed / (resumed + full).max(1.0));
    relay.stop().expect("the relay stops");
}

/// One source with all hosts.
fn config(directory: &std::path::Path, port: u16, ca_file: Option<PathBuf>) -> Config {
    let nobody = "127.0.0.1:9".parse().expect("an address");
    let mut config = support::config(directory, nobody);
    let destinations = Hosts { port, ca_file }.destinations(HOSTS);
    let source = Source::to(destinations.iter().map(|(name, _)| name.as_str()));
    config.sources.insert("all".to_owned(), source);
    config.destinations.extend(destinations);
    config.delivery.level = Some(Level::Durable);
    config
}

/// Posts an event for all hosts; returns the time of its acceptance.
fn send(to: SocketAddr) -> Instant {
    let mut stream = TcpStream::connect(to).expect("the relay listens");
    post(&mut stream, "all").1
}

/// All hosts, at one port.
struct Receiver {
    port: u16,
    state: Arc<State>,
    /// Closes the connections when it changes.
    generation: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    /// The time of the first request to each host.
    arrived: Mutex<HashMap<IpAddr, Instant>>,
    resumed: AtomicUsize,
    full: AtomicUsize,
    open: AtomicUsize,
}

impl Receiver {
    fn start(runtime: &Runtime, tls: Option<Acceptors>) -> Self {
        let (listener, address) = listen(runtime, Ipv4Addr::UNSPECIFIED);
        let (generation, watched) = watch::channel(());
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let tls = tls.map(Arc::new);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).expect("a socket option");
                let (state, tls) = (Arc::clone(&shared), tls.clone());
                let mut closing = watched.clone();
                closing.mark_unchanged();
                tokio::spawn(async move {
                    let host = stream.local_addr().expect("an address").ip();
                    state.open.fetch_add(1, Ordering::SeqCst);
                    if let Some(tls) = tls {
                        if let Ok(stream) = acceptor(&tls, &stream).accept(stream).await {
                            let kind = stream.get_ref().1.handshake_kind();
                            state.shook_hands(kind);
                            serve(stream, host, &state, closing).await;
                        }
                    } else {
                        serve(stream, host, &state, closing).await;
                    }
                    state.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            port: address.port(),
            state,
            generation,
        }
    }

    /// Seconds until each host has got a request.
    fn seconds_to_all(&self, start: Instant) -> f64 {
        let arrived = || self.state.arrived.lock().expect(NO_PANIC);
        if !wait_until(PATIENCE, || arrived().len() == HOSTS) {
            return PATIENCE.as_secs_f64();
        }
        let last = arrived().values().max().copied().expect("hosts");
        last.saturating_duration_since(start).as_secs_f64()
    }

    /// Closes all connections, as hosts do whose clients were idle for long, and forgets what
    /// arrived.
    fn close_connections(&self) {
        self.state.arrived.lock().expect(NO_PANIC).clear();
        self.generation.send_replace(());
        let is_closed = || self.state.open.load(Ordering::SeqCst) == 0;
        assert!(wait_until(PATIENCE, is_closed), "connections stay open");
        for count in [&self.state.resumed, &self.state.full] {
            count.store(0, Ordering::SeqCst);
        }
    }
}

impl State {
    fn note(&self, host: IpAddr) {
        let now = Instant::now();
        let mut arrived = self.arrived.lock().expect(NO_PANIC);
        arrived.entry(host).or_insert(now);
    }

    fn shook_hands(&self, kind: Option<HandshakeKind>) {
        let count = match kind {
            Some(HandshakeKind::Resumed) => &self.resumed,
            _ => &self.full,
        };
        count.fetch_add(1, Ordering::SeqCst);
    }
}

/// Answers requests until either side closes.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    host: IpAddr,
    state: &State,
    mut closing: watch::Receiver<()>,
) {
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| async move {
        state.note(host);
        let _ = request.into_body().collect().await;
        Ok::<_, Infallible>(hyper::Response::new(Full::<Bytes>::default()))
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = &mut connection => {}
        _ = closing.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

const NO_PANIC: &str = "no code panics while holding this lock";
