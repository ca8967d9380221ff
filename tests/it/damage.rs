//! Payloads that a disk has damaged are never delivered.

use std::path::Path;
use std::sync::Arc;

use relay::config::Ordering as Order;
use relay::model::OnDead;

use crate::commands::output_of;
use crate::needs_a_file;
use crate::support::{
    Answer, Process, Receiver, TestRelay, config, event_id, event_with_status, orders, outcomes,
    relay_id, relay_to, relay_with_status,
};

/// A text that stands nowhere else.
const MARK: &str = "a-payload-that-nobody-else-has";

/// The places of a text in a file.
pub fn places(file: &Path, text: &[u8]) -> Vec<usize> {
    let bytes = std::fs::read(file).unwrap_or_default();
    let windows = bytes.windows(text.len()).enumerate();
    windows
        .filter(|(_, window)| *window == text)
        .map(|(at, _)| at)
        .collect()
}

/// Flips a bit of a file where a text begins.
fn flip(file: &Path, text: &[u8]) {
    let mut bytes = std::fs::read(file).expect("the file");
    let places = places(file, text);
    assert!(!places.is_empty(), "the text is in the file");
    for at in places {
        bytes[at] ^= 1;
    }
    std::fs::write(file, bytes).expect("the file");
}

/// A relay that was stopped with two events waiting, of one order each: a damaged one, and another.
fn damaged(size: usize, damage: impl FnOnce(&Path)) -> (Receiver, TestRelay, [String; 2]) {
    let receiver = Receiver::start(|_| Answer::status(200));
    let mut relay = TestRelay::start_with(&receiver.url("/"), |config| {
        config.delivery.level = Some(relay::model::Level::Off);
    });
    let filler = "x".repeat(size);
    let ids = [MARK, "another"].map(|mark| {
        let body = format!("{{\"id\":1,\"filler\":\"{filler}\",\"mark\":\"{mark}\"}}");
        event_id(&relay.client.hook(mark, body.as_bytes()))
    });
    relay.stop();
    damage(&relay.directory.path().join("relay.db"));
    let mut settings = config(relay.directory.path(), &receiver.url("/"));
    orders(&mut settings).ordering = Some(Order {
        on_dead: OnDead::Block,
        ..Order::by("/id")
    });
    let relay = TestRelay::start_in(Arc::clone(&relay.directory), settings, None);
    (receiver, relay, ids)
}

#[test]
fn a_payload_with_a_flipped_bit_is_dead_lettered_and_never_sent() {
    needs_a_file!("bytes of the file are damaged");
    // One within its row, one loaded by the dispatcher from further pages, one by the worker.
    for size in [10, 6_000, 100_000] {
        let (receiver, relay, ids) = damaged(size, |database| flip(database, MARK.as_bytes()));
        let dead = event_with_status(&relay.client, &ids[0], "dead_lettered");
        let error = dead["last_error"].as_str().expect("a reason");
        assert!(error.starts_with("payload_damaged"), "{error}");
        assert_eq!(outcomes(&dead), ["permanent"], "it is not tried again");
        // The next one goes, and is the only one that arrives.
        event_with_status(&relay.client, &ids[1], "delivered");
        let body = receiver.next().body;
        assert!(String::from_utf8_lossy(&body).contains("another"));
        let admin = relay.admin();
        let counted = admin.get("/metrics").text();
        assert!(
            counted
                .contains("relay_attempts_total{destination=\"orders\",outcome=\"permanent\"} 1")
        );
    }
}

#[test]
fn swapped_payloads_are_dead_lettered_both() {
    needs_a_file!("bytes of the file are damaged");
    let (receiver, relay, ids) = damaged(10, |database| {
        let sql = rusqlite::Connection::open(database).expect("the database");
        sql.execute_batch(
            "CREATE TEMP TABLE old AS SELECT id, body FROM intents;
             UPDATE intents SET body = (SELECT body FROM old WHERE old.id <> intents.id);",
        )
        .expect("a swap");
    });
    for id in &ids {
        event_with_status(&relay.client, id, "dead_lettered");
    }
    assert!(
        receiver
            .next_within(std::time::Duration::from_millis(200))
            .is_none()
    );
}

