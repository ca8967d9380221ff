//! The operator's commands, as processes of their own: beside a running server and without one.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::needs_a_file;
use crate::support::{Process, event_id, event_with_status, relay_id, relay_to, relay_with_status};

/// Level 1: events with the body [`FAIL`] are dead-lettered at once, all others are delivered.
const TOML: &str = "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = ''\n[database]\nmin_free_bytes = '0'\n\
    [api]\nkeys = ['test-key']\n[delivery]\nlevel = 'simulated'\nworkers = 4\nallow_networks = ['127.0.0.0/8']\nsimulated = { latency = '0s' }\n\
    [destinations.orders]\nurl = 'http://127.0.0.1:9/'\n[destinations.audit]\nurl = 'http://127.0.0.1:9/'\n\
    [sources.github]\ndestinations = ['orders']\n[sources.twice]\ndestinations = ['orders', 'audit']\n";
const FAIL: &[u8] = br#"{"simulate_failure":true}"#;

fn relay(directory: &Path, args: &[&str]) -> Output {
    Process::command(directory)
        .args(args)
        .output()
        .expect("the binary runs")
}

/// Runs a command that must succeed; returns its standard output.
pub fn output_of(directory: &Path, args: &[&str]) -> String {
    let output = relay(directory, args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}");
    String::from_utf8(output.stdout).expect("text")
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

/// Runs a command; returns its standard error, trimmed, and its exit code.
pub fn error_of(directory: &Path, args: &[&str]) -> (String, Option<i32>) {
    let output = relay(directory, args);
    let text = String::from_utf8(output.stderr).expect("text");
    (text.trim_end().to_owned(), output.status.code())
}

#[test]
fn dead_letters_are_listed_shown_replayed_and_discarded() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let server = Process::serve(path, TOML);
    let client = &server.client;
    let dead: Vec<String> = (0..5)
        .map(|key| {
            let id = event_id(&client.hook(&key.to_string(), FAIL));
            event_with_status(client, &id, "dead_lettered");
            id
        })
        .collect();
    let fine = event_id(&client.hook("fine", b"{}"));
    event_with_status(client, &fine, "delivered");
    let relayed = relay_id(&client.create(&[], &relay_to("http://127.0.0.1:9/x", "{}")));
    relay_with_status(client, &relayed, "delivered");

    let listed = json_lines(&output_of(path, &["list", "--json"]));
    assert_eq!(listed.len(), 7);
    assert_eq!(listed[0]["id"], relayed, "the latest first");
    assert_eq!(listed[0]["destination"], "http://127.0.0.1:9");
    let count = |args: &[&str]| {
        let all = [&["list", "--json"], args].concat();
        json_lines(&output_of(path, &all)).len()
    };
    assert_eq!(count(&["--status", "dead_lettered"]), 5);
    assert_eq!(count(&["--status", "delivered", "--source", "github"]), 1);
    assert_eq!(count(&["--destination", "orders", "--limit", "2"]), 2);
    assert_eq!(count(&["--since", "1h"]), 7);
    assert_eq!(count(&["--since", "2200-01-01T00:00:00Z"]), 0);
    let text = output_of(path, &["list", "--status", "dead_lettered"]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 1 + 5);
    let column = |heading| lines[0].find(heading).expect(heading);
    for line in &lines[1..] {
        for (heading, value) in [
            ("STATUS", "dead_lettered"),
            ("SOURCE OR TYPE", "github"),
            ("DESTINATION", "orders"),
            ("LAST ERROR", "simulated: failed as the payload asks"),
        ] {
            assert!(line[column(heading)..].starts_with(value), "{text}");
        }
    }

    let shown = output_of(path, &["show", &dead[0]]);
    for part in [
        dead[0].as_str(),
        "orders: dead_lettered, attempt 1 of 1",
        "Given up on orders after attempt 1",
        "permanent (400)",
        "status: simulated: failed as the payload asks",
        "then: given up: trying again would not help",
    ] {
        assert!(shown.contains(part), "{part} in\n{shown}");
    }
    let shown: Value =
        serde_json::from_str(&output_of(path, &["show", "--json", &relayed])).expect("JSON");
    assert_eq!(shown["deliveries"][0]["history"][0]["next"], "done");
    assert_eq!(shown["url"], "http://127.0.0.1:9/x");

    // A single event: each replay makes an attempt, and the history shows it.
    for round in 1..=2 {
        assert_eq!(output_of(path, &["replay", &dead[0]]), "replayed 1\n");
        let event = crate::support::until("it dies again", || {
            let event = event_with_status(client, &dead[0], "dead_lettered");
            let history = event["deliveries"][0]["history"].as_array()?;
            (history.len() == 1 + 2 * round).then(|| event.clone())
        });
        assert_eq!(event["attempts"], 1, "a fresh budget");
    }
    let (text, code) = error_of(path, &["replay", &fine]);
    assert!(
        text.contains("has no dead letter") && code == Some(1),
        "{text}"
    );

    // In bulk.
    let counted = output_of(
        path,
        &["replay", "--dead", "--destination", "orders", "--dry-run"],
    );
    assert!(
        counted.contains("       5  orders\n       5  in all; nothing was done"),
        "{counted}"
    );
    let unknown = "evt_019b76da-a800-7000-8000-000000000000";
    let (text, code) = error_of(path, &["discard", unknown, &dead[4], "--dry-run"]);
    assert!(text.contains("1 of 2 ids name no relay or event"), "{text}");
    assert_eq!(code, Some(1));
    assert_eq!(
        output_of(path, &["discard", &dead[4], "--dry-run"]),
        "nothing was done; it would be: discarded 1\n"
    );
    assert_eq!(output_of(path, &["discard", &dead[4]]), "discarded 1\n");
    let discarded = client.get(&format!("/events/{}", dead[4])).json();
    assert_eq!(discarded["payload"], Value::Null);
    let shown = output_of(path, &["show", &dead[4]]);
    assert!(
        shown.contains("payload     deleted, since all its deliveries were discarded\n"),
        "{shown}"
    );
    assert_eq!(
        output_of(path, &["replay", "--dead", "--source", "github"]),
        "replayed 4\n"
    );
    crate::support::until("all are dead again", || {
        (count(&["--status", "dead_lettered"]) == 4).then_some(())
    });
    assert_eq!(
        output_of(
            path,
            &["discard", "--dead", "--reason", "no such", "--json"]
        ),
        "{\"discarded\":0}\n"
    );
    assert_eq!(
        output_of(path, &["discard", "--dead", "--json"]),
        "{\"discarded\":4}\n"
    );
    assert_eq!(count(&["--status", "dead_lettered"]), 0);

    // Discards the delivery to one of two destinations; the other stays.
    let twice = client.send("POST", "/webhooks/twice", &[("Idempotency-Key", "t")], FAIL);
    let id = event_id(&twice);
    event_with_status(client, &id, "dead_lettered");
    assert_eq!(
        output_of(path, &["discard", "--dead", "--destination", "audit"]),
        "discarded 1\n"
    );
    let event = client.get(&format!("/events/{id}")).json();
    assert_eq!(event["deliveries"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        event["payload"]["simulate_failure"], true,
        "orders needs it"
    );
    server.signal("-TERM");
    assert!(server.wait().0.success());
}

#[test]
fn commands_that_act_print_one_document_for_programs() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let server = Process::serve(path, TOML);
    let public = server.client.address().to_string();
    // So that commands find the server.
    let toml = TOML.replacen("127.0.0.1:0", &public, 1);
    std::fs::write(path.join("relay.toml"), toml).expect("written");
    std::fs::write(path.join("payload"), "{}").expect("written");
    let document = |args: &[&str]| -> Value {
        let args = [args, &["--json"]].concat();
        serde_json::from_str(&output_of(path, &args)).expect("one document")
    };
    for is_changed in [true, false] {
        assert_eq!(
            document(&["pause", "orders"]),
            json!({ "ok": true, "destination": "orders", "is_changed": is_changed })
        );
    }
    let paused = json!([{ "destination": "orders", "reason": "by an operator" }]);
    assert_eq!(
        document(&["resume", "--all"]),
        json!({ "ok": true, "is_changed": false, "paused": paused })
    );
    assert_eq!(
        document(&["resume", "orders"]),
        json!({ "ok": true, "destination": "orders", "is_changed": true })
    );
    assert_eq!(document(&["health"])["status"], 200);
    let foreseen = document(&["send", "github", "payload", "--dry-run"]);
    assert_eq!(
        (&foreseen["destinations"], &foreseen["problem"]),
        (&json!(["orders"]), &Value::Null),
        "{foreseen}"
    );
    let sent = document(&["send", "github", "payload"]);
    assert_eq!(sent["ok"], true, "{sent}");
    assert!(sent["body"]["event_id"].is_string(), "{sent}");
    server.signal("-TERM");
    assert!(server.wait().0.success());
    needs_a_file!("PostgreSQL has no lock file");
    let unlocked = document(&["unlock", "--accept-data-loss"]);
    let lock_file = unlocked["lock_file"].as_str().expect("a path");
    assert!(lock_file.ends_with("relay.db.lock"), "{unlocked}");
}

