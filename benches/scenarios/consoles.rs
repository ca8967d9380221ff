//! `POST`s beside open consoles.

use std::net::SocketAddr;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use super::beside::Beside;
use super::load::steady_for;
use super::support::{self, median, runtime, sample};
use super::{Outcome, reads, rounds};

/// The time after which a console reads its page anew, as its script does.
const REFRESH: Duration = Duration::from_secs(5);
/// The highest allowed ratio of the 99th percentile to the calm one.
const GOAL: f64 = 1.05;
/// Deliveries that are stored.
const STORED: i64 = 100_000;

/// The pages that are open, one a console; `ID` stands for the newest event's.
const OPEN: [&str; 10] = [
    "/",
    "/deliveries",
    "/deliveries?status=dead_lettered",
    "/events/ID",
    "/destinations",
    "/destinations/to5",
    "/operations",
    "/",
    "/deliveries?status=retrying",
    "/destinations/to7",
];

/// Ten open consoles.
pub fn run() -> Outcome {
    let client = runtime(1);
    let (relay, _directory) = reads::start(support::rows(STORED));
    let address = relay.address();
    let admin = relay.admin_address().expect("it is configured");
    let newest = reads::newest(admin);
    // Each console reads its page several times.
    let time = sample() * 8;
    steady_for(&client, address, sample() / 4);
    let mut beside = Beside::default();
    let mut took = Vec::new();
    for _ in 0..rounds() {
        beside.calm.push(steady_for(&client, address, time));
        let consoles: Vec<_> = (0..)
            .zip(OPEN)
            .map(|(at, page)| {
                // They were opened one after the other.
                let first = REFRESH * at / 10;
                Console::open(admin, page.replace("ID", &newest), first)
            })
            .collect();
        beside.busy.push(steady_for(&client, address, time));
        for console in consoles {
            took.extend(console.close());
        }
    }
    relay.stop().expect("the relay stops");
    let (least, most) = support::spread(&took);
    println!(
        "{} open consoles, each reading its page every {REFRESH:?}; {} reads of {:.1} ms ({least:.1}–{most:.1})",
        OPEN.len(),
        took.len(),
        median(took.clone())
    );
    let details =
        json!({ "reads": took.len(), "read_ms": { "median": median(took), "most": most } });
    beside.outcome_within(GOAL, &format!("{} open consoles", OPEN.len()), details)
}

/// A console that somebody looks at, on a thread of its own.
struct Console {
    stop: Sender<()>,
    thread: JoinHandle<Vec<f64>>,
}

impl Console {
    fn open(admin: SocketAddr, path: String, first: Duration) -> Self {
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::spawn(move || {
            let mut took = Vec::new();
            let mut rest = first;
            while stopped.recv_timeout(rest) == Err(RecvTimeoutError::Timeout) {
                let start = Instant::now();
                let answer = support::get(admin, &path);
                took.push(start.elapsed().as_secs_f64() * 1e3);
                assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
                rest = REFRESH;
            }
            took
        });
        Self { stop, thread }
    }

    /// The duration of each read in milliseconds.
    fn close(self) -> Vec<f64> {
        // The thread ends only on request.
        self.stop.send(()).expect("the thread waits for it");
        self.thread.join().expect("a read doesn't panic")
    }
}
