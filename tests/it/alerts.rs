//! Alerts and the heartbeat of a real server, to scripted receivers.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::needs_a_file;
use crate::support::{Answer, Arrival, Process, Receiver, until};

/// A relay.toml with a destination that is broken at will, a digest of alerts, and a heartbeat.
fn toml(orders: &Receiver, ops: &Receiver, more: &str) -> String {
    format!(
        "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n\
         [database]\nmin_free_bytes = '0'\n[api]\nkeys = ['test-key']\n\
         [destinations.orders]\nurl = '{}'\nbreaker = {{ failures = 5, probe_after = '1s' }}\n\
         [destinations.ops]\nurl = '{}'\n\
         [sources.'*']\ndestinations = ['orders']\n[alerts]\n{more}\n",
        orders.url("/orders"),
        ops.url("/ops")
    )
}

/// Posts an event to a source; the status of the answer.
fn post(server: &Process, source: &str, key: usize) -> u16 {
    let request = format!(
        "POST /webhooks/{source} HTTP/1.1\r\nHost: a\r\nIdempotency-Key: {key}\r\n\
         Content-Length: 2\r\n\r\n{{}}"
    );
    let mut connection = server.client.connect();
    assert!(connection.send(request.as_bytes()));
    connection.reply().expect("an answer").status
}

/// The requests that arrived at a receiver so far.
struct Arrived {
    receiver: Receiver,
    seen: Vec<Arrival>,
}

impl Arrived {
    fn at(answer: u16) -> Self {
        Self {
            receiver: Receiver::start(move |_| Answer::status(answer)),
            seen: Vec::new(),
        }
    }

    /// Waits until this many have arrived.
    fn wait_for(&mut self, count: usize) {
        until("the arrivals", || {
            self.look();
            (self.seen.len() >= count).then_some(())
        });
    }

    fn look(&mut self) -> usize {
        while let Some(arrival) = self.receiver.next_within(Duration::from_millis(1)) {
            self.seen.push(arrival);
        }
        self.seen.len()
    }

    fn bodies(&self) -> Vec<Value> {
        let bodies = self.seen.iter().map(|arrival| &arrival.body);
        bodies
            .map(|body| serde_json::from_slice(body).expect("JSON"))
            .collect()
    }
}

/// Lets real time pass: a server looks for alerts every two seconds.
fn pass(seconds: u64) {
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

#[test]
fn a_day_of_trouble_is_told_once_and_a_kill_repeats_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let status = Arc::new(AtomicU16::new(400));
    let answered = Arc::clone(&status);
    let orders = Receiver::start(move |_| Answer::status(answered.load(Ordering::SeqCst)));
    let mut ops = Arrived::at(200);
    let toml = toml(&orders, &ops.receiver, "destination = 'ops'");
    let server = Process::serve(directory.path(), &toml);
    // Nobody else makes an alert, though the catch-all takes any other name.
    assert_eq!(post(&server, "relay", 0), 404);
    for key in 0..30 {
        assert_eq!(post(&server, "shop", key), 202);
    }
    ops.wait_for(1);
    let digest = &ops.bodies()[0];
    assert_eq!(digest["type"], "delivery.dead_lettered");
    assert_eq!(digest["data"]["count"], 30, "{digest}");
    assert_eq!(digest["data"]["reasons"][0]["reason"], "answered 400");
    // Now the destination breaks for good.
    status.store(503, Ordering::SeqCst);
    for key in 30..40 {
        assert_eq!(post(&server, "shop", key), 202);
    }
    ops.wait_for(2);
    // The outcome of the alert's own delivery is durable by then.
    pass(2);
    server.kill();
    let server = Process::serve(directory.path(), &toml);
    // Long enough for several looks and a digest, if one were due.
    pass(15);
    ops.look();
    let types = ops.bodies().into_iter().map(|alert| alert["type"].clone());
    let types: Vec<_> = types.collect();
    assert_eq!(types, ["delivery.dead_lettered", "destination.failing"]);
    drop(server);
}

#[test]
fn an_alert_of_a_pause_is_a_text_for_slack() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut ops = Arrived::at(200);
    let more = "destination = 'ops'\nformat = 'slack'";
    let toml = toml(&ops.receiver, &ops.receiver, more);
    let server = Process::serve(directory.path(), &toml);
    let paused = Process::command(directory.path())
        .args(["pause", "orders", "--reason", "<!here> & there"])
        .status()
        .expect("the command runs");
    assert!(paused.success());
    ops.wait_for(1);
    let alert = &ops.bodies()[0];
    let text = alert["text"].as_str().expect("text");
    let expected = "*destination.paused* orders is paused: &lt;!here&gt; &amp; there";
    assert!(text.contains(expected), "{text}");
    drop(server);
}

fn serve_with_heartbeat(directory: &Path, switch: &Receiver, min_free: &str) -> Process {
    let more = "heartbeat = { url_env = 'HEARTBEAT_URL', every = '10s' }";
    let toml = toml(switch, switch, more).replace("min_free_bytes = '0'", min_free);
    let mut command = Process::command(directory);
    command.arg("serve");
    command.env("HEARTBEAT_URL", switch.url("/ping/very-secret"));
    Process::serve_by(command, directory, &toml)
}

#[test]
fn a_heartbeat_is_sent_while_the_writer_commits() {
    needs_a_file!("a lock on the file holds the writer");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut switch = Arrived::at(200);
    let min_free = "min_free_bytes = '0'";
    let mut server = serve_with_heartbeat(directory.path(), &switch.receiver, min_free);
    switch.wait_for(1);
    assert_eq!(switch.seen[0].path, "/ping/very-secret");
    // Another process holds the database: the writer refuses the commits that it is asked for.
    let other = rusqlite::Connection::open(directory.path().join("relay.db")).expect("a database");
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    let log = server.read_until("no heartbeat is sent");
    assert_eq!(switch.look(), 1);
    assert!(!log.contains("very-secret"), "{log}");
    other.execute_batch("ROLLBACK").expect("the end");
    let log = server.read_until("heartbeats are sent again");
    switch.wait_for(2);
    assert!(!log.contains("very-secret"), "{log}");
}

#[test]
fn no_heartbeat_is_sent_with_too_little_free_space() {
    needs_a_file!("the disk is the server's");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut switch = Arrived::at(200);
    let min_free = "min_free_bytes = '8000000000GiB'";
    let mut server = serve_with_heartbeat(directory.path(), &switch.receiver, min_free);
    let log = server.read_until("no heartbeat is sent");
    assert!(log.contains("too little free space"), "{log}");
    assert_eq!(switch.look(), 0);
}