#[test]
fn events_for_a_paused_destination_are_accepted_and_held() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let server = Process::serve(path, TOML);
    let client = &server.client;
    assert!(
        output_of(path, &["pause", "orders", "--reason", "moving house"])
            .contains("accepted and held")
    );
    assert!(output_of(path, &["pause", "orders"]).contains("already"));
    // The server notices the command's write within a second.
    let id = crate::support::until("one is held", || {
        let id = event_id(&client.hook(&next_key(), b"{}"));
        let event = client.get(&format!("/events/{id}")).json();
        let says = event["status_description"].as_str()?.to_owned();
        (event["status"] == "queued" && says.contains("paused: moving house")).then_some(id)
    });
    assert!(
        output_of(path, &["show", &id])
            .contains("Waits until orders is resumed; it is paused: moving house.")
    );
    // A client without a key sees the pause, but not the operator's reason.
    let stranger = client.send("GET", &format!("/events/{id}"), &[], b"");
    assert_eq!(
        stranger.json()["status_description"],
        "Waits until orders is resumed; it is paused."
    );
    let stats: Value = serde_json::from_str(&output_of(path, &["stats", "--json"])).expect("JSON");
    assert_eq!(stats["server"], true);
    let orders = &stats["destinations"][0];
    assert_eq!(
        (orders["destination"].as_str(), orders["state"].as_str()),
        (Some("orders"), Some("paused: moving house"))
    );
    assert!(
        orders["waiting"]
            .as_i64()
            .is_some_and(|waiting| waiting >= 1)
    );
    // Other destinations are not affected.
    let other = relay_id(&client.create(&[], &relay_to("http://127.0.0.1:9/", "{}")));
    relay_with_status(client, &other, "delivered");
    assert_eq!(
        output_of(path, &["resume", "orders"]),
        "orders is resumed\n"
    );
    event_with_status(client, &id, "delivered");
    assert_eq!(
        output_of(path, &["resume", "orders"]),
        "orders was neither paused nor held\n"
    );
    // A URL is reduced to its origin.
    let paused = output_of(path, &["pause", "HTTP://Example.com:80/hook"]);
    assert!(
        paused.starts_with("http://example.com is paused"),
        "{paused}"
    );
    let (text, code) = error_of(path, &["replay", "--dead", "--destination", "oders"]);
    assert!(
        text.contains("there is no such destination") && code == Some(1),
        "{text}"
    );
    let (text, code) = error_of(path, &["pause", "orders", "--reason", ""]);
    assert!(
        code == Some(2) && text.contains("expected 1 to 500 characters"),
        "{text}"
    );
    let (text, code) = error_of(path, &["pause", "oders"]);
    assert_eq!(code, Some(1));
    assert_eq!(
        text,
        "relay: \"oders\": there is no such destination; expected one of audit, orders, or an ad hoc origin such as https://example.com"
    );
}

