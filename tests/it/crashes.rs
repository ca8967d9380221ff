//! The real binary, killed and stopped at bad moments: every acknowledged event is kept and
//! delivered.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use crate::needs_a_file;
use crate::support::{
    Answer, Process, Receiver, event_with_status, outcomes, relay_to, relay_with_status, until,
};

fn toml(receiver: &Receiver) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:0"
shutdown_grace = "2s"
[admin]
listen = ""
[database]
min_free_bytes = 0
[api]
keys = ["test-key"]
[api.rate_limit]
post = {{ per_second = 100000, burst = 100000 }}
get = {{ per_second = 100000, burst = 100000 }}
[destinations.orders]
url = "{}"
retry = {{ schedule = ["100ms", "100ms", "100ms", "1s", "1s", "1s"] }}
[sources.github]
destinations = ["orders"]
[delivery]
workers = 8
allow_networks = ["127.0.0.0/8"]
"#,
        receiver.url("/hook")
    )
}

/// Posts from several threads, half events and half relays, until `enough` are sent or the server
/// is gone. Waits at the barrier in `at` when its number of posts have been acknowledged. Returns
/// the ids of acknowledged posts.
fn load(
    process: &Process,
    receiver: &Receiver,
    enough: usize,
    at: (usize, &Barrier),
) -> Vec<String> {
    let acknowledged = Mutex::new(Vec::new());
    let sent = AtomicUsize::new(0);
    let url = receiver.url("/adhoc");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let n = sent.fetch_add(1, Ordering::SeqCst);
                    if n >= enough {
                        return;
                    }
                    let body = format!("{{\"n\":{n}}}");
                    let reply = if n.is_multiple_of(2) {
                        process.client.try_send(
                            "POST",
                            "/webhooks/github",
                            &[("Idempotency-Key", &format!("key-{n}"))],
                            body.as_bytes(),
                        )
                    } else {
                        process.client.try_send(
                            "POST",
                            "/v1/relays",
                            &[
                                ("X-API-Key", "test-key"),
                                ("Idempotency-Key", &format!("key-{n}")),
                            ],
                            relay_to(&url, &body).as_bytes(),
                        )
                    };
                    let Some(reply) = reply.filter(|reply| matches!(reply.status, 201 | 202))
                    else {
                        continue;
                    };
                    let id = ["event_id", "id"]
                        .iter()
                        .find_map(|member| reply.json()[member].as_str().map(str::to_owned))
                        .expect("an id");
                    let count = {
                        let mut acknowledged = acknowledged.lock().expect("no panics");
                        acknowledged.push(id);
                        acknowledged.len()
                    };
                    if count == at.0 {
                        at.1.wait();
                    }
                }
            });
        }
    });
    acknowledged.into_inner().expect("no panics")
}

fn assert_delivered(process: &Process, ids: &[String]) {
    for id in ids {
        if id.starts_with("evt_") {
            event_with_status(&process.client, id, "delivered");
        } else {
            relay_with_status(&process.client, id, "delivered");
        }
    }
}

#[test]
fn every_acknowledged_post_survives_a_kill() {
    let arrived = Arc::new(Mutex::new(HashSet::new()));
    let receiver = {
        let arrived = Arc::clone(&arrived);
        Receiver::start(move |arrival| {
            let id = arrival.header("webhook-id").to_owned();
            arrived.lock().expect("no panics").insert(id);
            Answer::status(200)
        })
    };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let toml = toml(&receiver);
    let process = Process::serve(directory.path(), &toml);
    let barrier = Barrier::new(2);
    let acknowledged = std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            barrier.wait();
            process.signal("-KILL");
        });
        let acknowledged = load(&process, &receiver, 20_000, (100, &barrier));
        killer.join().expect("the signal is sent");
        acknowledged
    });
    process.kill();
    assert!(
        (100..20_000).contains(&acknowledged.len()),
        "{}",
        acknowledged.len()
    );

    let process = Process::serve(directory.path(), &toml);
    assert_delivered(&process, &acknowledged);
    let arrived = arrived.lock().expect("no panics");
    assert!(
        acknowledged.iter().all(|id| arrived.contains(id)),
        "nothing is lost"
    );
}