/// Where a disk has damaged one payload, there may be thousands.
#[test]
fn a_series_of_damaged_payloads_is_one_line_of_the_log() {
    needs_a_file!("bytes of the file are damaged");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let receiver = Receiver::start(|_| Answer::status(200));
    let toml = |level: &str| {
        format!(
            "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = ''\n\
             [database]\nmin_free_bytes = '0'\n[api]\nkeys = ['test-key']\n\
             [delivery]\nlevel = '{level}'\n[destinations.orders]\nurl = '{}'\n\
             [sources.github]\ndestinations = ['orders']\n",
            receiver.url("/")
        )
    };
    let stop = |server: Process| {
        server.signal("-TERM");
        let (status, log) = server.wait();
        assert!(status.success(), "{log}");
        log
    };
    let server = Process::serve(directory.path(), &toml("off"));
    let ids = ["1", "2"].map(|key| event_id(&server.client.hook(key, key.as_bytes())));
    stop(server);
    let sql = rusqlite::Connection::open(directory.path().join("relay.db")).expect("the database");
    sql.execute_batch("UPDATE intents SET body = x'33'")
        .expect("an update");
    drop(sql);
    let server = Process::serve(directory.path(), &toml("durable"));
    for id in &ids {
        event_with_status(&server.client, id, "dead_lettered");
    }
    // Deliveries begin before the server says that it listens.
    let log = server.begun.clone() + &stop(server);
    assert_eq!(log.matches("a payload is damaged").count(), 1, "{log}");
}

#[test]
fn a_payload_from_before_checksums_is_sent_and_counted() {
    needs_a_file!("bytes of the file are damaged");
    let (receiver, relay, ids) = damaged(10, |database| {
        let sql = rusqlite::Connection::open(database).expect("the database");
        sql.execute_batch(
            "UPDATE intents SET checksum = NULL;
             INSERT INTO settings SELECT 'unchecked_to', max(id) FROM intents;",
        )
        .expect("an update");
    });
    for id in &ids {
        event_with_status(&relay.client, id, "delivered");
    }
    receiver.next();
}

#[test]
fn a_damaged_dead_letter_does_not_block_its_order() {
    needs_a_file!("bytes of the file are damaged");
    let (_receiver, relay, ids) = damaged(10, |database| {
        flip(database, MARK.as_bytes());
        // Both in one line, as the ordering of the next start would have put them.
        let sql = rusqlite::Connection::open(database).expect("the database");
        sql.execute_batch(
            "UPDATE deliveries SET order_key = 7, place = intent_id;
             UPDATE deliveries SET next_attempt_at = 9223372036854775807
             WHERE intent_id = (SELECT max(intent_id) FROM deliveries);",
        )
        .expect("an update");
    });
    event_with_status(&relay.client, &ids[0], "dead_lettered");
    event_with_status(&relay.client, &ids[1], "delivered");
}

/// A client learns what became of its relay, and of the others of the page.
#[test]
fn a_relay_whose_payload_is_no_object_any_more_is_shown_without_it() {
    needs_a_file!("bytes of the file are damaged");
    let receiver = Receiver::start(|_| Answer::status(200));
    let mut relay = TestRelay::start_with(&receiver.url("/"), |config| {
        config.delivery.level = Some(relay::model::Level::Off);
    });
    let body = relay_to(&receiver.url("/"), "{\"n\":1}");
    let ids = ["a", "b", "c"].map(|key| {
        let created = relay.client.create(&[("Idempotency-Key", key)], &body);
        (key, relay_id(&created))
    });
    relay.stop();
    let sql = rusqlite::Connection::open(relay.directory.path().join("relay.db"));
    sql.expect("the database")
        .execute_batch(
            "UPDATE intents SET body = CAST('{\"n\":' AS BLOB), metadata = 'no' WHERE rowid =
                 (SELECT min(rowid) FROM intents);
             UPDATE intents SET body = CAST('7' AS BLOB) WHERE rowid =
                 (SELECT max(rowid) FROM intents)",
        )
        .expect("an update");
    let settings = config(relay.directory.path(), &receiver.url("/"));
    let relay = TestRelay::start_in(Arc::clone(&relay.directory), settings, None);
    for (key, id) in &ids {
        let is_damaged = *key != "b";
        let status = if is_damaged { "failed" } else { "delivered" };
        let shown = relay_with_status(&relay.client, id, status);
        assert_eq!(shown["payload"] == serde_json::json!({}), is_damaged);
        let reason = shown["failureReason"].as_str().unwrap_or_default();
        assert_eq!(reason.starts_with("payload_damaged"), is_damaged, "{shown}");
        // The same key once more shows it as well.
        let again = relay.client.create(&[("Idempotency-Key", *key)], &body);
        assert_eq!((again.status, &again.json()["id"]), (201, &shown["id"]));
    }
    let page = relay.client.get("/v1/relays").json();
    assert_eq!(page["items"].as_array().map(Vec::len), Some(3), "{page}");
}