fn next_key() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed).to_string()
}

#[test]
fn commands_work_without_a_server_and_refuse_missing_databases_and_other_schema_versions() {
    needs_a_file!("the file is missing, or of another version");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    std::fs::write(path.join("relay.toml"), TOML).expect("writing relay.toml");
    for args in [
        &["list"][..],
        &["stats"],
        &["show", "evt_01923456-789a-7000-8000-000000000000"],
        &["replay", "--dead"],
        &["replay", "--to", "orders"],
        &["retry", "--all"],
        &["discard", "--dead"],
        &["reroute", "--from", "audit", "--to", "orders"],
        &["pause", "orders"],
        &["resume", "orders"],
        &["cancel", "1"],
    ] {
        let (text, code) = error_of(path, args);
        assert!(
            text.contains("relay.db: there is no database here") && code == Some(1),
            "{args:?}: {text}"
        );
    }
    assert!(!path.join("relay.db").exists());

    let server = Process::serve(path, TOML);
    for key in 0..250 {
        server.client.hook(&key.to_string(), FAIL);
    }
    crate::support::until("all are dead", || {
        let listed = output_of(
            path,
            &[
                "list",
                "--json",
                "--status",
                "dead_lettered",
                "--limit",
                "1000",
            ],
        );
        (listed.lines().count() == 250).then_some(())
    });
    server.signal("-TERM");
    assert!(server.wait().0.success());

    // No server runs: the command does the work itself.
    assert_eq!(
        output_of(path, &["replay", "--dead", "--json"]),
        "{\"replayed\":250}\n"
    );
    let stats: Value = serde_json::from_str(&output_of(path, &["stats", "--json"])).expect("JSON");
    assert_eq!(
        (&stats["server"], &stats["destinations"][0]["waiting"]),
        (&false.into(), &250.into())
    );

    // A newer schema is refused, and so is an older one: a server of that version may be using it.
    for version in [99, 1] {
        let other = rusqlite::Connection::open(path.join("relay.db")).expect("the database");
        other
            .pragma_update(None, "user_version", version)
            .expect("a pragma");
        drop(other);
        for args in [&["list"][..], &["replay", "--dead"], &["pause", "orders"]] {
            let (text, code) = error_of(path, args);
            let says = format!("schema version {version}");
            assert!(text.contains(&says) && code == Some(1), "{args:?}: {text}");
        }
    }
}

