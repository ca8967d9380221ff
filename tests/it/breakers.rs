//! Level 3 in outages: breakers, holds, and pauses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use relay::clock::{FakeClock, Timestamp};
use relay::config::RateLimit;

use crate::support::{
    Answer, Process, Receiver, TestRelay, config, event_id, event_with_status, every, orders,
    relay_id, relay_to, relay_with_status, until,
};

#[test]
fn an_open_breaker_stops_attempts_and_spends_none() {
    let hits = Arc::new(AtomicUsize::new(0));
    let is_well = Arc::new(AtomicBool::new(false));
    let receiver = {
        let (hits, is_well) = (Arc::clone(&hits), Arc::clone(&is_well));
        Receiver::start(move |_| {
            hits.fetch_add(1, Ordering::SeqCst);
            Answer::status(if is_well.load(Ordering::SeqCst) {
                200
            } else {
                500
            })
        })
    };
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(1_700_000_000_000)));
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let start = || {
        let mut config = config(directory.path(), &receiver.url("/"));
        orders(&mut config).retry = every(Duration::from_secs(1), 20);
        TestRelay::start_in(Arc::clone(&directory), config, Some(Arc::clone(&clock)))
    };
    let mut relay = start();
    let ids: Vec<_> = (0..30)
        .map(|key| event_id(&relay.client.hook(&key.to_string(), b"{}")))
        .collect();
    let attempts =
        |relay: &TestRelay| -> i64 { relay.peek("SELECT sum(attempts) FROM deliveries") };
    // One at a time, because every answer is a failure; after ten the breaker opens.
    until("it is left alone", || {
        let event = relay.client.get(&format!("/events/{}", ids[29])).json();
        let says = event["status_description"].as_str()?;
        says.contains("circuit breaker is open").then_some(())
    });
    assert_eq!((hits.load(Ordering::SeqCst), attempts(&relay)), (10, 10));
    let is_shown_open = |relay: &TestRelay| {
        let metrics = relay.admin().send("GET", "/metrics", &[], b"").text();
        metrics
            .contains("relay_destination_state{destination=\"orders\",state=\"open\"} 1")
            .then_some(())
    };
    until("it is shown", || is_shown_open(&relay));

    // A restart keeps the breaker's state.
    clock.advance(Duration::from_secs(29));
    relay.stop();
    let mut relay = start();
    until("the executor has looked", || is_shown_open(&relay));
    clock.advance(Duration::from_millis(900));
    until("the writer is at rest", || {
        (relay.client.get("/readyz").status == 200).then_some(())
    });
    assert_eq!(hits.load(Ordering::SeqCst), 10);

    // A failed probe doubles the wait.
    clock.advance(Duration::from_millis(100));
    until("the probe is made", || {
        (attempts(&relay) == 11).then_some(())
    });
    until("it is settled", || {
        let probe: i64 = relay.peek("SELECT probe_wait FROM destinations WHERE name = 'orders'");
        (probe == 60_000).then_some(())
    });
    clock.advance(Duration::from_secs(59));
    until("the writer is at rest", || {
        (relay.client.get("/readyz").status == 200).then_some(())
    });
    assert_eq!(hits.load(Ordering::SeqCst), 11);

    // The destination recovers: the probe succeeds, and the rest follows.
    is_well.store(true, Ordering::SeqCst);
    clock.advance(Duration::from_secs(1));
    for id in &ids {
        event_with_status(&relay.client, id, "delivered");
    }
    assert_eq!(hits.load(Ordering::SeqCst), 11 + 30);
    relay.stop();
}

#[test]
fn a_hold_applies_to_deliveries_claimed_in_the_same_tick() {
    let arrivals = Arc::new(AtomicUsize::new(0));
    let gate = Arc::new(std::sync::Barrier::new(5));
    let receiver = {
        let (arrivals, gate) = (Arc::clone(&arrivals), Arc::clone(&gate));
        Receiver::start(move |_| {
            // The first three succeed, so that four are in flight at once; all of these get
            // Retry-After.
            let number = arrivals.fetch_add(1, Ordering::SeqCst);
            if number < 3 {
                return Answer::status(200);
            }
            tokio::task::block_in_place(|| gate.wait());
            Answer::status(429).header("Retry-After", "3600")
        })
    };
    let relay = TestRelay::start_with(&receiver.url("/"), |config| {
        config.delivery.workers = 8;
        orders(config).concurrency = Some(4);
        orders(config).retry = every(Duration::from_secs(1), 5);
    });
    for key in 0..3 {
        let id = event_id(&relay.client.hook(&key.to_string(), b"{}"));
        event_with_status(&relay.client, &id, "delivered");
    }
    let ids: Vec<_> = (3..40)
        .map(|key| event_id(&relay.client.hook(&key.to_string(), b"{}")))
        .collect();
    gate.wait();
    until("all that went are settled", || {
        let held = relay.client.get(&format!("/events/{}", ids[36])).json();
        let says = held["status_description"].as_str()?;
        let busy: i64 = relay.peek("SELECT count(*) FROM deliveries WHERE claim IS NOT NULL");
        (says.contains("Retry-After") && busy == 0).then_some(())
    });
    assert_eq!(
        arrivals.load(Ordering::SeqCst),
        3 + 4,
        "no more after the hold"
    );
}

