//! `relay export` and `relay import`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;
use rusqlite::types::Value as Sql;
use serde_json::Value;

use crate::commands::{error_of, output_of};
use crate::support::{
    Answer, Process, Receiver, event_id, event_with_status, relay_id, relay_to, relay_with_status,
};

fn toml(url: &str, ordering: &str) -> String {
    format!(
        "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = ''\n[database]\nmin_free_bytes = '0'\n\
         [api]\nkeys = ['test-key']\n[delivery]\nlevel = 'durable'\nworkers = 4\n\
         allow_networks = ['127.0.0.0/8']\n[destinations.orders]\nurl = '{url}'\n\
         retry = {{ schedule = ['10h'] }}\n{ordering}[sources.github]\ndestinations = ['orders']\n\
         [sources.nobody]\nroutes = [{{ when = {{ type = ['never'] }}, to = ['orders'] }}]\n\
         event_type = {{ header = 'x-type' }}\n"
    )
}

/// A relay that was stopped with events in all states.
fn filled(path: &Path) -> (Receiver, String) {
    let fails = Arc::new(AtomicBool::new(false));
    let receiver = {
        let fails = Arc::clone(&fails);
        Receiver::start(move |arrival| {
            let is_dead = arrival.body.starts_with(b"{\"dead\"");
            let fails = fails.load(Ordering::SeqCst);
            Answer::status(if is_dead {
                410
            } else if fails {
                500
            } else {
                200
            })
            .body("an answer")
        })
    };
    let toml = toml(&receiver.url("/"), "");
    let server = Process::serve(path, &toml);
    let client = &server.client;
    let delivered = event_id(&client.hook("delivered", "{\"a\":\"ä\\u0001\"}".as_bytes()));
    event_with_status(client, &delivered, "delivered");
    let url = receiver.url("/x");
    let relayed = relay_id(&client.create(&[("idempotency-key", "k")], &relay_to(&url, "{}")));
    relay_with_status(client, &relayed, "delivered");
    let erased = event_id(&client.hook("erased", b"{}"));
    event_with_status(client, &erased, "delivered");
    output_of(path, &["erase", &erased]);
    let dead = event_id(&client.hook("dead", b"{\"dead\":1}"));
    event_with_status(client, &dead, "dead_lettered");
    output_of(path, &["resume", "orders"]);
    fails.store(true, Ordering::SeqCst);
    let waiting = event_id(&client.hook("waiting", b"{\"a\":\"\\u0000\"}"));
    event_with_status(client, &waiting, "retrying");
    let discarded = event_id(&client.hook("discarded", b"{}"));
    event_with_status(client, &discarded, "retrying");
    output_of(path, &["discard", "--pending", &discarded]);
    drop(server);
    (receiver, toml)
}

/// All rows of a view, in order.
fn rows(path: &Path, view: &str) -> Vec<Vec<Sql>> {
    let sql = Connection::open(path.join("relay.db")).expect("the database");
    let mut statement = sql
        .prepare(&format!("SELECT * FROM {view} ORDER BY 1, 2, 3"))
        .expect("a view");
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| (0..columns).map(|at| row.get(at)).collect());
    rows.expect("rows").collect::<Result<_, _>>().expect("rows")
}

const VIEWS: [&str; 3] = ["relay_events", "relay_deliveries", "relay_attempts"];

#[test]
fn an_export_into_an_empty_relay_gives_the_same_states() {
    let from = tempfile::tempdir().expect("a temporary directory");
    let (_receiver, toml) = filled(from.path());
    let to = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(to.path().join("relay.toml"), &toml).expect("the file");
    let file = to.path().join("export.jsonl");
    let name = file.to_str().expect("text");
    output_of(from.path(), &["export", "--output", name]);
    let mode = file.metadata().expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (text, code) = error_of(from.path(), &["export", "--output", name]);
    assert!(
        text.contains("expected the name of a new file") && code == Some(1),
        "{text}"
    );
    assert_eq!(
        output_of(to.path(), &["import", "--pending", name]),
        "imported 6, skipped 0 that are there\n"
    );
    for view in VIEWS {
        let (before, after) = (rows(from.path(), view), rows(to.path(), view));
        assert!(before.len() >= 5, "{view}");
        assert_eq!(before, after, "{view}");
    }
    let mode = to
        .path()
        .join("relay.db")
        .metadata()
        .expect("the file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        output_of(to.path(), &["import", "--pending", name]),
        "imported 0, skipped 6 that are there\n"
    );

    // It serves them: keys name them, and a dead letter can be sent.
    let server = Process::serve(to.path(), &toml);
    let again = event_id(
        &server
            .client
            .hook("delivered", "{\"a\":\"ä\\u0001\"}".as_bytes()),
    );
    let listed = output_of(to.path(), &["list", "--json", "--status", "delivered"]);
    assert!(listed.contains(&again), "{listed}");
    assert_eq!(output_of(to.path(), &["replay", "--dead"]), "replayed 1\n");
}

