//! The backlog in `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use relay::clock::{Clock as _, FakeClock, SystemClock};
use relay::model::Level;

use crate::needs_a_file;
use crate::support::{TestRelay, until};

/// A relay that contacts no destination, after `orders` was changed by an SQL statement.
fn start(level: Level, orders: &str) -> (TestRelay, Arc<FakeClock>) {
    let clock = Arc::new(FakeClock::at(SystemClock::new().wall()));
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let config = || {
        let mut config = crate::support::config(directory.path(), "http://127.0.0.1:9/");
        config.delivery.level = Some(Level::Off);
        config
    };
    let clock_of = || Some(Arc::clone(&clock));
    TestRelay::start_in(Arc::clone(&directory), config(), clock_of()).stop();
    rusqlite::Connection::open(directory.path().join("relay.db"))
        .expect("the database")
        .execute_batch(orders)
        .expect("a destination");
    let mut config = config();
    config.delivery.level = Some(level);
    let relay = TestRelay::start_in(Arc::clone(&directory), config, clock_of());
    (relay, clock)
}

/// A gauge's value, once the stored deliveries have been counted.
fn gauge(relay: &TestRelay, name: &str) -> f64 {
    until(&format!("{name} is there"), || {
        let text = relay.admin().send("GET", "/metrics", &[], b"").text();
        let prefix = format!("{name} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&prefix))?;
        text.contains("\nrelay_deliveries{")
            .then(|| value.parse().expect("a number"))
    })
}

#[cfg(feature = "delivery-simulated")]
#[test]
fn a_paused_destination_counts_as_kept_and_not_as_oldest_due() {
    needs_a_file!("rows are written by SQL");
    let (relay, clock) = start(
        Level::Simulated,
        "INSERT INTO destinations (name, paused_at, pause_reason) VALUES ('orders', 1, 'a test')",
    );
    for key in ["1", "2"] {
        assert_eq!(relay.client.hook(key, b"{}").status, 202);
    }
    clock.advance(Duration::from_secs(60));
    assert!(gauge(&relay, "relay_oldest_due_seconds").abs() < f64::EPSILON);
    let kept = |reason: &str| {
        let name = format!("relay_deliveries_kept{{reason=\"{reason}\"}}");
        gauge(&relay, &name)
    };
    assert!((kept("paused") - 2.0).abs() < f64::EPSILON);
    for reason in ["held", "breaker_open", "unknown_destination"] {
        assert!(kept(reason).abs() < f64::EPSILON, "{reason}");
    }
}

#[cfg(feature = "delivery-simulated")]
#[test]
fn a_due_delivery_without_a_worker_is_the_oldest_due() {
    let clock = Arc::new(FakeClock::at(SystemClock::new().wall()));
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let mut config = crate::support::config(directory.path(), "http://127.0.0.1:9/");
    config.delivery.level = Some(Level::Simulated);
    // The first attempt takes the only worker until the stop.
    let hour = Duration::from_secs(3600);
    config.delivery.workers = 1;
    (config.delivery.timeout, config.delivery.simulated.latency) = (hour, hour);
    config.server.shutdown_grace = Duration::from_millis(1);
    let relay = TestRelay::start_in(directory, config, Some(Arc::clone(&clock)));
    for key in ["1", "2"] {
        assert_eq!(relay.client.hook(key, b"{}").status, 202);
    }
    until("the first attempt is under way", || {
        let processing = gauge(&relay, "relay_deliveries{state=\"processing\"}");
        (processing > 0.5).then_some(())
    });
    clock.advance(Duration::from_secs(60));
    let oldest = gauge(&relay, "relay_oldest_due_seconds");
    assert!((60.0..61.0).contains(&oldest), "{oldest}");
}

#[test]
fn with_delivery_off_nothing_is_late_and_all_deliveries_are_counted() {
    needs_a_file!("rows are written by SQL");
    let (relay, clock) = start(Level::Off, "");
    assert_eq!(relay.client.hook("1", b"{}").status, 202);
    clock.advance(Duration::from_secs(60));
    assert!(gauge(&relay, "relay_oldest_due_seconds").abs() < f64::EPSILON);
    let queued = gauge(&relay, "relay_deliveries{state=\"queued\"}");
    assert!((queued - 1.0).abs() < f64::EPSILON);
}