#[test]
fn wrong_usage_says_what_was_expected() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (args, says) in [
        (&["replay"][..], "<ID>"),
        (&["replay", "not-an-id"], "expected a UUID of version 7"),
        (&["replay", "--destination", "orders"], "--dead"),
        (
            &["list", "--status", "lost"],
            "expected one of queued, processing, retrying, delivered, dead_lettered",
        ),
        (
            &["list", "--since", "yesterday"],
            "how long ago, such as 2h or 7d",
        ),
        (
            &["list", "--limit", "0"],
            "expected a whole number from 1 to 100000",
        ),
        (
            &["list", "--limit", "many"],
            "expected a whole number from 1 to 100000",
        ),
        (&["cancel", "all"], "expected the number of a job"),
        (
            &["secrets", "forget", "github", "all"],
            "expected the number of a secret",
        ),
        (&["show"], "<ID>"),
        (&["show", "nonsense"], "expected a UUID of version 7"),
        (&["shwo"], "show"),
    ] {
        let (text, code) = error_of(directory.path(), args);
        assert!(
            text.contains(says) && code == Some(2),
            "{args:?}: {code:?} {text}"
        );
    }
}

#[test]
fn a_period_without_time_and_a_file_that_is_no_text_are_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    drop(Process::serve(path, TOML));
    let period = ["--since", "1h", "--until", "2h"];
    for command in [
        &["list"][..],
        &["list", "--unrouted"],
        &["retry"],
        &["erase", "--yes"],
    ] {
        let (text, code) = error_of(path, &[command, &period].concat());
        assert!(
            text.contains("--until: ")
                && text.contains(" is before --since, ")
                && text.ends_with("nothing is between them")
                && code == Some(1),
            "{command:?}: {text}"
        );
    }
    // A mark of Latin-1, which is no UTF-8.
    std::fs::write(path.join("relay.toml"), b"# gr\xfcezi\n").expect("writing relay.toml");
    let (text, code) = error_of(path, &["check"]);
    assert!(
        text.contains("relay.toml: expected text in UTF-8") && code == Some(1),
        "{text}"
    );
}