#[test]
fn disabling_the_breaker_closes_it() {
    let receiver = Receiver::start(|_| Answer::status(500));
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let start = |has_breaker| {
        let mut config = config(directory.path(), &receiver.url("/"));
        orders(&mut config).retry = every(Duration::from_secs(3600), 5);
        orders(&mut config).breaker.enabled = Some(has_breaker);
        orders(&mut config).breaker.failures = Some(1);
        TestRelay::start_in(Arc::clone(&directory), config, None)
    };
    let mut relay = start(true);
    event_id(&relay.client.hook("1", b"{}"));
    let probe_at =
        |relay: &TestRelay| -> Option<i64> { relay.peek("SELECT probe_at FROM destinations") };
    until("it is broken", || probe_at(&relay));
    relay.stop();
    let mut relay = start(false);
    until("nothing is left of it", || {
        probe_at(&relay).is_none().then_some(())
    });
    relay.stop();
}

/// Runs a command on a running relay's database.
fn command(relay: &TestRelay, args: &[&str]) -> String {
    let path = relay.directory.path();
    std::fs::write(
        path.join("relay.toml"),
        "[destinations.orders]\nurl = 'http://127.0.0.1:9/'\n",
    )
    .expect("writing relay.toml");
    let output = Process::command(path)
        .args(args)
        .output()
        .expect("the binary runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_410_pauses_a_destination_until_it_is_resumed() {
    let is_gone = Arc::new(AtomicBool::new(true));
    let receiver = {
        let is_gone = Arc::clone(&is_gone);
        Receiver::start(move |_| {
            Answer::status(if is_gone.load(Ordering::SeqCst) {
                410
            } else {
                200
            })
        })
    };
    let relay = TestRelay::start_with(&receiver.url("/"), |_| {});
    let first = event_id(&relay.client.hook("1", b"{}"));
    let event = event_with_status(&relay.client, &first, "dead_lettered");
    assert_eq!(event["attempts"], 1);
    let held = event_id(&relay.client.hook("2", b"{}"));
    let event = relay.client.get(&format!("/events/{held}")).json();
    assert_eq!(event["status"], "queued");
    assert_eq!(
        event["status_description"],
        "Waits until orders is resumed; it is paused: it answered 410 Gone."
    );
    // A 410 of one URL says nothing about the origin's other URLs.
    let gone = relay_id(
        &relay
            .client
            .create(&[], &relay_to(&receiver.url("/gone"), "{}")),
    );
    relay_with_status(&relay.client, &gone, "failed");
    is_gone.store(false, Ordering::SeqCst);
    let other = relay_id(
        &relay
            .client
            .create(&[], &relay_to(&receiver.url("/other"), "{}")),
    );
    relay_with_status(&relay.client, &other, "delivered");

    assert_eq!(
        command(&relay, &["resume", "orders"]),
        "orders is resumed\n"
    );
    event_with_status(&relay.client, &held, "delivered");
    assert_eq!(command(&relay, &["replay", &first]), "replayed 1\n");
    event_with_status(&relay.client, &first, "delivered");
}

#[test]
fn after_a_hold_the_rate_limit_still_applies() {
    let arrivals = Arc::new(AtomicUsize::new(0));
    let receiver = {
        let arrivals = Arc::clone(&arrivals);
        Receiver::start(move |_| match arrivals.fetch_add(1, Ordering::SeqCst) {
            0 => Answer::status(429).header("Retry-After", "60"),
            _ => Answer::status(200),
        })
    };
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(1_700_000_000_000)));
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let mut config = config(directory.path(), &receiver.url("/"));
    orders(&mut config).retry = every(Duration::from_secs(1), 5);
    orders(&mut config).rate_limit = Some(RateLimit {
        per_second: 1.0,
        burst: 50,
    });
    let relay = TestRelay::start_in(directory, config, Some(Arc::clone(&clock)));
    let first = event_id(&relay.client.hook("0", b"{}"));
    event_with_status(&relay.client, &first, "retrying");
    for key in 1..20 {
        relay.client.hook(&key.to_string(), b"{}");
    }
    assert_eq!(arrivals.load(Ordering::SeqCst), 1);
    clock.advance(Duration::from_secs(60));
    // After a minute of hold a full bucket would let fifty go at once. One a second goes.
    let mut seconds = 0;
    until("all have arrived", || {
        let arrived = arrivals.load(Ordering::SeqCst);
        assert!(arrived <= 1 + seconds, "{arrived} within {seconds} s");
        clock.advance(Duration::from_secs(1));
        seconds += 1;
        (arrived == 1 + 20).then_some(())
    });
}

#[test]
fn the_history_shows_the_times_of_an_attempt_and_the_next_step() {
    let receiver = Receiver::start(|_| Answer::status(503).body("closed for lunch"));
    let relay = TestRelay::start_with(&receiver.url("/"), |config| {
        orders(config).retry = every(Duration::from_secs(3600), 1);
    });
    let id = event_id(&relay.client.hook("1", b"{}"));
    event_with_status(&relay.client, &id, "retrying");
    let shown = command(&relay, &["show", "--json", &id]);
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    let delivery = &shown["deliveries"][0];
    let entry = &delivery["history"][0];
    assert_eq!(entry["failure"], "status");
    assert_eq!(entry["address"], "127.0.0.1");
    for phase in ["resolve_ms", "connect_ms", "first_byte_ms"] {
        assert!(entry[phase].is_u64(), "{phase} in {entry}");
    }
    let next = entry["next"].as_str().expect("what follows");
    assert!(
        next.starts_with("attempt 2 at ") && next.ends_with("(schedule)"),
        "{next}"
    );
    assert!(
        delivery["waits_for"]
            .as_str()
            .is_some_and(|says| says.contains("for attempt 2 to orders"))
    );
    let text = command(&relay, &["show", &id]);
    assert!(
        text.contains("transient (503)") && text.contains("it said: closed for lunch"),
        "{text}"
    );
}
