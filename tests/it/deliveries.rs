//! Requests as destinations receive them, and the consequences of their answers.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use relay::config::Destination;
use serde_json::json;

use crate::support::{
    Answer, Columns, Receiver, TestRelay, event_id, event_with_status, outcomes, relay_id,
    relay_to, relay_with_status, until,
};

#[test]
fn an_event_arrives_byte_for_byte_with_its_providers_headers() {
    let receiver = Receiver::start(|_| Answer::status(204));
    let relay = TestRelay::start_with(&receiver.url("/hook?a=b"), |config| {
        let orders = config
            .destinations
            .get_mut("orders")
            .expect("a destination");
        orders
            .headers
            .insert("X-Tenant".to_owned(), relay::config::Secret::new("acme"));
    });
    let push = include_bytes!("../fixtures/push.json");
    let reply = relay.client.send(
        "POST",
        "/webhooks/github",
        &[
            ("Idempotency-Key", "1"),
            ("Content-Type", "application/json; charset=utf-8"),
            ("User-Agent", "GitHub-Hookshot/044aadd"),
            ("X-GitHub-Event", "push"),
            ("X-Hub-Signature-256", "sha256=abc"),
            ("Authorization", "Bearer secret"),
            ("Cookie", "a=b"),
            ("X-API-Key", "secret"),
        ],
        push,
    );
    let id = event_id(&reply);
    let arrival = receiver.next();
    assert_eq!(arrival.path, "/hook?a=b");
    assert_eq!(&arrival.body[..], push);
    for (name, value) in [
        ("content-type", "application/json; charset=utf-8"),
        ("user-agent", concat!("relay/", env!("CARGO_PKG_VERSION"))),
        ("x-github-event", "push"),
        ("x-hub-signature-256", "sha256=abc"),
        ("idempotency-key", "1"),
        ("webhook-id", &id),
        ("relay-attempt", "1"),
        ("x-tenant", "acme"),
        ("content-length", &push.len().to_string()),
        ("authorization", ""),
        ("cookie", ""),
        ("x-api-key", ""),
        ("relay-event-type", ""),
        ("webhook-signature", ""),
        ("accept-encoding", ""),
    ] {
        assert_eq!(arrival.header(name), value, "{name}");
    }
    assert_eq!(arrival.header("host"), receiver.address().to_string());
    let seconds: i64 = arrival
        .header("webhook-timestamp")
        .parse()
        .expect("Unix seconds");
    assert!(seconds > 1_700_000_000);

    let event = event_with_status(&relay.client, &id, "delivered");
    let delivery = &event["deliveries"][0];
    assert_eq!(
        (&event["attempts"], &event["last_error"]),
        (&json!(1), &json!(null))
    );
    assert!(delivery["delivered_at"].is_string());
    let entry = &delivery["history"][0];
    assert_eq!(
        (
            &entry["attempt"],
            &entry["outcome"],
            &entry["status_code"],
            &entry["error"]
        ),
        (&json!(1), &json!("delivered"), &json!(204), &json!(null))
    );
}

#[test]
fn a_relay_arrives_byte_for_byte() {
    let receiver = Receiver::start(|_| Answer::status(200));
    let relay = TestRelay::start();
    let payload = r#"{ "n":1.10,  "ü" : "\u00fc" }"#;
    let reply = relay
        .client
        .create(&[], &relay_to(&receiver.url("/x"), payload));
    let id = relay_id(&reply);
    let arrival = receiver.next();
    assert_eq!(&arrival.body[..], payload.as_bytes());
    for (name, value) in [
        ("content-type", "application/json"),
        ("webhook-id", &id),
        ("relay-event-type", "order.created"),
        ("relay-attempt", "1"),
    ] {
        assert_eq!(arrival.header(name), value, "{name}");
    }
    let shown = relay_with_status(&relay.client, &id, "delivered");
    assert!(shown["deliveredAt"].is_string());
    assert_eq!(shown.get("failureReason"), None);
    let again = relay.client.get(&format!("/v1/relays/{id}"));
    assert!(again.text().contains(payload));
}

