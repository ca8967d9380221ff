//! A day told by alerts: a destination breaks and heals, dead letters pile up, the disk fills; and
//! each of it is told once.
//!
//! ```text
//! cargo run --features delivery --example a_day_told_by_alerts
//! ```
//!
//! The clock is moved by hand, so that the day takes half a minute. The disk is filled for a moment
//! with a file of 2 GiB at most, which is removed.

#[path = "support/receiver.rs"]
mod receiver;
#[path = "support/story.rs"]
mod story;

use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use receiver::{Answer, Receiver};
use relay::clock::{Clock as _, FakeClock, Timestamp};
use relay::config::{Alerts, BreakerSettings, Destination, Source};
use relay::{Config, Relay};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use serde_json::Value;
use story::{Story, call, must};

/// The morning of the day: 2026-03-02T08:00:00Z.
const MORNING: i64 = 1_772_438_400_000;
/// The server looks for changes once in so long: a look of its own, by real time.
const LOOK: Duration = Duration::from_millis(2_500);
/// The most room that the story takes on the disk.
const MAX_BALLAST: u64 = 2 << 30;

fn main() -> ExitCode {
    match tell() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn tell() -> Story {
    let mut day = Day::begin()?;
    day.goes_well()?;
    day.breaks()?;
    day.heals()?;
    day.refuses()?;
    day.fills_the_disk()?;
    day.ends()
}

/// A relay, its clock, a destination that answers at will, and the alerts that came.
struct Day {
    relay: Relay,
    clock: Arc<FakeClock>,
    status: Arc<AtomicU16>,
    orders: Receiver,
    ops: Receiver,
    sent: usize,
    told: Vec<(Timestamp, String, String)>,
    /// Space on the disk to be taken, so that little is left.
    ballast: u64,
    directory: tempfile::TempDir,
}

impl Day {
    fn begin() -> Result<Self, Box<dyn Error>> {
        let status = Arc::new(AtomicU16::new(200));
        let answered = Arc::clone(&status);
        let orders = Receiver::start(move |_| Answer::status(answered.load(Ordering::SeqCst)));
        let ops = Receiver::start(|_| Answer::status(200));
        let directory = tempfile::tempdir()?;
        let disk = statvfs(directory.path())?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let ballast = (free / 4).min(MAX_BALLAST);
        let config = configuration(directory.path(), &orders, &ops, free - ballast / 2)?;
        let clock = Arc::new(FakeClock::at(Timestamp::from_millis(MORNING)));
        let relay = Relay::start_with_clock(config, Arc::clone(&clock) as _)?;
        Ok(Self {
            relay,
            clock,
            status,
            orders,
            ops,
            sent: 0,
            told: Vec::new(),
            ballast,
            directory,
        })
    }

    fn goes_well(&mut self) -> Story {
        self.say("All is well: orders takes three events.");
        self.send(3)?;
        self.arrive(3, Duration::ZERO)?;
        self.pass(Duration::from_secs(3600));
        self.expect_quiet("an hour passes, and nothing is told")
    }

    fn breaks(&mut self) -> Story {
        self.say("orders breaks: it answers 503 from now on.");
        self.status.store(503, Ordering::SeqCst);
        self.send(12)?;
        self.arrive(5, Duration::ZERO)?;
        self.expect("destination.failing")?;
        for _ in 0..3 {
            self.pass(Duration::from_secs(3600));
            self.look();
        }
        self.expect_quiet("three hours of failing probes are told no more")
    }

    fn heals(&mut self) -> Story {
        self.say("orders is mended: it answers 200 again.");
        self.status.store(200, Ordering::SeqCst);
        while self.orders.next_within(Duration::ZERO).is_some() {}
        // First comes a probe, then each event at its time.
        self.arrive(12, Duration::from_secs(60))?;
        self.expect("destination.recovered")
    }

    fn refuses(&mut self) -> Story {
        self.say("Thirty events come that orders refuses for good: 400.");
        self.status.store(400, Ordering::SeqCst);
        self.send(30)?;
        self.arrive(30, Duration::ZERO)?;
        // The last of them is settled by then.
        self.expect_quiet("for ten seconds they are collected")?;
        self.expect("delivery.dead_lettered")?;
        let last = self.told.last().map(|(_, _, text)| text.as_str());
        must(
            last.is_some_and(|text| text.contains("30 deliveries were given up")),
            "one digest tells of all thirty",
        )?;
        self.status.store(200, Ordering::SeqCst);
        self.pass(Duration::from_secs(3600));
        self.expect_quiet("an hour later there is nothing new to tell")
    }

    fn fills_the_disk(&mut self) -> Story {
        self.say("Something fills the disk.");
        let path = self.directory.path().join("ballast");
        let file = File::create(&path)?;
        fallocate(&file, FallocateFlags::empty(), 0, self.ballast)?;
        let told = self.expect("disk.low");
        drop(file);
        std::fs::remove_file(path)?;
        told?;
        self.say("The file is removed.");
        self.pass(Duration::from_secs(3600));
        self.expect_quiet("there is room again, and nothing more is told")
    }

    fn ends(self) -> Story {
        println!("\nThe alerts of the day:");
        for (at, kind, summary) in &self.told {
            println!("  {at}  {kind}: {summary}");
        }
        let kinds: Vec<_> = self.told.iter().map(|(_, kind, _)| kind.as_str()).collect();
        must(
            kinds
                == [
                    "destination.failing",
                    "destination.recovered",
                    "delivery.dead_lettered",
                    "disk.low",
                ],
            "four alerts, once each",
        )?;
        self.relay.stop()?;
        println!("\nAll as told.");
        Ok(())
    }

    fn say(&self, text: &str) {
        println!("\n{}: {text}", self.clock.now());
    }

    fn send(&mut self, count: usize) -> Story {
        for _ in 0..count {
            self.sent += 1;
            let key = self.sent.to_string();
            let headers = [("Idempotency-Key", key.as_str())];
            call(
                self.relay.address(),
                "POST",
                "/webhooks/shop",
                &headers,
                "{}",
            )?;
        }
        println!("  {count} events are accepted");
        Ok(())
    }

    /// Waits until orders has got this many requests, for at most half a minute. The clock moves by
    /// `step` while none comes.
    fn arrive(&self, count: usize, step: Duration) -> Story {
        let end = Instant::now() + Duration::from_secs(30);
        let mut seen = 0;
        while seen < count && Instant::now() < end {
            self.clock.advance(step);
            while self.orders.next_within(Duration::from_millis(50)).is_some() {
                seen += 1;
            }
        }
        must(seen >= count, &format!("orders got {count} requests"))
    }

    fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Lets the server look, and takes the alerts that came.
    fn look(&mut self) {
        while let Some(arrival) = self.ops.next_within(LOOK) {
            let alert: Value = serde_json::from_slice(&arrival.body).unwrap_or_default();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (kind, summary) = (text(&alert["type"]), text(&alert["data"]["summary"]));
            println!("  alert: {kind}: {summary}");
            self.told.push((self.clock.now(), kind, summary));
        }
    }

    /// The next alert is of this type, within some minutes of the story.
    fn expect(&mut self, kind: &str) -> Story {
        let known = self.told.len();
        for _ in 0..8 {
            self.pass(Duration::from_secs(60));
            self.look();
            if self.told.len() > known {
                break;
            }
        }
        let new: Vec<_> = self.told[known..].iter().map(|(_, kind, _)| kind).collect();
        must(new == [kind], &format!("{kind} is told"))
    }

    fn expect_quiet(&mut self, what: &str) -> Story {
        let known = self.told.len();
        self.look();
        must(self.told.len() == known, what)
    }
}

/// `low`: little space is free below so many bytes.
fn configuration(
    directory: &Path,
    orders: &Receiver,
    ops: &Receiver,
    low: u64,
) -> Result<Config, Box<dyn Error>> {
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".parse()?;
    config.admin.listen = None;
    config.database.path = directory.join("relay.db");
    // An alert is sent while twice as much is free, so that it can still be stored.
    config.database.min_free_bytes = low / 2;
    let mut to = Destination::new(orders.url("/orders").parse()?);
    to.breaker = BreakerSettings {
        failures: Some(5),
        ..BreakerSettings::default()
    };
    config.destinations.insert("orders".to_owned(), to);
    let to = Destination::new(ops.url("/ops").parse()?);
    config.destinations.insert("ops".to_owned(), to);
    config
        .sources
        .insert("shop".to_owned(), Source::to(["orders"]));
    config.alerts = Some(Alerts {
        destination: Some("ops".to_owned()),
        ..Alerts::default()
    });
    Ok(config)
}
