//! Tests of destinations, asked for at the admin API.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use relay::clock::{FakeClock, Timestamp};
use relay::config::Secret;
use serde_json::Value;

use crate::needs_a_file;
use crate::support::{Answer, Client, Receiver, Reply, TestRelay, config, off, orders};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const PING: &str = "/api/destinations/orders/ping";
const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn post(admin: &Client, path: &str) -> Reply {
    admin.send("POST", path, &[JSON], b"{}")
}

fn ping(admin: &Client, clock: &FakeClock) -> Value {
    clock.advance(Duration::from_secs(1));
    let reply = post(admin, PING);
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

#[test]
fn a_ping_is_one_signed_attempt_that_leaves_no_trace() {
    let status = Arc::new(AtomicU16::new(200));
    let receiver = {
        let status = Arc::clone(&status);
        Receiver::start(move |_| Answer::status(status.load(Ordering::SeqCst)).body("seen"))
    };
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let mut settings = config(directory.path(), &receiver.url("/hook"));
    orders(&mut settings).secrets = vec![Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")];
    let clock = Arc::new(FakeClock::at(START));
    let relay = TestRelay::start_in(directory, settings, Some(Arc::clone(&clock)));
    let admin = relay.admin();

    let report = ping(&admin, &clock);
    assert_eq!(
        (&report["is_delivered"], &report["status_code"]),
        (&true.into(), &200.into())
    );
    assert_eq!(report["response"], "seen");
    assert!(
        report["failure"].is_null() && report["duration_ms"].is_u64(),
        "{report}"
    );
    let arrival = receiver.next();
    let id = report["id"].as_str().expect("an id");
    assert!(id.starts_with("ping_"), "{id}");
    assert_eq!(arrival.header("webhook-id"), id);
    assert_eq!(arrival.header("relay-event-type"), "relay.ping");
    assert_eq!(arrival.header("content-type"), "application/json");
    assert!(arrival.header("webhook-signature").starts_with("v1,"));
    let body: Value = serde_json::from_slice(&arrival.body).expect("JSON");
    assert_eq!(
        (&body["type"], &body["data"]["destination"]),
        (&"relay.ping".into(), &"orders".into())
    );
    assert_eq!(arrival.path, "/hook");

    // Neither a failure, nor a 410, changes anything; and a pause is no obstacle.
    for code in [500_u16, 410] {
        status.store(code, Ordering::SeqCst);
        let report = ping(&admin, &clock);
        assert_eq!(report["is_delivered"], false);
        assert_eq!(
            (&report["status_code"], &report["failure"]),
            (&code.into(), &"status".into())
        );
        let destination = admin.get("/api/destinations/orders").json();
        assert_eq!(destination["state"], "active", "{destination}");
    }
    assert_eq!(post(&admin, "/api/destinations/orders/pause").status, 200);
    assert_eq!(ping(&admin, &clock)["status_code"], 410);
    let stored: i64 = relay.peek("SELECT count(*) FROM intents");
    assert_eq!(stored, 0);
}

#[test]
fn a_destination_is_pinged_once_a_second() {
    let receiver = Receiver::start(|_| Answer::status(200));
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let settings = config(directory.path(), &receiver.url("/"));
    let clock = Arc::new(FakeClock::at(START));
    let relay = TestRelay::start_in(directory, settings, Some(Arc::clone(&clock)));
    let admin = relay.admin();
    ping(&admin, &clock);
    let refused = post(&admin, PING);
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (429, Some("1"))
    );
    ping(&admin, &clock);
    assert_eq!(post(&admin, "/api/destinations/nobody/ping").status, 404);
    let odd = admin.send("POST", PING, &[JSON], b"{\"reason\":\"x\"}");
    assert_eq!(odd.status, 400, "{}", odd.text());
}

#[test]
fn a_ping_that_nothing_answers_says_why() {
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    // Port 1: nobody listens there.
    let settings = config(directory.path(), "http://127.0.0.1:1/");
    let relay = TestRelay::start_in(directory, settings, None);
    let report = post(&relay.admin(), PING).json();
    assert_eq!(
        (&report["is_delivered"], &report["failure"]),
        (&false.into(), &"refused".into())
    );
    assert!(
        report["error"].is_string() && report["status_code"].is_null(),
        "{report}"
    );
}

#[test]
fn a_relay_that_is_held_pings_nobody() {
    needs_a_file!("a hold follows a restore of the file");
    let mut relay = TestRelay::start_with("http://127.0.0.1:1/", |_| {});
    relay.stop();
    let path = relay.directory.path().join("relay.db");
    let database = rusqlite::Connection::open(path).expect("the database opens");
    // A hold that can't be read is one.
    database
        .execute("INSERT INTO settings VALUES ('held', '{}')", [])
        .expect("a hold");
    drop(database);
    let settings = config(relay.directory.path(), "http://127.0.0.1:1/");
    let relay = TestRelay::start_in(Arc::clone(&relay.directory), settings, None);
    let refused = post(&relay.admin(), PING);
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.text().contains("held"), "{}", refused.text());
    // Nor does the console; a build without it has no such path.
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let same_origin = ("Sec-Fetch-Site", "same-origin");
    let path = "/destinations/orders/ping";
    let refused = relay.admin().send("POST", path, &[form, same_origin], b"");
    assert!(matches!(refused.status, 404 | 409), "{}", refused.text());
}

#[test]
fn a_relay_that_contacts_nobody_refuses_a_ping() {
    let relay = TestRelay::start_with("http://127.0.0.1:9/", off);
    let refused = post(&relay.admin(), PING);
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(
        refused.text().contains("delivery.level is off"),
        "{}",
        refused.text()
    );
}