#[test]
fn a_request_names_its_node_only_if_a_test_asks_for_it() {
    let receiver = Receiver::start(|_| Answer::status(200));
    for (is_asked, expected) in [(false, ""), (true, "a")] {
        let relay = TestRelay::start_with(&receiver.url("/"), |config| {
            config.node.name = Some("a".to_owned());
            config.node.is_named_in_requests = is_asked;
        });
        let create = relay_to(&receiver.url("/"), "{}");
        relay_id(&relay.client.create(&[], &create));
        assert_eq!(receiver.next().header("relay-node"), expected);
        event_id(&relay.client.hook("1", b"{}"));
        assert_eq!(receiver.next().header("relay-node"), expected);
    }
}

#[test]
fn the_trace_of_a_relay_and_of_an_event_goes_on_at_the_destination() {
    let receiver = Receiver::start(|_| Answer::status(200));
    let relay = TestRelay::start_with(&receiver.url("/"), |_| {});
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let trace = [
        ("traceparent", parent),
        ("tracestate", "a=1"),
        ("tracestate", "b=2"),
    ];
    let create = relay_to(&receiver.url("/"), "{}");
    relay_id(&relay.client.create(&trace, &create));
    let of_relay = receiver.next();
    let event = [&trace[..], &[("Idempotency-Key", "1")]].concat();
    let event = relay.client.send("POST", "/webhooks/github", &event, b"{}");
    event_id(&event);
    for arrival in [of_relay, receiver.next()] {
        assert_eq!(arrival.header("traceparent"), parent);
        let states = arrival.headers.get_all("tracestate").iter();
        let states: Vec<_> = states.filter_map(|value| value.to_str().ok()).collect();
        assert_eq!(states, ["a=1", "b=2"]);
    }
    // A relay keeps no other header of its request, and makes up no trace.
    let none = relay.client.create(&[("baggage", "a=1")], &create);
    relay_id(&none);
    let arrival = receiver.next();
    assert_eq!(
        (arrival.header("traceparent"), arrival.header("baggage")),
        ("", "")
    );
}

#[test]
fn a_providers_own_webhook_headers_are_kept() {
    let receiver = Receiver::start(|_| Answer::status(200));
    let relay = TestRelay::start_with(&receiver.url("/"), |_| {});
    let reply = relay.client.send(
        "POST",
        "/webhooks/github",
        &[
            ("Idempotency-Key", "1"),
            ("webhook-id", "msg_theirs"),
            ("webhook-timestamp", "1"),
            ("webhook-signature", "v1,theirs"),
        ],
        b"{}",
    );
    let id = event_id(&reply);
    let arrival = receiver.next();
    for (name, value) in [
        ("webhook-id", "msg_theirs"),
        ("webhook-timestamp", "1"),
        ("webhook-signature", "v1,theirs"),
        ("relay-webhook-id", &id),
    ] {
        assert_eq!(arrival.header(name), value, "{name}");
    }
    assert!(!arrival.header("relay-webhook-timestamp").is_empty());
}

#[test]
fn a_permanent_failure_is_dead_lettered_at_once_and_a_replay_sends_it_again() {
    let mended = Arc::new(AtomicU32::new(0));
    let receiver = {
        let mended = Arc::clone(&mended);
        Receiver::start(move |_| match mended.load(Ordering::SeqCst) {
            0 => Answer::status(422).body(&"x".repeat(10_000)),
            _ => Answer::status(200),
        })
    };
    let relay = TestRelay::start_with(&receiver.url("/"), |_| {});
    let id = event_id(&relay.client.hook("1", b"{}"));
    let event = event_with_status(&relay.client, &id, "dead_lettered");
    assert_eq!(event["last_error"], "answered 422 Unprocessable Entity");
    assert_eq!(
        (&event["attempts"], &event["next_retry_at"]),
        (&json!(1), &json!(null))
    );
    let kept = event["deliveries"][0]["history"][0]["response"]
        .as_str()
        .expect("text");
    assert_eq!(kept.len(), 4096, "what is kept of an answer is bounded");

    mended.store(1, Ordering::SeqCst);
    let running = relay.relay.as_ref().expect("running");
    assert_eq!(running.replay(&id).expect("a replay"), 1);
    let event = event_with_status(&relay.client, &id, "delivered");
    assert_eq!(event["attempts"], 1, "the budget was fresh");
    assert_eq!(outcomes(&event), ["permanent", "replayed", "delivered"]);
    assert_eq!(
        running.replay(&id).expect("a replay"),
        0,
        "delivered stays delivered"
    );
    receiver.next();
    let second = receiver.next();
    assert_eq!(
        (second.header("webhook-id"), second.header("relay-attempt")),
        (id.as_str(), "1")
    );
}

