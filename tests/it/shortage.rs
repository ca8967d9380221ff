//! A shortage of this machine is not charged to a destination.

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;

use crate::needs_a_file;
use crate::support::{Answer, Process, Receiver, event_with_status, until};

#[test]
fn an_attempt_without_a_free_descriptor_is_put_off_and_not_charged_to_the_destination() {
    needs_a_file!("its rows are read");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (first, second) = (
        Receiver::start(|_| Answer::status(200)),
        Receiver::start(|_| Answer::status(200)),
    );
    let toml = format!(
        "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = ''\n[database]\nmin_free_bytes = '0'\n\
         [api]\nkeys = ['test-key']\n[delivery]\nworkers = 4\n\
         [destinations.first]\nurl = '{}'\n[destinations.second]\nurl = '{}'\n\
         [delivery.defaults.breaker]\nfailures = 1\n\
         [sources.first]\ndestinations = ['first']\n[sources.second]\ndestinations = ['second']\n",
        first.url("/"),
        second.url("/")
    );
    let server = Process::serve(directory.path(), &toml);
    let mut connection = server.client.connect();
    let mut post = |source: &str| {
        let request = format!(
            "POST /webhooks/{source} HTTP/1.1\r\nHost: a\r\nIdempotency-Key: 1\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        assert!(connection.send(request.as_bytes()));
        let reply = connection.reply().expect("an answer").json();
        reply["event_id"].as_str().expect("an id").to_owned()
    };
    // Opens the database's connections, so that the limit below affects the dial only.
    let id = post("first");
    event_with_status(&server.client, &id, "delivered");

    let pid = Pid::from_raw(i32::try_from(server.id()).expect("a process")).expect("not 0");
    // From now on no descriptor can be opened.
    let none = Rlimit {
        current: Some(3),
        maximum: rustix::process::getrlimit(Resource::Nofile).maximum,
    };
    let before = prlimit(Some(pid), Resource::Nofile, none).expect("our child");
    let id = post("second");
    // The attempt was put off; the later time is its only trace.
    let database = rusqlite::Connection::open_with_flags(
        directory.path().join("relay.db"),
        rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
    )
    .expect("the database opens");
    until("it is tried", || {
        database
            .query_row(
                "SELECT 1 FROM deliveries JOIN intents ON id = intent_id
                 WHERE label = 'second' AND (next_attempt_at > created_at OR history > 0)",
                [],
                |_| Ok(()),
            )
            .ok()
    });
    assert!(second.next_within(std::time::Duration::ZERO).is_none());
    prlimit(Some(pid), Resource::Nofile, before).expect("our child");

    let event = event_with_status(&server.client, &id, "delivered");
    let history = &event["deliveries"][0]["history"];
    assert_eq!(event["attempts"], 1, "{history}");
    assert_eq!(history.as_array().map(Vec::len), Some(1), "{history}");
    assert_eq!(history[0]["outcome"], json!("delivered"));
    assert_eq!(event["last_error"], json!(null), "{history}");
    server.signal("-TERM");
    let (status, log) = server.wait();
    assert!(status.success(), "{log}");
    assert!(!log.contains("circuit breaker"), "{log}");
    assert!(
        log.contains(
            "attempts can't be made, and are put off: this machine is short of file descriptors"
        ),
        "{log}"
    );
}

/// A large body is read by a connection to the database that is opened when the first one comes.
#[test]
fn a_database_that_cannot_be_opened_once_more_is_no_broken_one() {
    needs_a_file!("it can't be opened");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let receiver = Receiver::start(|_| Answer::status(200));
    let toml = format!(
        "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = ''\n[database]\nmin_free_bytes = '0'\n\
         [api]\nkeys = ['test-key']\n[delivery]\nworkers = 4\n\
         [destinations.first]\nurl = '{}'\n[sources.first]\ndestinations = ['first']\n",
        receiver.url("/"),
    );
    let server = Process::serve(directory.path(), &toml);
    let mut connection = server.client.connect();
    let mut post = |key: &str, body: &str| {
        let request = format!(
            "POST /webhooks/first HTTP/1.1\r\nHost: a\r\nIdempotency-Key: {key}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        assert!(connection.send(request.as_bytes()));
        let reply = connection.reply().expect("an answer").json();
        reply["event_id"].as_str().expect("an id").to_owned()
    };
    event_with_status(&server.client, &post("1", "{}"), "delivered");

    let pid = Pid::from_raw(i32::try_from(server.id()).expect("a process")).expect("not 0");
    let none = Rlimit {
        current: Some(3),
        maximum: rustix::process::getrlimit(Resource::Nofile).maximum,
    };
    let before = prlimit(Some(pid), Resource::Nofile, none).expect("our child");
    let id = post("2", &format!("\"{}\"", "x".repeat(10_000)));
    let database = rusqlite::Connection::open_with_flags(
        directory.path().join("relay.db"),
        rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
    )
    .expect("the database opens");
    // The attempt was put off; the later time is its only trace.
    until("it is tried", || {
        database
            .query_row(
                "SELECT 1 FROM deliveries JOIN intents ON id = intent_id
                 WHERE next_attempt_at > created_at",
                [],
                |_| Ok(()),
            )
            .ok()
    });
    prlimit(Some(pid), Resource::Nofile, before).expect("our child");

    let event = event_with_status(&server.client, &id, "delivered");
    assert_eq!(event["attempts"], 1, "{event}");
    server.signal("-TERM");
    let (status, log) = server.wait();
    assert!(status.success(), "{log}");
}

/// The signal that comes with the refusal would end the process without a word.
#[test]
fn a_limit_of_the_size_of_files_is_a_full_disk_until_it_is_raised() {
    needs_a_file!("its size is limited");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Process::serve(
        directory.path(),
        "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = ''\n[database]\n\
         min_free_bytes = '0'\n[delivery]\nlevel = 'off'\n[destinations.first]\n\
         url = 'http://127.0.0.1:9/'\n[sources.first]\ndestinations = ['first']\n",
    );
    let post = |key: String| {
        let body = format!("\"{}\"", "x".repeat(10_000));
        let headers = [("Idempotency-Key", key.as_str())];
        let reply = server
            .client
            .send("POST", "/webhooks/first", &headers, body.as_bytes());
        reply.status
    };
    assert_eq!(post("0".to_owned()), 202);
    let pid = Pid::from_raw(i32::try_from(server.id()).expect("a process")).expect("not 0");
    let small = Rlimit {
        current: Some(256 << 10),
        maximum: rustix::process::getrlimit(Resource::Fsize).maximum,
    };
    let before = prlimit(Some(pid), Resource::Fsize, small).expect("our child");
    let refused = (1..100)
        .map(|key| post(key.to_string()))
        .find(|status| *status != 202);
    assert_eq!(refused, Some(503), "it refuses, and goes on");
    prlimit(Some(pid), Resource::Fsize, before).expect("our child");
    until("events are taken again", || {
        (post("100".to_owned()) == 202).then_some(())
    });
    server.signal("-TERM");
    let (status, log) = server.wait();
    assert!(status.success(), "{log}");
}
