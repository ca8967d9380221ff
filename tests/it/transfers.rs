//! `relay export` and `relay import`.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;
use rusqlite::types::Value as Sql;
use serde_json::Value;

use crate::commands::{error_of, output_of};
use crate::needs_a_file;
use crate::support::{
    Answer, Process, Receiver, event_id, event_with_status, relay_id, relay_to, relay_with_status,
    until,
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
    let typed = [("idempotency-key", "unrouted"), ("x-type", "other")];
    event_id(&client.send("POST", "/webhooks/nobody", &typed, b"{}"));
    drop(server);
    (receiver, toml)
}

/// Gives columns a value that few events have.
fn fill_columns(path: &Path) {
    let sql = Connection::open(path.join("relay.db")).expect("the database");
    sql.execute_batch(
        "UPDATE intents SET query = 'a=1' WHERE surface = 1;
         UPDATE intents SET metadata = '{\"m\":1}' WHERE surface = 0;
         UPDATE attempts SET failure = 'status', error = 'why', address = '127.0.0.1', next = 'so',
                             resolve_ms = 1, tls_ms = 2, connect_ms = 3, first_byte_ms = 4",
    )
    .expect("good SQL");
}

/// The lines of an export of all, without the header.
fn exported(path: &Path) -> Vec<Value> {
    let text = output_of(path, &["export"]);
    let lines = text.lines().skip(1);
    lines
        .map(|line| {
            let mut event: Value = serde_json::from_str(line).expect("JSON");
            if event["payload"] == "" {
                // An import makes one for a payload that is no more.
                event.as_object_mut().expect("an object").remove("checksum");
            }
            event
        })
        .collect()
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

const HEADER: &str = "{\"relay_export\":1,\"exported_at\":\"2026-01-01T00:00:00Z\"}\n";

const VIEWS: [&str; 3] = ["relay_events", "relay_deliveries", "relay_attempts"];

#[test]
fn an_export_into_an_empty_relay_gives_the_same_states() {
    needs_a_file!("its rows are compared");
    let from = tempfile::tempdir().expect("a temporary directory");
    let (_receiver, toml) = filled(from.path());
    fill_columns(from.path());
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
        "imported 7, skipped 0 that are there\n"
    );
    for view in VIEWS {
        let (before, after) = (rows(from.path(), view), rows(to.path(), view));
        assert!(before.len() >= 5, "{view}");
        assert_eq!(before, after, "{view}");
    }
    assert_eq!(exported(from.path()), exported(to.path()));
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
        "imported 0, skipped 7 that are there\n"
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
fn an_export_by_id_heeds_the_filters_of_deliveries_and_writes_an_event_once() {
    let from = tempfile::tempdir().expect("a temporary directory");
    let (_receiver, _) = filled(from.path());
    let with = |arguments: &[&str]| {
        let text = output_of(from.path(), &[&["export"], arguments].concat());
        text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let event: Value = serde_json::from_str(&with(&["--status", "retrying"])[0]).expect("JSON");
    let id = event["id"].as_str().expect("an id");
    assert_eq!(with(&[id, id]).len(), 1);
    assert_eq!(with(&[id, "--status", "retrying"]).len(), 1);
    assert_eq!(with(&[id, "--destination", "orders"]).len(), 1);
    assert_eq!(with(&[id, "--status", "delivered"]).len(), 0);
    let elsewhere = exported(from.path())
        .into_iter()
        .find_map(|event| {
            let name = event["deliveries"][0]["destination"].as_str()?;
            (name != "orders").then(|| name.to_owned())
        })
        .expect("a relay's origin");
    assert_eq!(with(&[id, "--destination", &elsewhere]).len(), 0);
}

#[test]
fn a_wrong_line_is_refused_with_its_number() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    std::fs::write(path.join("relay.toml"), toml("http://127.0.0.1:9/", "")).expect("the file");
    for (text, expected) in [
        (String::new(), "line 1: "),
        (
            "{\"id\":1}\n".to_owned(),
            "expected the first line of an export",
        ),
        (HEADER.replace(":1,", ":2,"), "relay_export: 2: expected 1"),
        (format!("{HEADER}{{\n"), "line 2: "),
        (
            format!("{HEADER}\n{{\"id\":\"x\"}}\n"),
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

#[test]
fn deliveries_that_keep_waiting_are_sent_by_the_server_beside_the_import() {
    let from = tempfile::tempdir().expect("a temporary directory");
    let receiver = Receiver::start(|_| Answer::status(200));
    let toml = toml(&receiver.url("/"), "");
    let server = Process::serve(from.path(), &toml);
    output_of(from.path(), &["pause", "orders"]);
    let ids = ["1", "2"].map(|key| event_id(&server.client.hook(key, b"{}")));
    drop(server);
    let text = output_of(from.path(), &["export"]);
    let to = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(to.path().join("in.jsonl"), text).expect("the file");
    let server = Process::serve(to.path(), &toml);
    output_of(to.path(), &["import", "--pending", "in.jsonl"]);
    for id in &ids {
        event_with_status(&server.client, id, "delivered");
    }
    // A second import sends nothing again.
    output_of(to.path(), &["import", "--pending", "in.jsonl"]);
    let later = event_id(&server.client.hook("3", b"{}"));
    event_with_status(&server.client, &later, "delivered");
    let mut arrived = 0;
    while receiver.next_within(std::time::Duration::ZERO).is_some() {
        arrived += 1;
    }
    assert_eq!(arrived, 3);
}

#[test]
fn an_order_is_the_same_in_whatever_order_the_lines_come() {
    needs_a_file!("its rows are compared");
    let from = tempfile::tempdir().expect("a temporary directory");
    let receiver = Receiver::start(|_| Answer::status(400));
    let ordering = "ordering = { by = '/id', on_dead = 'block' }\n";
    let toml = toml(&receiver.url("/"), ordering);
    let server = Process::serve(from.path(), &toml);
    let ids = ["first", "second", "third"].map(|key| {
        event_id(
            &server
                .client
                .hook(key, format!("{{\"id\":1,\"k\":\"{key}\"}}").as_bytes()),
        )
    });
    event_with_status(&server.client, &ids[0], "dead_lettered");
    server.signal("-TERM");
    server.wait();
    let text = output_of(from.path(), &["export"]);
    let mut lines: Vec<&str> = text.lines().collect();
    lines[1..].reverse();
    let to = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(to.path().join("relay.toml"), &toml).expect("the file");
    // As an editor of another system leaves it.
    std::fs::write(to.path().join("in.jsonl"), lines.join("\r\n")).expect("the file");
    output_of(to.path(), &["import", "--pending", "in.jsonl"]);
    for view in VIEWS {
        let (before, after) = (rows(from.path(), view), rows(to.path(), view));
        assert_eq!(before, after, "{view}");
    }
    // A place in the order is shown by no view.
    assert_eq!(exported(from.path()), exported(to.path()));
    let waits = rows(
        to.path(),
        "(SELECT event, waits_in_order, 0 FROM relay_deliveries)",
    );
    let waits: Vec<&Sql> = waits.iter().map(|row| &row[1]).collect();
    assert_eq!(
        waits,
        [&Sql::Integer(0), &Sql::Integer(1), &Sql::Integer(1)]
    );
}

#[test]
fn an_event_whose_place_is_taken_is_told_and_not_called_imported() {
    let from = tempfile::tempdir().expect("a temporary directory");
    let (_receiver, _) = filled(from.path());
    let text = output_of(from.path(), &["export", "--output", "-"]);
    let id = exported(from.path())[0]["id"].clone();
    let id = id.as_str().expect("an id");
    // An event of another relay, accepted in the same millisecond.
    let last = if id.ends_with('0') { '1' } else { '0' };
    let other = format!("{}{last}", &id[..id.len() - 1]);
    let path = from.path().join("in.jsonl");
    std::fs::write(path, text.replace(id, &other)).expect("the file");
    let output = Process::command(from.path())
        .args(["import", "in.jsonl"])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("1 events are not imported") && said.contains(&other),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(told, "imported 0, skipped 6 that are there\n");
}

#[test]
fn a_payload_that_was_damaged_on_the_way_is_not_sent() {
    let from = tempfile::tempdir().expect("a temporary directory");
    let (receiver, toml) = filled(from.path());
    let text = output_of(from.path(), &["export", "--status", "retrying"]);
    let damaged = text.replace("{\\\"a\\\"", "{\\\"b\\\"");
    assert_ne!(damaged, text);
    let event: Value = serde_json::from_str(text.lines().nth(1).expect("one")).expect("JSON");
    let to = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(to.path().join("relay.toml"), &toml).expect("the file");
    std::fs::write(to.path().join("in.jsonl"), damaged).expect("the file");
    output_of(to.path(), &["import", "in.jsonl"]);
    while receiver.next_within(std::time::Duration::ZERO).is_some() {}
    let server = Process::serve(to.path(), &toml);
    output_of(to.path(), &["replay", "--dead", "--reason", "imported"]);
    let path = format!("/events/{}", event["id"].as_str().expect("an id"));
    until("it is found to be damaged", || {
        let shown = server.client.get(&path).json();
        let error = shown["last_error"].as_str().unwrap_or_default();
        error.starts_with("payload_damaged").then_some(())
    });
    assert!(receiver.next_within(std::time::Duration::ZERO).is_none());
}

#[test]
fn an_export_that_fails_leaves_no_file() {
    let from = tempfile::tempdir().expect("a temporary directory");
    let (_receiver, _) = filled(from.path());
    let known = exported(from.path());
    let known = known[0]["id"].as_str().expect("an id");
    let unknown = "evt_01890a5d-ac96-774b-bcce-b302099a8057";
    let args = ["export", "--output", "part.jsonl", known, unknown];
    let (text, code) = error_of(from.path(), &args);
    assert!(
        text.contains("there is no relay or event") && code == Some(1),
        "{text}"
    );
    assert!(!from.path().join("part.jsonl").exists());
}

#[test]
fn an_import_changes_nothing_while_a_restore_is_interrupted() {
    needs_a_file!("a restore of the file is interrupted");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    std::fs::write(path.join("relay.toml"), toml("http://127.0.0.1:9/", "")).expect("the file");
    std::fs::write(path.join("in.jsonl"), HEADER).expect("the file");
    std::fs::write(path.join("relay.db.restore"), "{}").expect("the file");
    let (text, code) = error_of(path, &["import", "in.jsonl"]);
    assert!(
        text.contains("a restore was interrupted") && code == Some(1),
        "{text}"
    );
    assert!(!path.join("relay.db").exists());
}

#[test]
fn a_database_that_the_superuser_imports_belongs_to_the_owner_of_its_directory() {
    needs_a_file!("the owner of the file is under test");
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    std::fs::write(path.join("relay.toml"), toml("http://127.0.0.1:9/", "")).expect("the file");
    std::fs::write(path.join("in.jsonl"), HEADER).expect("the file");
    chown(path, Some(1234), Some(4321)).expect("root may");
    output_of(path, &["import", "in.jsonl"]);
    for entry in std::fs::read_dir(path).expect("a directory") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("relay.db") {
            let owner = entry.metadata().expect("a file");
            assert_eq!((owner.uid(), owner.gid()), (1234, 4321), "{name}");
        }
    }
}