#[test]
fn redirects_are_not_followed() {
    let elsewhere = Receiver::start(|_| Answer::status(200));
    let target = elsewhere.url("/");
    let location = target.clone();
    let receiver = Receiver::start(move |_| Answer::status(307).header("location", &location));
    let relay = TestRelay::start_with(&receiver.url("/"), |_| {});
    let id = event_id(&relay.client.hook("1", b"{}"));
    let event = event_with_status(&relay.client, &id, "retrying");
    assert_eq!(
        event["last_error"],
        format!("answered 307 Temporary Redirect to {target}")
    );
    assert!(elsewhere.next_within(Duration::ZERO).is_none());
}

#[test]
fn a_refused_connection_is_retried_and_reported() {
    // A port that was free a moment ago, so that nothing listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let relay = TestRelay::start_with(&format!("http://127.0.0.1:{port}/"), |_| {});
    let id = event_id(&relay.client.hook("1", b"{}"));
    let event = event_with_status(&relay.client, &id, "retrying");
    assert!(
        event["last_error"]
            .as_str()
            .is_some_and(|error| error.contains("refused")),
        "{event}"
    );
    assert!(event["next_retry_at"].is_string());
    assert!(
        event["status_description"]
            .as_str()
            .is_some_and(|text| text.contains("attempt 2 to orders"))
    );
}

#[test]
fn ad_hoc_urls_reach_neither_private_networks_nor_the_relay_itself() {
    let receiver = Receiver::start(|_| Answer::status(200));
    let relay = TestRelay::start_with("http://127.0.0.1:9/", |config| {
        config.delivery.allow_networks.clear();
    });
    // A host name is accepted, because acceptance resolves no names; the dial is refused.
    let inside = format!("http://localhost:{}/", receiver.address().port());
    let id = relay_id(&relay.client.create(&[], &relay_to(&inside, "{}")));
    let shown = relay_with_status(&relay.client, &id, "failed");
    let reason = shown["failureReason"].as_str().expect("a reason");
    assert!(
        reason.starts_with("forbidden_address") && reason.contains("delivery.allow_networks"),
        "{reason}"
    );
    assert!(receiver.next_within(Duration::ZERO).is_none());

    let relay = TestRelay::start();
    let own = format!("http://{}/webhooks/github", relay.client.address());
    let id = relay_id(&relay.client.create(&[], &relay_to(&own, "{}")));
    let shown = relay_with_status(&relay.client, &id, "failed");
    let reason = shown["failureReason"].as_str().expect("a reason");
    assert!(reason.contains("own listeners"), "{reason}");
}

#[test]
fn an_event_has_a_delivery_for_each_destination_and_the_status_of_the_least_finished() {
    let good = Receiver::start(|_| Answer::status(200));
    let bad = Receiver::start(|_| Answer::status(400));
    let bad_url = bad.url("/");
    let relay = TestRelay::start_with(&good.url("/"), |config| {
        config.destinations.insert(
            "audit".to_owned(),
            Destination::new(bad_url.parse().expect("a URL")),
        );
        let source = config.sources.get_mut("github").expect("a source");
        source.destinations.push("audit".to_owned());
    });
    let id = event_id(&relay.client.hook("1", b"{}"));
    let event = event_with_status(&relay.client, &id, "dead_lettered");
    let status_of = |name: &str| {
        let all = event["deliveries"].as_array().expect("a list");
        let one = all.iter().find(|delivery| delivery["destination"] == name);
        one.expect("both are there")["status"].clone()
    };
    assert_eq!(
        (status_of("orders"), status_of("audit")),
        (json!("delivered"), json!("dead_lettered"))
    );
    assert_eq!(event["last_error"], "answered 400 Bad Request");
}