#[test]
fn a_removed_destination_is_given_as_the_reason_in_every_output() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let server = Process::serve(path, TOML);
    let twice = |key: &str, body: &[u8]| {
        let key = [("Idempotency-Key", key)];
        event_id(&server.client.send("POST", "/webhooks/twice", &key, body))
    };
    let dead = twice("dead", FAIL);
    event_with_status(&server.client, &dead, "dead_lettered");
    output_of(path, &["pause", "audit"]);
    let waiting = crate::support::until("one is held", || {
        let id = twice(&next_key(), b"{}");
        let event = server.client.get(&format!("/events/{id}")).json();
        event["status_description"]
            .as_str()?
            .contains("paused")
            .then_some(id)
    });
    // An attempt under way at the kill would be repeated later, and wait for a worker until then.
    crate::support::until("what is not held has arrived", || {
        let json = output_of(path, &["show", "--json", &waiting]);
        let json: Value = serde_json::from_str(&json).expect("JSON");
        let mut deliveries = json["deliveries"].as_array()?.iter();
        let of_orders = deliveries.find(|delivery| delivery["destination"] == "orders")?;
        (of_orders["status"] == "delivered").then_some(())
    });
    server.signal("-KILL");
    drop(server);

    let without = TOML
        .replace("[destinations.audit]\nurl = 'http://127.0.0.1:9/'\n", "")
        .replace("[sources.twice]\ndestinations = ['orders', 'audit']\n", "");
    let server = Process::serve(path, &without);
    let reason = "audit is no longer configured: add [destinations.audit] to the configuration \
                  again, and run relay reload";
    let describes = |text: &str, more: &str| {
        assert!(text.contains(reason) && text.contains(more), "{text}");
        assert!(!text.contains("free worker"), "{text}");
    };
    for (id, more) in [(&waiting, "to deliver it"), (&dead, "or discard it")] {
        describes(&output_of(path, &["show", id]), more);
        let json: Value =
            serde_json::from_str(&output_of(path, &["show", "--json", id])).expect("JSON");
        let of_audit = json["deliveries"].as_array().expect("a list").iter();
        let mut of_audit = of_audit.filter(|delivery| delivery["destination"] == "audit");
        let waits_for = &of_audit.next().expect("it is there")["waits_for"];
        describes(waits_for.as_str().expect("text"), more);
    }
    let event = server.client.get(&format!("/events/{waiting}")).json();
    describes(event["status_description"].as_str().expect("text"), "");

    describes(&output_of(path, &["stats"]), "nothing is sent");
    let stats: Value = serde_json::from_str(&output_of(path, &["stats", "--json"])).expect("JSON");
    let rows = stats["destinations"].as_array().expect("a list");
    let audit = rows.iter().find(|row| row["destination"] == "audit");
    describes(
        audit.expect("it is there")["state"].as_str().expect("text"),
        "",
    );

    let listed = relay(path, &["list", "--destination", "audit"]);
    let lines = String::from_utf8(listed.stdout).expect("text");
    assert!(lines.contains("audit (no longer configured)"), "{lines}");
    let hint = String::from_utf8(listed.stderr).expect("text");
    describes(&hint, "");
    for line in json_lines(&output_of(path, &["list", "--json"])) {
        assert_eq!(line["is_configured"], line["destination"] != "audit");
    }
    server.signal("-TERM");
    assert!(server.wait().0.success());
}

/// As with `relay list 2>> errors` on a full disk.
#[test]
fn a_standard_error_that_cant_be_written_ends_no_command() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Process::serve(directory.path(), TOML);
    let id = event_id(&server.client.hook("1", b"{}"));
    server.signal("-TERM");
    assert!(server.wait().0.success());
    let hinting: [&[&str]; 4] = [
        &["list", "--type", "nothing"],
        &["list", "--limit", "1"],
        &["discard", "--pending", "--dry-run", &id],
        &["export"],
    ];
    for arguments in hinting {
        let full = std::fs::File::options().write(true).open("/dev/full");
        let mut command = Process::command(directory.path());
        let output = command.args(arguments).stderr(full.expect("/dev/full"));
        let output = output.output().expect("the binary runs");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    }
}
