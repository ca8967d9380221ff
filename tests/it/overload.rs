//! Overload: requests are refused at once with a Retry-After, and it ends by itself.

use std::time::Duration;

use serde_json::json;

use crate::needs_a_file;
use crate::support::{Connection, TestRelay, URL, until};

/// Requests: more than a batch of the writer (512) and its queue (1024) hold together.
const TOO_MANY: usize = 1700;

#[test]
fn a_full_queue_refuses_at_once_and_recovers() {
    needs_a_file!("a lock on the file holds the writer");
    let relay = TestRelay::start_with(URL, |config| {
        config.server.max_connections = 2000;
        config.delivery.level = Some(relay::model::Level::Off);
    });
    // A transaction of another connection blocks the writer, as a slow disk would.
    let blocker =
        rusqlite::Connection::open(relay.directory.path().join("relay.db")).expect("the database");
    blocker.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let mut clients: Vec<Connection> = (0..TOO_MANY)
        .map(|key| {
            let mut connection = relay.client.connect();
            connection.send(
                format!("POST /webhooks/github HTTP/1.1\r\nHost: a\r\nIdempotency-Key: {key}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}").as_bytes(),
            );
            connection
        })
        .collect();
    // A client is refused at once, while the writer is still blocked.
    let mut refused = until("a refusal", || {
        clients
            .iter_mut()
            .position(Connection::has_ended_or_answered)
            .map(|at| clients.swap_remove(at))
    });
    let reply = refused.reply().expect("an answer");
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert_eq!(reply.json().as_object().map(serde_json::Map::len), Some(1));
    assert!(
        reply.json()["error"]
            .as_str()
            .is_some_and(|why| why.contains("more requests than can be recorded"))
    );
    let after = reply
        .header("retry-after")
        .and_then(|after| after.parse::<u64>().ok());
    assert!(after.is_some_and(|seconds| seconds >= 1));
    // A full queue is emptied within a few batches, so the relay stays ready.
    for path in ["/readyz", "/ready"] {
        let reply = relay.client.get(path);
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    }
    blocker
        .execute_batch("COMMIT")
        .expect("the end of the lock");

    let statuses: Vec<u16> = clients
        .iter_mut()
        .map(|client| client.reply().expect("an answer").status)
        .collect();
    let accepted = statuses.iter().filter(|&&status| status == 202).count();
    assert!(statuses.iter().all(|status| matches!(status, 202 | 503)));
    // The accepted events are stored, and no others.
    let stored: i64 = relay.peek("SELECT count(*) FROM intents");
    assert!(accepted >= 1024, "only {accepted} were accepted");
    assert_eq!(usize::try_from(stored), Ok(accepted));
    assert_eq!(relay.client.hook("after", b"{}").status, 202);
    assert_eq!(relay.client.get("/readyz").status, 200);
}

#[test]
fn writes_are_refused_while_space_is_low_and_accepted_afterwards() {
    const ROOM: u64 = 1 << 30;
    needs_a_file!("the disk is the server's");
    let probe = tempfile::tempdir().expect("a temporary directory");
    let disk = rustix::fs::statvfs(probe.path()).expect("its disk");
    let free = disk.f_bavail * disk.f_frsize;
    assert!(
        free > 2 * ROOM,
        "this test wants 2 GiB of free space in {}",
        probe.path().display()
    );
    let relay = TestRelay::start_with(URL, |config| {
        config.delivery.level = Some(relay::model::Level::Off);
        config.database.min_free_bytes = free - ROOM / 2;
    });
    assert_eq!(relay.client.hook("1", b"{}").status, 202);
    assert_eq!(relay.client.get("/readyz").status, 200);

    // The disk fills up.
    let ballast = std::fs::File::create(relay.directory.path().join("ballast")).expect("a file");
    rustix::fs::fallocate(&ballast, rustix::fs::FallocateFlags::empty(), 0, ROOM)
        .expect("room for the ballast");
    until("it isn't ready any more", || {
        (relay.client.get("/readyz").status == 503).then_some(())
    });
    let readyz = relay.client.get("/readyz");
    assert_eq!(readyz.json()["code"], "overloaded");
    assert!(
        readyz.text().contains("database.min_free_bytes"),
        "{}",
        readyz.text()
    );
    let ready = relay.client.get("/ready");
    assert_eq!(
        (ready.status, &ready.json()["status"]),
        (503, &json!("unready"))
    );
    assert!(
        ready.json()["checks"]["database"]
            .as_str()
            .is_some_and(|why| why.contains("free space"))
    );
    for reply in [&readyz, &ready] {
        assert!(reply.header("retry-after").is_some());
    }
    let refused = relay.client.hook("2", b"{}");
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains("free space"), "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    let refused = relay
        .client
        .create(&[], &crate::support::relay_to(URL, "{}"));
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (503, &json!("overloaded"))
    );
    // It is alive, and reads are answered.
    assert_eq!(relay.client.get("/healthz").status, 200);
    assert_eq!(relay.client.get("/v1/relays").status, 200);

    drop(ballast);
    std::fs::remove_file(relay.directory.path().join("ballast")).expect("it is there");
    until("it is ready again", || {
        (relay.client.get("/readyz").status == 200).then_some(())
    });
    assert_eq!(
        relay.client.hook("2", b"{}").json()["status"],
        "accepted",
        "a refusal burns no key"
    );
}

#[test]
fn a_request_that_times_out_may_have_been_recorded() {
    needs_a_file!("a lock on the file holds the writer");
    let relay = TestRelay::start_with(URL, |config| {
        config.server.request_timeout = Duration::from_millis(200);
        config.delivery.level = Some(relay::model::Level::Off);
    });
    let blocker =
        rusqlite::Connection::open(relay.directory.path().join("relay.db")).expect("the database");
    blocker.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let late = relay.client.hook("late", b"{}");
    assert_eq!(late.status, 503);
    assert!(
        late.text().contains("may have been recorded"),
        "{}",
        late.text()
    );
    assert!(late.header("retry-after").is_some());
    blocker
        .execute_batch("COMMIT")
        .expect("the end of the lock");
    // The write goes on after the timeout, and the same key finds the event. On a busy machine it
    // may time out once more.
    until("the key finds it", || {
        (relay.client.hook("late", b"{}").status == 202).then_some(())
    });
    let stored: i64 = relay.peek("SELECT count(*) FROM intents");
    assert_eq!(stored, 1);
}
