//! Level 3 only: retry schedules, Retry-After, signatures, limits for each destination.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use relay::clock::{Clock as _, FakeClock, Timestamp};
use relay::config::{RateLimit, RetrySettings, Secret};

use crate::needs_a_file;
use crate::support::{
    Answer, Receiver, TestRelay, event_id, event_with_status, orders, relay_id, relay_to,
    relay_with_status, until,
};

fn schedule(waits: &[u64]) -> RetrySettings {
    RetrySettings {
        schedule: Some(waits.iter().copied().map(Duration::from_millis).collect()),
        jitter: Some(0.0),
        ..RetrySettings::default()
    }
}

#[test]
fn failed_attempts_are_repeated_by_the_schedule_until_one_succeeds() {
    let hits = AtomicU32::new(0);
    let receiver = Receiver::start(move |_| match hits.fetch_add(1, Ordering::SeqCst) {
        0..3 => Answer::status(503),
        _ => Answer::status(200),
    });
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(1_700_000_000_000)));
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let mut config = crate::support::config(directory.path(), &receiver.url("/"));
    orders(&mut config).retry = schedule(&[5_000, 300_000, 1_800_000]);
    let relay = TestRelay::start_in(directory, config, Some(Arc::clone(&clock)));
    let id = event_id(&relay.client.hook("1", b"{}"));
    for (attempt, wait) in [(1, 5), (2, 300), (3, 1800)] {
        assert_eq!(receiver.next().header("relay-attempt"), attempt.to_string());
        let event = until("the failure is settled", || {
            let event = event_with_status(&relay.client, &id, "retrying");
            (event["attempts"] == attempt
                && event["deliveries"][0]["history"].as_array()?.len() == attempt)
                .then_some(event)
        });
        assert_eq!(event["last_error"], "answered 503 Service Unavailable");
        let due = clock.now().plus(Duration::from_secs(wait));
        assert_eq!(event["next_retry_at"], due.to_string());
        assert_eq!(event["max_attempts"], 4);
        // Nothing is sent before the time; at the time, the timer alone starts the attempt.
        clock.advance(Duration::from_secs(wait - 1));
        until("the writer is at rest", || {
            (relay.client.get("/readyz").status == 200).then_some(())
        });
        assert!(receiver.next_within(Duration::from_millis(30)).is_none());
        clock.advance(Duration::from_secs(1));
    }
    let event = event_with_status(&relay.client, &id, "delivered");
    assert_eq!(event["attempts"], 4);
}

#[test]
fn a_delivery_is_dead_lettered_at_the_end_of_its_schedule() {
    let receiver = Receiver::start(|_| Answer::status(500));
    let relay = TestRelay::start_with(&receiver.url("/"), |config| {
        orders(config).retry = schedule(&[1, 1]);
    });
    let id = event_id(&relay.client.hook("1", b"{}"));
    let event = event_with_status(&relay.client, &id, "dead_lettered");
    assert_eq!(event["attempts"], 3);
    for attempt in ["1", "2", "3"] {
        assert_eq!(receiver.next().header("relay-attempt"), attempt);
    }
}

#[test]
fn retry_after_holds_the_whole_destination() {
    let hits = AtomicU32::new(0);
    let receiver = Receiver::start(move |_| match hits.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::status(429).header("retry-after", "600"),
        _ => Answer::status(200),
    });
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(1_700_000_000_000)));
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let mut config = crate::support::config(directory.path(), &receiver.url("/"));
    orders(&mut config).retry = schedule(&[1_000]);
    let relay = TestRelay::start_in(directory, config, Some(Arc::clone(&clock)));
    let first = event_id(&relay.client.hook("1", b"{}"));
    receiver.next();
    let event = event_with_status(&relay.client, &first, "retrying");
    let until = clock.now().plus(Duration::from_secs(600));
    assert_eq!(event["next_retry_at"], until.to_string());
    // Another event for the same destination waits, too.
    let second = event_id(&relay.client.hook("2", b"{}"));
    clock.advance(Duration::from_secs(599));
    assert!(receiver.next_within(Duration::from_millis(30)).is_none());
    let event = event_with_status(&relay.client, &second, "queued");
    assert!(
        event["status_description"]
            .as_str()
            .is_some_and(|text| text.contains("Retry-After")),
        "{event}"
    );
    clock.advance(Duration::from_secs(1));
    event_with_status(&relay.client, &first, "delivered");
    event_with_status(&relay.client, &second, "delivered");
}

#[test]
fn attempts_are_signed_with_every_secret() {
    let receiver = Receiver::start(|_| Answer::status(200));
    let relay = TestRelay::start_with(&receiver.url("/"), |config| {
        orders(config).secrets = vec![
            Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            Secret::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
        ];
    });
    let reply = relay.client.send(
        "POST",
        "/webhooks/github",
        &[
            ("Idempotency-Key", "1"),
            ("webhook-id", "theirs"),
            ("webhook-signature", "v1,theirs"),
        ],
        b"{}",
    );
    let id = event_id(&reply);
    let arrival = receiver.next();
    assert_eq!(arrival.header("webhook-id"), id, "ours, since we sign");
    let signatures: Vec<_> = arrival.header("webhook-signature").split(' ').collect();
    assert_eq!(signatures.len(), 2);
    assert!(
        signatures
            .iter()
            .all(|signature| signature.starts_with("v1,") && signature.len() == 47)
    );
    assert_ne!(signatures[0], signatures[1]);
}