/// Damages each of these columns in the oldest event of each surface, so that they are no UTF-8 any
/// more.
fn damage_texts(directory: &Path, table: &str, columns: &[&str]) {
    let sql = rusqlite::Connection::open(directory.join("relay.db")).expect("the database");
    let id = if table == "intents" {
        "id"
    } else {
        "intent_id"
    };
    for column in columns {
        let changed = sql.execute(
            &format!(
                "UPDATE {table} SET {column} = CAST(x'ff' || CAST({column} AS BLOB) AS TEXT)
                 WHERE {id} IN (SELECT min(id) FROM intents GROUP BY surface)
                   AND {column} IS NOT NULL"
            ),
            [],
        );
        assert!(changed.expect("an update") > 0, "{column} has a text");
    }
}

/// The row alone suffers: not the start, not the others of its page, and no command.
#[test]
fn texts_that_are_damaged_fail_neither_a_start_nor_a_page_nor_a_command() {
    needs_a_file!("bytes of the file are damaged");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let receiver = Receiver::start(|_| Answer::status(200));
    let toml = |level: &str| {
        format!(
            "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = ''\n\
             [database]\nmin_free_bytes = '0'\n[api]\nkeys = ['test-key']\n\
             [delivery]\nlevel = '{level}'\nallow_networks = ['127.0.0.0/8']\n\
             [destinations.orders]\nurl = '{url}'\n\
             [sources.github]\ndestinations = ['orders']\nforward_query = 'append'\n\
             event_type = {{ json_pointer = '/type' }}\n",
            url = receiver.url("/")
        )
    };
    let server = Process::serve(path, &toml("off"));
    let create = |server: &Process, key: &str| {
        let body = relay_to(&receiver.url("/"), "{}");
        let body = body.replace("\"payload\"", "\"metadata\":{\"m\":\"1\"},\"payload\"");
        server.client.create(&[("Idempotency-Key", key)], &body)
    };
    let relays = ["a", "b"].map(|key| relay_id(&create(&server, key)));
    let events = ["1", "2", "3"].map(|key| {
        let headers = [("Idempotency-Key", key)];
        let path = "/webhooks/github?a=1";
        event_id(
            &server
                .client
                .send("POST", path, &headers, b"{\"type\":\"t\"}"),
        )
    });
    server.signal("-TERM");
    server.wait();
    let columns = [
        "label",
        "url",
        "event_type",
        "query",
        "metadata",
        "idempotency_key",
    ];
    damage_texts(path, "intents", &columns);
    let sql = rusqlite::Connection::open(path.join("relay.db")).expect("the database");
    sql.execute_batch(
        "INSERT INTO learned_secrets (source, secret, learned_at)
             VALUES ('github', CAST(x'ff' AS TEXT), 1);
         INSERT INTO destinations (id, name) VALUES (99, CAST(x'ff' AS TEXT));
         INSERT INTO deliveries (intent_id, destination_id, state, next_attempt_at, updated_at)
             SELECT max(id), 99, 0, 1, 1 FROM intents",
    )
    .expect("good SQL");
    drop(sql);
    let server = Process::serve(path, &toml("durable"));
    for (nth, (relay, event)) in relays.iter().zip(&events).enumerate() {
        let is_damaged = nth == 0;
        let status = if is_damaged {
            "dead_lettered"
        } else {
            "delivered"
        };
        let shown = event_with_status(&server.client, event, status);
        let status = if is_damaged { "failed" } else { "delivered" };
        let relay = relay_with_status(&server.client, relay, status);
        for reason in [&shown["last_error"], &relay["failureReason"]] {
            let reason = reason.as_str().unwrap_or_default();
            assert_eq!(
                reason.starts_with("payload_damaged"),
                is_damaged,
                "{reason}"
            );
        }
    }
    // The damaged ones were not sent.
    receiver.next();
    receiver.next();
    let page = server.client.get("/v1/relays").json();
    assert_eq!(page["items"].as_array().map(Vec::len), Some(2), "{page}");
    server.signal("-TERM");
    server.wait();
    damage_texts(path, "deliveries", &["last_error"]);
    damage_texts(path, "attempts", &["error", "failure", "next"]);
    assert_eq!(output_of(path, &["list", "--json"]).lines().count(), 6);
    output_of(path, &["stats"]);
    assert!(output_of(path, &["show", &events[0]]).contains("payload_damaged"));
    assert!(output_of(path, &["show", &relays[0]]).contains("payload_damaged"));
    assert_eq!(output_of(path, &["export"]).lines().count(), 6);
    output_of(path, &["erase", "--yes", &events[0]]);
}
