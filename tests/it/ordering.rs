//! Ordering keys: deliveries of one key of one destination are made one after the other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use relay::Config;
use relay::config::{Destination, Ordering as Order};
use relay::model::OnDead;
use serde_json::Value;

use crate::support::{
    Answer, Arrival, Process, Receiver, TestRelay, event_id, event_with_status, every, orders,
    until,
};

/// Posts events `{"id":…,"n":…}` of these ordering keys, numbered from 0.
fn post(relay: &TestRelay, keys: &[&str]) -> Vec<String> {
    let posted = keys.iter().enumerate().map(|(n, key)| {
        let body = format!("{{\"id\":{key},\"n\":{n}}}");
        event_id(&relay.client.hook(&n.to_string(), body.as_bytes()))
    });
    posted.collect()
}

fn number(arrival: &Arrival) -> u64 {
    let body: Value = serde_json::from_slice(&arrival.body).expect("JSON");
    body["n"].as_u64().expect("a number")
}

/// The event as a holder of an API key sees it.
fn shown(relay: &TestRelay, id: &str) -> Value {
    relay.client.get(&format!("/events/{id}")).json()
}

fn description(event: &Value) -> &str {
    event["status_description"].as_str().expect("text")
}

/// The destination `orders`, ordered by `/id`, with quick retries.
fn ordered(config: &mut Config, on_dead: OnDead) {
    let to = orders(config);
    to.ordering = Some(Order {
        on_dead,
        ..Order::by("/id")
    });
    to.retry = every(Duration::from_millis(100), 100);
    to.breaker.enabled = Some(false);
}

fn blocked(relay: &TestRelay) -> Option<u64> {
    let metrics = relay.admin().get("/metrics").text();
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("relay_ordering_blocked{destination=\"orders\"} "));
    line.map(|value| value.parse().expect("a whole number"))
}

#[test]
fn events_of_one_key_arrive_in_order_through_an_outage_and_a_restart() {
    let is_down = Arc::new(AtomicBool::new(true));
    let receiver = {
        let is_down = Arc::clone(&is_down);
        Receiver::start(move |_| {
            Answer::status(if is_down.load(Ordering::SeqCst) {
                503
            } else {
                200
            })
        })
    };
    let mut relay = TestRelay::start_with(&receiver.url("/"), |config| {
        ordered(config, OnDead::Skip);
    });
    let keys: Vec<_> = (0..30).map(|n| ["1", "\"1\"", "2"][n % 3]).collect();
    let ids = post(&relay, &keys);
    // During the outage only the first event of each key is attempted, again and again.
    for _ in 0..20 {
        assert!(number(&receiver.next()) < 3);
    }
    let event = shown(&relay, &ids[3]);
    assert_eq!(
        (&event["status"], &event["next_retry_at"]),
        (&"queued".into(), &Value::Null)
    );
    let waits = format!("waits behind {} in its order", ids[0]);
    assert!(description(&event).contains(&waits), "{event}");
    // Without a key of the API nobody learns the id of another event.
    let event = relay
        .client
        .send("GET", &format!("/events/{}", ids[3]), &[], b"")
        .json();
    assert!(
        description(&event).contains("waits behind an earlier one"),
        "{event}"
    );
    let mut config = crate::support::config(relay.directory.path(), &receiver.url("/"));
    ordered(&mut config, OnDead::Skip);
    relay.stop();
    let relay = TestRelay::start_in(Arc::clone(&relay.directory), config, None);
    is_down.store(false, Ordering::SeqCst);
    for id in &ids {
        event_with_status(&relay.client, id, "delivered");
    }
    let mut first_arrivals = Vec::new();
    while let Some(arrival) = receiver.next_within(Duration::from_millis(50)) {
        let n = number(&arrival);
        if !first_arrivals.contains(&n) {
            first_arrivals.push(n);
        }
    }
    for key in 0..3 {
        // The first of each key arrived during the outage.
        let of_key: Vec<_> = first_arrivals
            .iter()
            .copied()
            .filter(|n| n % 3 == key && *n > 2)
            .collect();
        let expected: Vec<_> = (3..30).filter(|n| n % 3 == key).collect();
        assert_eq!(of_key, expected, "of key {key}");
    }
    assert_eq!(blocked(&relay), Some(0));
}

/// A receiver that refuses the events with this number for good, until it is told otherwise.
fn refusing(number_refused: u64) -> (Receiver, Arc<AtomicBool>) {
    let refuses = Arc::new(AtomicBool::new(true));
    let receiver = {
        let refuses = Arc::clone(&refuses);
        Receiver::start(move |arrival| {
            let is_refused = number(arrival) == number_refused && refuses.load(Ordering::SeqCst);
            Answer::status(if is_refused { 400 } else { 200 })
        })
    };
    (receiver, refuses)
}