#[test]
fn a_hanging_destination_delays_no_other() {
    let hung = Receiver::start(|_| Answer::status(200).after(Duration::from_secs(3600)));
    let well = Receiver::start(|_| Answer::status(200));
    let relay = TestRelay::start_with(&well.url("/"), |config| {
        config.server.shutdown_grace = Duration::from_millis(50);
        config.delivery.workers = 4;
        config.delivery.timeout = Duration::from_secs(3600);
    });
    for n in 0..20 {
        let body = relay_to(&hung.url("/"), &format!("{{\"n\":{n}}}"));
        assert_eq!(relay.client.create(&[], &body).status, 201);
    }
    hung.next();
    for n in 0..20 {
        let id = event_id(&relay.client.hook(&n.to_string(), b"{}"));
        event_with_status(&relay.client, &id, "delivered");
    }
    assert!(
        hung.next_within(Duration::ZERO).is_none(),
        "one at a time, until it has answered"
    );
}

#[test]
fn a_rate_limit_paces_a_destination_without_spending_attempts() {
    let receiver = Receiver::start(|_| Answer::status(200));
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(1_700_000_000_000)));
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let mut config = crate::support::config(directory.path(), &receiver.url("/"));
    orders(&mut config).rate_limit = Some(RateLimit {
        per_second: 0.1,
        burst: 2,
    });
    let relay = TestRelay::start_in(directory, config, Some(Arc::clone(&clock)));
    let ids: Vec<_> = (0..4)
        .map(|n| event_id(&relay.client.hook(&n.to_string(), b"{}")))
        .collect();
    receiver.next();
    receiver.next();
    assert!(receiver.next_within(Duration::from_millis(30)).is_none());
    for _ in 0..2 {
        clock.advance(Duration::from_secs(10));
        receiver.next();
        assert!(receiver.next_within(Duration::from_millis(30)).is_none());
    }
    for id in ids {
        assert_eq!(
            event_with_status(&relay.client, &id, "delivered")["attempts"],
            1
        );
    }
}

#[test]
fn a_destination_that_is_no_longer_configured_keeps_its_deliveries() {
    let receiver = Receiver::start(|_| Answer::status(503));
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let config = crate::support::config(directory.path(), &receiver.url("/"));
    let mut without = config.clone();
    without.destinations.clear();
    without.sources.clear();
    let mut relay = TestRelay::start_in(Arc::clone(&directory), config, None);
    let id = event_id(&relay.client.hook("1", b"{}"));
    event_with_status(&relay.client, &id, "retrying");
    relay.stop();
    let relay = TestRelay::start_in(directory, without, None);
    assert_eq!(
        relay.client.get(&format!("/events/{id}")).json()["status"],
        "retrying"
    );
}

/// Adds a trigger that refuses every change of state that the state machine's table doesn't have.
fn guard_transitions(database: &std::path::Path) {
    use relay::model::{DeliveryState, Transition};

    let moves: Vec<_> = DeliveryState::ALL
        .iter()
        .flat_map(|from| {
            Transition::ALL.iter().filter_map(|step| {
                let to = step.apply(*from)?;
                Some(format!("({}, {})", from.number(), to.number()))
            })
        })
        .collect();
    let sqlite = rusqlite::Connection::open(database).expect("a database");
    sqlite
        .execute_batch(&format!(
            "CREATE TRIGGER guard BEFORE UPDATE OF state ON deliveries
             WHEN (old.state, new.state) NOT IN (VALUES {})
             BEGIN SELECT raise(ABORT, 'a move that is not in the table'); END",
            moves.join(", ")
        ))
        .expect("a trigger");
}

#[test]
fn every_change_of_state_in_the_database_is_in_the_state_machines_table() {
    needs_a_file!("a trigger is written into it");
    let hits = AtomicU32::new(0);
    let receiver = Receiver::start(move |arrival| {
        match (arrival.path.as_str(), hits.fetch_add(1, Ordering::SeqCst)) {
            ("/dead", _) => Answer::status(400),
            (_, 0..2) => Answer::status(503),
            _ => Answer::status(200),
        }
    });
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let mut config = crate::support::config(directory.path(), &receiver.url("/"));
    orders(&mut config).retry = schedule(&[1, 1, 1]);
    TestRelay::start_in(Arc::clone(&directory), config.clone(), None).stop();
    guard_transitions(&config.database.path);

    let relay = TestRelay::start_in(directory, config, None);
    let id = event_id(&relay.client.hook("1", b"{}"));
    assert_eq!(
        event_with_status(&relay.client, &id, "delivered")["attempts"],
        3
    );
    let id = relay_id(
        &relay
            .client
            .create(&[], &relay_to(&receiver.url("/dead"), "{}")),
    );
    relay_with_status(&relay.client, &id, "failed");
    let running = relay.relay.as_ref().expect("running");
    assert_eq!(running.replay(&id).expect("a replay"), 1);
    until("the replay is given up too", || {
        let entries: i64 = relay.peek("SELECT count(*) FROM attempts WHERE outcome = 2");
        (entries == 2).then_some(())
    });
}