#[test]
fn an_attempt_interrupted_by_a_kill_is_repeated_after_the_restart() {
    let hits = AtomicUsize::new(0);
    let receiver = Receiver::start(move |_| match hits.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::status(200).after(Duration::from_secs(3600)),
        _ => Answer::status(200),
    });
    let directory = tempfile::tempdir().expect("a temporary directory");
    let toml = toml(&receiver);
    let process = Process::serve(directory.path(), &toml);
    let id = process.client.hook("1", b"{}").json()["event_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!(receiver.next().header("relay-attempt"), "1");
    assert_eq!(
        process.client.get(&format!("/events/{id}")).json()["status"],
        "processing"
    );
    process.kill();

    let process = Process::serve(directory.path(), &toml);
    let again = receiver.next();
    assert_eq!(
        (again.header("webhook-id"), again.header("relay-attempt")),
        (id.as_str(), "2")
    );
    let event = event_with_status(&process.client, &id, "delivered");
    assert_eq!(
        outcomes(&event),
        ["interrupted", "delivered"],
        "the attempt that began is counted"
    );
}

#[test]
fn a_delivery_that_kills_the_process_repeatedly_is_dead_lettered() {
    let receiver = Receiver::start(|_| Answer::status(200).after(Duration::from_secs(3600)));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let toml = toml(&receiver);
    let mut process = Process::serve(directory.path(), &toml);
    let id = process.client.hook("1", b"{}").json()["event_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    for attempt in 1..=5 {
        assert_eq!(receiver.next().header("relay-attempt"), attempt.to_string());
        process.kill();
        process = Process::serve(directory.path(), &toml);
    }
    let event = event_with_status(&process.client, &id, "dead_lettered");
    assert!(
        event["last_error"]
            .as_str()
            .is_some_and(|error| error.contains("interrupted 5 times")),
        "{event}"
    );
}

#[test]
fn sigterm_under_load_loses_nothing_and_exits_with_success() {
    needs_a_file!("rows are counted in it");
    let receiver = Receiver::start(|_| Answer::status(200));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let toml = toml(&receiver);
    let process = Process::serve(directory.path(), &toml);
    let barrier = Barrier::new(2);
    let acknowledged = std::thread::scope(|scope| {
        let stopper = scope.spawn(|| {
            barrier.wait();
            process.signal("-TERM");
        });
        let acknowledged = load(&process, &receiver, 2000, (200, &barrier));
        stopper.join().expect("the signal is sent");
        acknowledged
    });
    let (status, log) = process.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("\"stopped\""), "{log}");
    assert!(acknowledged.len() >= 200);
    let database =
        rusqlite::Connection::open(directory.path().join("relay.db")).expect("a database");
    let claimed: i64 = database
        .query_row(
            "SELECT count(*) FROM deliveries WHERE claim IS NOT NULL",
            [],
            |row| row.get(0),
        )
        .expect("a count");
    assert_eq!(claimed, 0, "every attempt was settled or handed back");
    drop(database);

    let process = Process::serve(directory.path(), &toml);
    assert_delivered(&process, &acknowledged);
}

#[test]
fn a_second_signal_exits_at_once_and_the_next_start_recovers() {
    let receiver = Receiver::start(|_| Answer::status(200).after(Duration::from_secs(3600)));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let toml = toml(&receiver).replace("shutdown_grace = \"2s\"", "shutdown_grace = \"1h\"");
    let process = Process::serve(directory.path(), &toml);
    let id = process.client.hook("1", b"{}").json()["event_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    receiver.next();
    process.signal("-TERM");
    // The listener closes when the first signal has been handled.
    until("the listener is gone", || {
        process
            .client
            .try_send("GET", "/healthz", &[], b"")
            .is_none()
            .then_some(())
    });
    process.signal("-TERM");
    let (status, log) = process.wait();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("a second signal"), "{log}");

    let well = Receiver::start(|_| Answer::status(200));
    let process = Process::serve(directory.path(), &self::toml(&well));
    assert_eq!(well.next().header("webhook-id"), id);
    event_with_status(&process.client, &id, "delivered");
}