#[test]
fn deliveries_that_waited_come_in_as_dead_letters() {
    let from = tempfile::tempdir().expect("a temporary directory");
    let (_receiver, toml) = filled(from.path());
    let to = tempfile::tempdir().expect("a temporary directory");
    let text = output_of(from.path(), &["export", "--status", "retrying"]);
    assert_eq!(text.lines().count(), 2);
    std::fs::write(to.path().join("some.jsonl"), &text).expect("the file");
    std::fs::write(to.path().join("relay.toml"), &toml).expect("the file");
    let told = output_of(to.path(), &["import", "some.jsonl", "--json"]);
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(
        (&told["imported"], &told["given_up"]),
        (&1.into(), &1.into())
    );
    let listed = output_of(to.path(), &["list", "--json"]);
    assert!(listed.contains("\"dead_lettered\"") && listed.contains("imported while retrying"));
    let ids: Vec<Value> = text
        .lines()
        .skip(1)
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let id = ids[0]["id"].as_str().expect("an id");
    let alone = output_of(from.path(), &["export", id]);
    assert_eq!(alone.lines().nth(1), text.lines().nth(1));
}

#[test]
fn a_wrong_line_is_refused_with_its_number() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    std::fs::write(path.join("relay.toml"), toml("http://127.0.0.1:9/", "")).expect("the file");
    let header = "{\"relay_export\":1,\"exported_at\":\"2026-01-01T00:00:00Z\"}\n";
    for (text, expected) in [
        (String::new(), "line 1: "),
        (
            "{\"id\":1}\n".to_owned(),
            "expected the first line of an export",
        ),
        (header.replace(":1,", ":2,"), "relay_export: 2: expected 1"),
        (format!("{header}{{\n"), "line 2: "),
        (
            format!("{header}\n{{\"id\":\"x\"}}\n"),
            "line 3: missing field",
        ),
    ] {
        std::fs::write(path.join("in.jsonl"), text).expect("the file");
        let (told, code) = error_of(path, &["import", "in.jsonl"]);
        assert!(
            told.contains("in.jsonl: ") && told.contains(expected),
            "{told}"
        );
        assert_eq!(code, Some(1));
    }
    let (told, code) = error_of(path, &["import", "missing.jsonl"]);
    assert!(
        told.contains("missing.jsonl: ") && code == Some(1),
        "{told}"
    );
}

#[test]
fn an_import_beside_a_server_is_served_at_once() {
    let from = tempfile::tempdir().expect("a temporary directory");
    let (receiver, toml) = filled(from.path());
    let text = output_of(from.path(), &["export"]);
    let to = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(to.path().join("in.jsonl"), &text).expect("the file");
    let server = Process::serve(to.path(), &toml);
    output_of(to.path(), &["import", "in.jsonl"]);
    let known: Vec<Value> = text
        .lines()
        .skip(1)
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    for event in &known {
        let id = event["id"].as_str().expect("an id");
        if id.starts_with("evt_") {
            assert_eq!(server.client.get(&format!("/events/{id}")).status, 200);
        }
    }
    let waiting = known.last().expect("some")["id"].as_str().expect("an id");
    while receiver.next_within(std::time::Duration::ZERO).is_some() {}
    output_of(to.path(), &["replay", "--dead", "--reason", "imported"]);
    receiver.next();
    assert!(!waiting.is_empty());
    let fresh = event_id(&server.client.hook("fresh", b"{}"));
    assert!(!fresh.is_empty());
}
