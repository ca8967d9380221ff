//! Level 1, in every build with an executor.

use std::time::Duration;

use relay::model::Level;
use serde_json::json;

use crate::needs_a_file;
use crate::support::{
    Answer, Receiver, TestRelay, event_with_status, relay_to, relay_with_status, until,
};

fn simulated(url: &str) -> TestRelay {
    TestRelay::start_with(url, |config| config.delivery.level = Some(Level::Simulated))
}

#[test]
fn all_are_delivered_and_no_destination_is_contacted() {
    let receiver = Receiver::start(|_| Answer::status(200));
    let mut relay = simulated(&receiver.url("/"));
    let event = relay.client.hook("1", b"{}").json();
    let created = relay
        .client
        .create(&[], &relay_to(&receiver.url("/"), "{}"))
        .json();
    let event = event_with_status(
        &relay.client,
        event["event_id"].as_str().expect("an id"),
        "delivered",
    );
    assert_eq!(
        (&event["attempts"], &event["max_attempts"]),
        (&json!(1), &json!(1))
    );
    relay_with_status(
        &relay.client,
        created["id"].as_str().expect("an id"),
        "delivered",
    );
    relay.stop();
    assert!(receiver.next_within(Duration::ZERO).is_none());
}

#[test]
fn payloads_choose_the_outcome() {
    let relay = simulated("http://orders.example/");
    let after = |key: &str, body: &str, status: &str| {
        let event = relay.client.hook(key, body.as_bytes()).json();
        event_with_status(
            &relay.client,
            event["event_id"].as_str().expect("an id"),
            status,
        )
    };
    let failed = after("1", r#"{"simulate_failure":true}"#, "dead_lettered");
    assert_eq!(
        failed["deliveries"][0]["history"][0]["outcome"],
        "permanent"
    );
    let transient = after("2", r#"{"simulate_transient":true}"#, "dead_lettered");
    assert_eq!(
        transient["deliveries"][0]["history"][0]["outcome"],
        "transient"
    );
    let slow = after("3", r#"{"simulate_delay_ms":40}"#, "delivered");
    let took = slow["deliveries"][0]["history"][0]["duration_ms"]
        .as_u64()
        .expect("a number");
    assert!(took >= 40, "{took}");
}

#[test]
fn a_simulated_attempt_times_out_like_a_real_one() {
    let relay = TestRelay::start_with("http://orders.example/", |config| {
        config.delivery.level = Some(Level::Simulated);
        config.delivery.timeout = Duration::from_millis(20);
        config.delivery.connect_timeout = Some(Duration::from_millis(20));
    });
    let body = format!("{{\"simulate_delay_ms\":{}}}", u64::MAX);
    let event = relay.client.hook("1", body.as_bytes()).json();
    let id = event["event_id"].as_str().expect("an id");
    let event = event_with_status(&relay.client, id, "dead_lettered");
    assert_eq!(event["last_error"], "simulated: timed out");
}

#[test]
fn more_destinations_than_are_kept_in_memory_are_all_served() {
    needs_a_file!("rows are written by SQL");
    let mut relay = TestRelay::start();
    relay.stop();
    let path = relay.directory.path().join("relay.db");
    let sqlite = rusqlite::Connection::open(&path).expect("a database");
    sqlite
        .execute_batch(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
             INSERT INTO destinations (id, name) SELECT i, 'http://host-' || i FROM n;
             INSERT INTO intents (id, random, surface, created_at, label, url, headers, body)
             SELECT id, 1, 0, 0, 'a', name, x'', CAST('{}' AS BLOB) FROM destinations;
             INSERT INTO deliveries (intent_id, destination_id, state, next_attempt_at, updated_at)
             SELECT id, id, 0, 0, 0 FROM destinations;",
        )
        .expect("rows");
    drop(sqlite);
    let mut config = crate::support::config(relay.directory.path(), "http://orders.example/");
    config.delivery.level = Some(Level::Simulated);
    config.delivery.workers = 64;
    let relay = TestRelay::start_in(std::sync::Arc::clone(&relay.directory), config, None);
    until("all are delivered", || {
        let left: i64 = relay.peek("SELECT count(*) FROM deliveries WHERE state <> 3");
        (left == 0).then_some(())
    });
}
