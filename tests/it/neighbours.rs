//! Fairness between the ad hoc origins of an API key, those of another key, and named destinations.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use relay::config::{Destination, RetrySettings, Source};
use relay::model::Level;

use crate::support::{
    Answer, Arrival, Receiver, TestRelay, config, event_id, event_with_status, relay_id, relay_to,
    relay_with_status, until,
};

/// Hanging origins. If each were a peer of the named destination, it would wait ten minutes: of
/// eight workers three serve such origins at a time, for 15 s an attempt.
const HANGING: usize = 150;

/// Listens on all of 127.0.0.0/8 and never accepts, so that requests hang.
fn tarpit() -> (TcpListener, u16) {
    let listener = TcpListener::bind("0.0.0.0:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

#[test]
fn hanging_origins_delay_no_named_destination_before_or_after_a_restart() {
    let (_tarpit, port) = tarpit();
    let receiver = Receiver::start(|_| Answer::status(200));
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let start = || {
        let mut config = config(directory.path(), &receiver.url("/"));
        config.server.shutdown_grace = Duration::from_millis(100);
        TestRelay::start_in(Arc::clone(&directory), config, None)
    };
    let mut relay = start();
    for n in 0..HANGING {
        let origin = format!("http://127.1.{}.{}:{port}/", n / 250, n % 250 + 1);
        let reply = relay.client.create(&[], &relay_to(&origin, "{}"));
        relay_id(&reply);
    }
    let id = event_id(&relay.client.hook("before", b"{}"));
    event_with_status(&relay.client, &id, "delivered");
    relay.stop();
    // After the restart relay knows of destinations only from the database.
    let mut relay = start();
    let id = event_id(&relay.client.hook("after", b"{}"));
    event_with_status(&relay.client, &id, "delivered");
    relay.stop();
}

#[test]
fn hanging_origins_delay_no_origin_that_answered_before_the_restart() {
    let (_tarpit, port) = tarpit();
    let receiver = Receiver::start(|_| Answer::status(200));
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let start = || {
        let mut config = config(directory.path(), "http://127.0.0.1:9/");
        config.server.shutdown_grace = Duration::from_millis(100);
        TestRelay::start_in(Arc::clone(&directory), config, None)
    };
    let well = relay_to(&receiver.url("/"), "{}");
    let mut relay = start();
    let id = relay_id(&relay.client.create(&[], &well));
    relay_with_status(&relay.client, &id, "delivered");
    for n in 0..HANGING {
        let origin = format!("http://127.1.{}.{}:{port}/", n / 250, n % 250 + 1);
        relay_id(&relay.client.create(&[], &relay_to(&origin, "{}")));
    }
    relay.stop();
    let mut relay = start();
    let id = relay_id(&relay.client.create(&[], &well));
    relay_with_status(&relay.client, &id, "delivered");
    relay.stop();
}

#[test]
fn the_state_metric_follows_a_recovery_when_no_delivery_waits() {
    let is_well = Arc::new(AtomicBool::new(false));
    let receiver = {
        let is_well = Arc::clone(&is_well);
        Receiver::start(move |_| {
            Answer::status(if is_well.load(Ordering::SeqCst) {
                200
            } else {
                500
            })
        })
    };
    let mut relay = TestRelay::start_with(&receiver.url("/"), |config| {
        let orders = config
            .destinations
            .get_mut("orders")
            .expect("a destination");
        orders.retry = RetrySettings {
            schedule: Some(vec![Duration::from_millis(20); 50]),
            jitter: Some(0.0),
            ..RetrySettings::default()
        };
        orders.breaker.failures = Some(1);
        orders.breaker.probe_after = Some(Duration::from_millis(20));
        orders.breaker.probe_cap = Some(Duration::from_millis(20));
    });
    let admin = relay.admin();
    let shows = |state: &str, value: u8| {
        let line =
            format!(r#"relay_destination_state{{destination="orders",state="{state}"}} {value}"#);
        until(&line, || {
            admin.get("/metrics").text().contains(&line).then_some(())
        });
    };
    shows("active", 1);
    let id = event_id(&relay.client.hook("1", b"{}"));
    shows("open", 1);
    shows("active", 0);
    is_well.store(true, Ordering::SeqCst);
    event_with_status(&relay.client, &id, "delivered");
    shows("open", 0);
    shows("active", 1);
    relay.stop();
}

#[test]
fn origins_of_one_key_are_served_beside_many_origins_of_another() {
    let (_tarpit, port) = tarpit();
    let receiver = Receiver::start(|_| Answer::status(200));
    let mut relay = TestRelay::start_with("http://127.0.0.1:9/", |config| {
        config.server.shutdown_grace = Duration::from_millis(100);
        config.delivery.timeout = Duration::from_secs(2);
        config.delivery.connect_timeout = Some(Duration::from_secs(1));
        config.api.keys.push(relay::config::Secret::new("second"));
    });
    for n in 0..HANGING {
        let origin = format!("http://127.1.{}.{}:{port}/", n / 250, n % 250 + 1);
        relay_id(&relay.client.create(&[], &relay_to(&origin, "{}")));
    }
    let body = relay_to(&receiver.url("/"), "{}");
    let reply = relay.client.send(
        "POST",
        "/v1/relays",
        &[
            ("X-API-Key", "second"),
            ("Content-Type", "application/json"),
        ],
        body.as_bytes(),
    );
    // Its key is served second, not after the other key's 150 origins.
    receiver
        .next_within(Duration::from_secs(30))
        .expect("it arrives");
    relay_id(&reply);
    relay.stop();
}

#[test]
fn two_named_destinations_and_a_key_with_many_origins_get_equal_turns() {
    const ORIGINS: usize = 400;
    const EVENTS: usize = 100;
    let receiver = Receiver::start_at("0.0.0.0:0".parse().expect("an address"), |_: &Arrival| {
        Answer::status(200)
    })
    .expect("a free port");
    let port = receiver.address().port();
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let config = |level| {
        let url = |path: &str| format!("http://127.0.0.1:{port}/{path}");
        let mut config = config(directory.path(), &url("orders"));
        let billing = Destination::new(url("billing").parse().expect("a URL"));
        config.destinations.insert("billing".to_owned(), billing);
        let source = Source::to(["orders", "billing"]);
        config.sources.insert("github".to_owned(), source);
        // One attempt at a time, so that arrivals are in the order of the turns.
        config.delivery.workers = 1;
        config.delivery.level = Some(level);
        config
    };
    let mut relay = TestRelay::start_in(Arc::clone(&directory), config(Level::Off), None);
    for n in 0..ORIGINS {
        let origin = format!("http://127.1.{}.{}:{port}/adhoc", n / 250, n % 250 + 1);
        relay_id(&relay.client.create(&[], &relay_to(&origin, "{}")));
    }
    for n in 0..EVENTS {
        event_id(&relay.client.hook(&n.to_string(), b"{}"));
    }
    relay.stop();
    let mut relay = TestRelay::start_in(Arc::clone(&directory), config(Level::Durable), None);
    let lanes = ["/orders", "/billing", "/adhoc"];
    let mut turns = [0_usize; 3];
    for _ in 0..turns.len() * (EVENTS - 10) {
        let path = receiver.next().path;
        let lane = lanes.iter().position(|lane| *lane == path);
        turns[lane.expect("a known path")] += 1;
        let most = turns.iter().max().expect("three lanes");
        let least = turns.iter().min().expect("three lanes");
        // The first scan finds destinations in the order of their rows.
        assert!(most - least <= 3, "turns of {lanes:?}: {turns:?}");
    }
    relay.stop();
}

#[test]
fn a_removed_destination_is_shown_as_unknown_before_a_delivery_is_due() {
    let receiver = Receiver::start(|_| Answer::status(500));
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let mut config = config(directory.path(), &receiver.url("/"));
    let orders = config.destinations.get_mut("orders").expect("it is there");
    orders.retry.schedule = Some(vec![Duration::from_secs(3600)]);
    let mut relay = TestRelay::start_in(Arc::clone(&directory), config.clone(), None);
    let id = event_id(&relay.client.hook("1", b"{}"));
    event_with_status(&relay.client, &id, "retrying");
    relay.stop();
    config.destinations.clear();
    config.sources.clear();
    let mut relay = TestRelay::start_in(directory, config, None);
    let admin = relay.admin();
    let line = r#"relay_destination_state{destination="orders",state="unknown"} 1"#;
    until(line, || {
        admin.get("/metrics").text().contains(line).then_some(())
    });
    relay.stop();
}
