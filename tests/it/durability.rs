//! Acknowledged events are durable, and one key makes one event: in every build.

use std::collections::HashSet;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use relay::clock::{Clock as _, FakeClock, Timestamp};

use crate::needs_a_file;
use crate::support::{TestRelay, URL, config, relay_to};

#[test]
fn one_key_from_64_connections_at_once_makes_one_event_and_one_relay() {
    let relay = TestRelay::start();
    let barrier = Arc::new(Barrier::new(64));
    let threads: Vec<_> = (0..64)
        .map(|_| {
            let (client, barrier) = (relay.client.clone(), Arc::clone(&barrier));
            std::thread::spawn(move || {
                barrier.wait();
                let event = client.hook("same", b"{}");
                let relay = client.create(&[("Idempotency-Key", "same")], &relay_to(URL, "{}"));
                assert_eq!((event.status, relay.status), (202, 201));
                let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
                let event = event.json();
                (
                    text(&event["event_id"]),
                    text(&event["status"]),
                    text(&relay.json()["id"]),
                )
            })
        })
        .collect();
    let answers: Vec<_> = threads
        .into_iter()
        .map(|thread| thread.join().expect("no client panics"))
        .collect();
    let events: HashSet<_> = answers.iter().map(|(event, _, _)| event).collect();
    let relays: HashSet<_> = answers.iter().map(|(_, _, relay)| relay).collect();
    assert_eq!((events.len(), relays.len()), (1, 1));
    let accepted = answers
        .iter()
        .filter(|(_, status, _)| status == "accepted")
        .count();
    assert_eq!(accepted, 1, "the others are duplicates");
    let rows: i64 = relay.peek("SELECT count(*) FROM intents");
    assert_eq!(rows, 2);
}

#[test]
fn keys_outlive_restarts_and_end_with_their_window() {
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(1_700_000_000_000)));
    let start = || {
        TestRelay::start_in(
            Arc::clone(&directory),
            config(directory.path(), URL),
            Some(Arc::clone(&clock)),
        )
    };
    let mut relay = start();
    let first = relay.client.hook("k", b"1").json();
    let body = relay_to(URL, "{}");
    let created = relay
        .client
        .create(&[("Idempotency-Key", "k")], &body)
        .json();
    relay.stop();

    clock.advance(Duration::from_secs(3599));
    let mut relay = start();
    let again = relay.client.hook("k", b"2").json();
    assert_eq!(
        (&again["event_id"], again["status"].as_str()),
        (&first["event_id"], Some("duplicate"))
    );
    let same = relay
        .client
        .create(&[("Idempotency-Key", "k")], &body)
        .json();
    assert_eq!(same["id"], created["id"]);

    clock.advance(Duration::from_secs(1));
    let fresh = relay.client.hook("k", b"3").json();
    assert_eq!(fresh["status"], "accepted");
    assert_ne!(fresh["event_id"], first["event_id"]);
    let other_bytes = relay
        .client
        .create(&[("Idempotency-Key", "k")], &relay_to(URL, "{ }"));
    assert_eq!(other_bytes.status, 201, "no conflict past the window");
    relay.stop();
}

#[test]
fn a_request_whose_answer_was_lost_is_answered_again_by_its_key() {
    let relay = TestRelay::start();
    let body = relay_to(URL, "{}");
    for key in 0..20 {
        let request = |path: &str, headers: &str, body: &str| {
            format!(
                "POST {path} HTTP/1.1\r\nHost: a\r\n{headers}Idempotency-Key: l{key}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        for (path, headers, body) in [
            ("/webhooks/github", "", "{}"),
            ("/v1/relays", "X-API-Key: test-key\r\n", body.as_str()),
        ] {
            let mut lost = relay.client.connect();
            lost.send(request(path, headers, body).as_bytes());
            // The answer may have arrived already; it is not read.
            drop(lost);
        }
    }
    // The client can't know the outcome. Sending the request again gives it, always the same.
    for key in 0..20 {
        let key = format!("l{key}");
        let event = || relay.client.hook(&key, b"{}").json()["event_id"].clone();
        assert_eq!(event(), event());
        let created = || {
            relay
                .client
                .create(&[("Idempotency-Key", &key)], &body)
                .json()["id"]
                .clone()
        };
        assert_eq!(created(), created());
    }
    let count: i64 = relay.peek("SELECT count(*) FROM intents");
    assert_eq!(count, 40);
}

#[test]
fn ids_keep_their_order_when_the_clock_is_set_back() {
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let mut ids = Vec::new();
    // After a restart relay takes the wall clock's time, even an earlier one.
    for hours_back in 0..3 {
        let start =
            Timestamp::from_millis(1_700_000_000_000).minus(Duration::from_secs(3600 * hours_back));
        let clock = Arc::new(FakeClock::at(start));
        let relay = TestRelay::start_in(
            Arc::clone(&directory),
            config(directory.path(), URL),
            Some(Arc::clone(&clock)),
        );
        for n in 0..3 {
            let body = relay_to(URL, &format!("{{\"n\":{n}}}"));
            let created = relay.client.create(&[], &body).json();
            ids.push(created["id"].as_str().expect("an id").to_owned());
            clock.set_wall(clock.wall().minus(Duration::from_secs(60)));
        }
    }
    let mut sorted = ids.clone();
    sorted.sort();
    assert_eq!(ids, sorted);
    assert_eq!(ids.len(), 9);
}

#[test]
fn the_database_has_the_settings_that_durability_needs() {
    needs_a_file!("its pragmas are read");
    let relay = TestRelay::start();
    relay.client.hook("1", b"{}");
    let sqlite = relay.sqlite();
    let text = |pragma: &str| -> String {
        sqlite
            .query_row(&format!("PRAGMA {pragma}"), [], |row| {
                row.get::<_, rusqlite::types::Value>(0)
            })
            .map(|value| match value {
                rusqlite::types::Value::Integer(number) => number.to_string(),
                rusqlite::types::Value::Text(text) => text,
                other => format!("{other:?}"),
            })
            .expect("a pragma")
    };
    assert_eq!(text("journal_mode"), "wal");
    assert_eq!(text("user_version"), "6");
    assert_eq!(text("auto_vacuum"), "2");
    assert_eq!(text("application_id"), 0x524C_4159.to_string());
    assert_eq!(text("integrity_check"), "ok");
    let foreign: i64 = sqlite
        .query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| {
            row.get(0)
        })
        .expect("a count");
    assert_eq!(foreign, 0);
}
