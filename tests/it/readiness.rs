//! Readiness comes from the state that the writer publishes, and needs no write.

use std::sync::Arc;
use std::time::Duration;

use relay::clock::{Clock as _, FakeClock, SystemClock};
use relay::model::Level;

use crate::needs_a_file;
use crate::support::engine::is_postgres;
use crate::support::{COMMITS_OF_A_START, TestRelay, commits, until};

/// A relay whose clock stands still, so that it writes nothing of its own after its start.
fn start() -> (TestRelay, Arc<FakeClock>) {
    let clock = Arc::new(FakeClock::at(SystemClock::new().wall()));
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let mut config = crate::support::config(directory.path(), "http://127.0.0.1:9/");
    config.delivery.level = Some(Level::Off);
    let relay = TestRelay::start_in(directory, config, Some(Arc::clone(&clock)));
    (relay, clock)
}

#[test]
fn a_thousand_readiness_requests_make_no_commit() {
    let (relay, _clock) = start();
    // On PostgreSQL the writer commits what is accepted, and nothing at a start.
    let at_least = if is_postgres() {
        relay.client.hook("1", b"{}");
        1
    } else {
        2
    };
    until("the start is over", || {
        (commits(&relay.admin()) >= at_least).then_some(())
    });
    let mut connection = relay.client.connect();
    for _ in 0..500 {
        for path in ["/readyz", "/ready"] {
            connection.send(format!("GET {path} HTTP/1.1\r\nHost: relay\r\n\r\n").as_bytes());
            assert_eq!(connection.reply().expect("an answer").status, 200);
        }
    }
    assert!(commits(&relay.admin()) <= COMMITS_OF_A_START);
}

#[test]
fn a_hanging_writer_makes_the_relay_unready_until_it_goes_on() {
    needs_a_file!("a lock on the file holds the writer");
    let (relay, clock) = start();
    until("the start is over", || {
        (commits(&relay.admin()) > 1).then_some(())
    });
    let blocker =
        rusqlite::Connection::open(relay.directory.path().join("relay.db")).expect("the database");
    blocker.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let client = relay.client.clone();
    let waiting = std::thread::spawn(move || client.hook("1", b"{}"));
    until("it isn't ready", || {
        clock.advance(Duration::from_secs(6));
        let reply = relay.client.get("/readyz");
        (reply.status == 503).then(|| {
            assert!(reply.text().contains("takes too long"), "{}", reply.text());
            assert_eq!(reply.header("retry-after"), Some("1"));
        })
    });
    let ready = relay.client.get("/ready");
    assert_eq!(ready.status, 503);
    assert_eq!(
        ready.json()["checks"]["database"],
        "the database takes too long to answer"
    );
    // It is alive all the same.
    assert_eq!(relay.client.get("/healthz").status, 200);
    blocker.execute_batch("COMMIT").expect("the lock's end");
    assert_eq!(waiting.join().expect("no panic").status, 202);
    until("it is ready again", || {
        (relay.client.get("/readyz").status == 200).then_some(())
    });
}
