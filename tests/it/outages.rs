//! The log about a destination that fails occasionally, goes down, and recovers.
//!
//! ```text
//! cargo test --features delivery --test it outages -- --nocapture
//! ```

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use log::kv::{Error, Key, Value, VisitSource};
use relay::clock::{Clock as _, FakeClock, Timestamp};
use relay::config::{Destination, Source};

use crate::support::{Answer, Receiver, TestRelay, config, event_id, until};

const SECOND: Duration = Duration::from_secs(1);
/// Events a second.
const RATE: usize = 4;
/// The destination. Other tests log in the same process, about other destinations.
const NAME: &str = "the-shop";

/// Collects the log lines about [`NAME`], with the fake clock's time.
struct DayLog {
    clock: Arc<FakeClock>,
    lines: Mutex<Vec<String>>,
}

static LOG: OnceLock<DayLog> = OnceLock::new();

struct Fields(String);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let value = value.to_string();
        if value.contains(' ') {
            write!(self.0, " {key}={value:?}")?;
        } else if value != "None" {
            write!(self.0, " {key}={value}")?;
        }
        Ok(())
    }
}

impl DayLog {
    fn has(&self, message: &str) -> bool {
        let lines = self.lines.lock().expect("no panic");
        lines.iter().any(|line| line.contains(message))
    }
}

impl log::Log for DayLog {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Info
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut fields = Fields(String::new());
        record
            .key_values()
            .visit(&mut fields)
            .expect("a String takes all");
        if fields.0.contains(&format!("destination={NAME}")) {
            let (now, level, message) = (self.clock.now(), record.level(), record.args());
            let line = format!("{now} {level:5} {message}{}", fields.0);
            self.lines.lock().expect("no panic").push(line);
        }
    }

    fn flush(&self) {}
}

/// The receiver's behaviour.
#[derive(Clone, Copy)]
enum Weather {
    /// One request in twenty fails.
    Showers,
    Down,
    Fine,
}

struct Day {
    relay: TestRelay,
    clock: Arc<FakeClock>,
    weather: Arc<Mutex<Weather>>,
    sent: usize,
}

impl Day {
    fn pending(&self) -> i64 {
        let now = self.clock.now().as_millis();
        let due =
            format!("SELECT count(*) FROM deliveries WHERE state < 3 AND next_attempt_at <= {now}");
        self.relay.peek(&due)
    }

    fn post(&mut self, body: &[u8]) {
        self.sent += 1;
        let key = self.sent.to_string();
        let reply = self.relay.client.send(
            "POST",
            "/webhooks/shop",
            &[("Idempotency-Key", key.as_str())],
            body,
        );
        event_id(&reply);
    }

    /// Advances the clock by `seconds`, with [`RATE`] events in each. With `drains` it waits in
    /// each second until no due delivery is left.
    fn pass(&mut self, weather: Weather, seconds: usize, drains: bool) {
        *self.weather.lock().expect("no panic") = weather;
        for _ in 0..seconds {
            (0..RATE).for_each(|_| self.post(b"{}"));
            if drains {
                until("all is out", || (self.pending() == 0).then_some(()));
            }
            self.clock.advance(SECOND);
        }
    }
}

#[test]
fn an_outage_and_its_recovery_are_logged_in_five_lines() {
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(1_767_225_600_000)));
    let log = LOG.get_or_init(|| DayLog {
        clock: Arc::clone(&clock),
        lines: Mutex::default(),
    });
    log::set_logger(log).expect("no other test has a logger");
    log::set_max_level(log::LevelFilter::Info);
    let weather = Arc::new(Mutex::new(Weather::Showers));
    let receiver = {
        let (weather, requests) = (Arc::clone(&weather), AtomicUsize::new(0));
        Receiver::start(move |arrival| {
            let n = requests.fetch_add(1, Ordering::SeqCst);
            if arrival.body.starts_with(b"\"refused\"") {
                return Answer::status(422);
            }
            Answer::status(match *weather.lock().expect("no panic") {
                Weather::Showers if n % 20 == 7 => 500,
                Weather::Down => 503,
                Weather::Showers | Weather::Fine => 200,
            })
        })
    };
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let mut config = config(directory.path(), &receiver.url("/"));
    let destination = Destination::new(receiver.url("/").parse().expect("a URL"));
    config.destinations.insert(NAME.to_owned(), destination);
    config.sources.insert("shop".to_owned(), Source::to([NAME]));
    let mut day = Day {
        relay: TestRelay::start_in(directory, config, Some(Arc::clone(&clock))),
        clock: Arc::clone(&clock),
        weather,
        sent: 0,
    };
    day.pass(Weather::Fine, 5, true);
    day.post(b"\"refused\"");
    day.pass(Weather::Showers, 60, true);
    day.pass(Weather::Down, 120, false);
    // Probes are made 30, 90 and 210 s after the breaker opened: the third succeeds.
    day.pass(Weather::Fine, 110, false);
    until("all is out", || (day.pending() == 0).then_some(()));
    // Nothing more is sent, and the digest of the last failures is still logged.
    until("a digest is said", || {
        day.clock.advance(SECOND);
        log.has("attempts failed").then_some(())
    });
    day.relay.stop();
    let lines = log.lines.lock().expect("no panic").clone();
    println!("{}", lines.join("\n"));
    let told = [
        "WARN  delivery dead-lettered destination=the-shop event_id=evt_",
        "INFO  attempt failed destination=the-shop event_id=evt_",
        "WARN  destination failing destination=the-shop failures=10 last_error=\"answered 503",
        "INFO  destination recovered destination=the-shop seconds=2",
        "INFO  attempts failed destination=the-shop failures=",
    ];
    assert_eq!(lines.len(), told.len());
    for (line, told) in lines.iter().zip(told) {
        let (_, line) = line.split_once(' ').expect("a time");
        assert!(line.starts_with(told), "{line}");
    }
    assert!(lines[4].ends_with("last_error=\"answered 500 Internal Server Error\""));
}