#[test]
fn a_stop_hands_back_a_hanging_attempt_without_spending_it() {
    let receiver = Receiver::start(|_| Answer::status(200).after(Duration::from_secs(3600)));
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let mut config = crate::support::config(directory.path(), &receiver.url("/"));
    config.server.shutdown_grace = Duration::from_millis(50);
    let mut relay = TestRelay::start_in(Arc::clone(&directory), config.clone(), None);
    let id = event_id(&relay.client.hook("1", b"{}"));
    receiver.next();
    relay.stop();
    let Columns(kept) = relay.peek::<Columns<(i64, i64)>>("SELECT state, attempts FROM deliveries");
    assert_eq!(kept, (0, 0), "queued again, with its whole budget");

    let well = Receiver::start(|_| Answer::status(200));
    config.destinations.insert(
        "orders".to_owned(),
        Destination::new(well.url("/").parse().expect("a URL")),
    );
    let relay = TestRelay::start_in(directory, config, None);
    let arrival = well.next();
    assert_eq!(
        (
            arrival.header("webhook-id"),
            arrival.header("relay-attempt")
        ),
        (id.as_str(), "1")
    );
    event_with_status(&relay.client, &id, "delivered");
}

#[test]
fn metrics_count_attempts_and_show_states() {
    let receiver = Receiver::start(|_| Answer::status(200));
    let relay = TestRelay::start_with(&receiver.url("/"), |_| {});
    let id = event_id(&relay.client.hook("1", b"{}"));
    event_with_status(&relay.client, &id, "delivered");
    let admin = relay.admin();
    // PostgreSQL is asked for its counts from time to time.
    let text = until("nothing is queued", || {
        let text = admin.send("GET", "/metrics", &[], b"").text();
        text.contains("relay_deliveries{state=\"queued\"} 0")
            .then_some(text)
    });
    for line in [
        "relay_attempts_total{destination=\"orders\",outcome=\"delivered\"} 1",
        "relay_attempt_duration_seconds_count{destination=\"orders\"} 1",
        "relay_delivery_latency_seconds_count 1",
        "relay_destination_state{destination=\"orders\",state=\"active\"} 1",
        "relay_deliveries{state=\"queued\"} 0",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}

#[test]
fn more_events_than_workers_are_each_delivered_once() {
    let hits = Arc::new(AtomicU32::new(0));
    let receiver = {
        let hits = Arc::clone(&hits);
        Receiver::start(move |_| {
            hits.fetch_add(1, Ordering::SeqCst);
            Answer::status(200)
        })
    };
    let relay = TestRelay::start_with(&receiver.url("/"), |_| {});
    let barrier = Arc::new(Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let (client, barrier) = (relay.client.clone(), Arc::clone(&barrier));
            std::thread::spawn(move || {
                barrier.wait();
                (0..50)
                    .map(|n| event_id(&client.hook(&format!("{thread}-{n}"), b"{}")))
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    for thread in threads {
        for id in thread.join().expect("no client panics") {
            event_with_status(&relay.client, &id, "delivered");
        }
    }
    assert_eq!(hits.load(Ordering::SeqCst), 400);
}

#[test]
fn connections_to_many_destinations_are_reused() {
    let receivers: Vec<_> = (0..20)
        .map(|_| Receiver::start(|_| Answer::status(200)))
        .collect();
    // Fewer workers than destinations, so that connections are shared between workers.
    let relay = TestRelay::start_with("http://127.0.0.1:9/", |config| {
        config.delivery.workers = 2;
    });
    let connects = || {
        for receiver in &receivers {
            let event = relay_to(&receiver.url("/"), "{}");
            let id = relay_id(&relay.client.create(&[], &event));
            relay_with_status(&relay.client, &id, "delivered");
        }
        relay.peek::<i64>("SELECT count(connect_ms) FROM attempts")
    };
    assert_eq!((connects(), connects()), (20, 20));
}