#[test]
fn a_dead_letter_is_skipped_unless_it_is_to_block() {
    let (receiver, _) = refusing(0);
    let relay = TestRelay::start_with(&receiver.url("/"), |config| ordered(config, OnDead::Skip));
    let ids = post(&relay, &["1", "1"]);
    event_with_status(&relay.client, &ids[0], "dead_lettered");
    event_with_status(&relay.client, &ids[1], "delivered");

    let (receiver, refuses) = refusing(0);
    let mut relay = TestRelay::start_with(&receiver.url("/"), |config| {
        ordered(config, OnDead::Block);
    });
    let ids = post(&relay, &["1", "1", "2", "1"]);
    event_with_status(&relay.client, &ids[0], "dead_lettered");
    event_with_status(&relay.client, &ids[2], "delivered");
    let dead = shown(&relay, &ids[0]);
    assert!(
        description(&dead).contains("Later ones of its order wait"),
        "{dead}"
    );
    until("the gauge shows it", || {
        (blocked(&relay) == Some(1)).then_some(())
    });
    // A restart releases nothing.
    let mut config = crate::support::config(relay.directory.path(), &receiver.url("/"));
    ordered(&mut config, OnDead::Block);
    relay.stop();
    let directory = Arc::clone(&relay.directory);
    let relay = TestRelay::start_in(directory, config, None);
    until("the gauge shows it", || {
        (blocked(&relay) == Some(1)).then_some(())
    });
    let waits = format!("waits behind {} in its order", ids[0]);
    assert!(description(&shown(&relay, &ids[3])).contains(&waits));
    while receiver.next_within(Duration::from_millis(50)).is_some() {}
    // A replay of the dead letter that blocks goes first.
    refuses.store(false, Ordering::SeqCst);
    let directory = relay.directory.path();
    let toml = "database.path = 'relay.db'\ndestinations.orders.url = 'http://127.0.0.1:9/'";
    std::fs::write(directory.join("relay.toml"), toml).expect("relay.toml");
    let command = |args: &[&str]| {
        let output = Process::command(directory).args(args).output();
        let output = output.expect("the binary starts");
        assert!(output.status.success(), "{args:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let blocked_ones = command(&["list", "--status", "blocked", "--json"]);
    assert_eq!(blocked_ones.lines().count(), 2, "{blocked_ones}");
    assert!(command(&["show", &ids[3]]).contains(&waits));
    command(&["replay", &ids[0]]);
    for id in &ids {
        event_with_status(&relay.client, id, "delivered");
    }
    let arrived: Vec<_> = (0..3).map(|_| number(&receiver.next())).collect();
    assert_eq!(arrived, [0, 1, 3]);
    assert_eq!(blocked(&relay), Some(0));
}

#[test]
fn a_start_with_skip_lets_go_what_a_dead_letter_has_blocked() {
    let (receiver, _) = refusing(0);
    let mut relay = TestRelay::start_with(&receiver.url("/"), |config| {
        ordered(config, OnDead::Block);
    });
    let ids = post(&relay, &["1", "1"]);
    event_with_status(&relay.client, &ids[0], "dead_lettered");
    event_with_status(&relay.client, &ids[1], "queued");
    let mut config = crate::support::config(relay.directory.path(), &receiver.url("/"));
    ordered(&mut config, OnDead::Skip);
    relay.stop();
    let relay = TestRelay::start_in(Arc::clone(&relay.directory), config, None);
    event_with_status(&relay.client, &ids[1], "delivered");
    event_with_status(&relay.client, &ids[0], "dead_lettered");
}

/// How long an attempt takes.
const SLOW: Duration = Duration::from_millis(60);

/// The most attempts that are made at once, of an event with each of these lists of headers.
fn at_once(change: impl Fn(&mut Destination), headers: &[&[(&str, &str)]]) -> usize {
    let arrivals = Arc::new(Mutex::new(Vec::new()));
    let receiver = {
        let arrivals = Arc::clone(&arrivals);
        Receiver::start(move |_| {
            arrivals.lock().expect("no panic").push(Instant::now());
            Answer::status(200).after(SLOW)
        })
    };
    let relay = TestRelay::start_with(&receiver.url("/"), |config| change(orders(config)));
    let mut ids = Vec::new();
    for (n, headers) in headers.iter().enumerate() {
        let key = n.to_string();
        let mut all = vec![("Idempotency-Key", key.as_str())];
        all.extend_from_slice(headers);
        let reply = relay.client.send("POST", "/webhooks/github", &all, b"{}");
        ids.push(event_id(&reply));
    }
    for id in &ids {
        event_with_status(&relay.client, id, "delivered");
    }
    let arrivals = arrivals.lock().expect("no panic");
    let during = |from: &Instant| {
        let others = arrivals
            .iter()
            .filter(|at| **at >= *from && **at < *from + SLOW);
        others.count()
    };
    arrivals.iter().map(during).max().expect("there are some")
}

#[test]
fn deliveries_are_ordered_by_a_header_a_source_or_all_together() {
    let acme: &[(&str, &str)] = &[("X-Account", "acme")];
    let other: &[(&str, &str)] = &[("X-Account", "other")];
    let by_header = |to: &mut Destination| {
        to.ordering = Some(Order {
            header: Some("X-Account".to_owned()),
            ..Order::default()
        });
    };
    assert_eq!(at_once(by_header, &[acme; 6]), 1);
    let two = at_once(by_header, &[acme, other, acme, other, acme, other]);
    assert!(two <= 2, "{two}");
    let none: &[(&str, &str)] = &[];
    for by in ["source", "all"] {
        let change = |to: &mut Destination| to.ordering = Some(Order::by(by));
        assert_eq!(at_once(change, &[none; 6]), 1, "{by}");
    }
}
