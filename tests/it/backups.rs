//! Backups and restores by the operator's commands, beside a running server and without one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::commands::{error_of, output_of};
use crate::needs_a_file;
use crate::support::{Answer, Process, Receiver, event_id, event_with_status, until};

fn toml(receiver: &Receiver, more: &str) -> String {
    format!(
        "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n\
         [database]\nmin_free_bytes = 0\n[api]\nkeys = ['test-key']\n\
         [destinations.orders]\nurl = '{}'\n[destinations.audit]\nurl = '{}'\n\
         [sources.github]\ndestinations = ['orders']\n\
         [delivery]\nallow_networks = ['127.0.0.0/8']\n{more}\n",
        receiver.url("/orders"),
        receiver.url("/audit")
    )
}

/// A receiver that takes everything, and counts.
fn receiver() -> Receiver {
    Receiver::start(|_| Answer::status(200))
}

/// The arrivals so far.
fn arrived(receiver: &Receiver) -> usize {
    let mut count = 0;
    while receiver.next_within(Duration::from_millis(50)).is_some() {
        count += 1;
    }
    count
}

fn stop(server: Process) {
    server.signal("-TERM");
    let (status, log) = server.wait();
    assert!(status.success(), "{log}");
}

fn json_of(directory: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&output_of(directory, args)).expect("JSON")
}

/// The names of files beside the database that begin so.
fn files_with(directory: &Path, beginning: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| {
            let name = path.file_name().expect("a name").to_string_lossy();
            name.starts_with(beginning)
        })
        .collect()
}

#[test]
fn a_backup_beside_traffic_is_restored_to_exactly_the_events_before_its_snapshot() {
    needs_a_file!("backups of PostgreSQL are its own");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let receiver = receiver();
    // Paused, so that all of them would be sent after the restore.
    let server = Process::serve(path, &toml(&receiver, ""));
    output_of(path, &["pause", "orders"]);
    let before: Vec<_> = (0..50)
        .map(|key| event_id(&server.client.hook(&format!("before-{key}"), b"{}")))
        .collect();
    let (is_over, beside) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (is_over, beside, client) = (&is_over, &beside, &server.client);
            scope.spawn(move || {
                let mut key = 0;
                while !is_over.load(Ordering::SeqCst) {
                    let id = event_id(&client.hook(&format!("{thread}-{key}"), b"{}"));
                    beside.lock().expect("no panics").push(id);
                    key += 1;
                }
            });
        }
        until("some are accepted beside", || {
            (beside.lock().expect("no panics").len() > 50).then_some(())
        });
        output_of(path, &["backup", "copy.db"]);
        is_over.store(true, Ordering::SeqCst);
    });
    let after: Vec<_> = (0..20)
        .map(|key| event_id(&server.client.hook(&format!("after-{key}"), b"{}")))
        .collect();
    let refused = error_of(path, &["restore", "copy.db"]);
    assert!(refused.0.contains("in use by another relay"), "{refused:?}");
    stop(server);
    let verified = json_of(path, &["verify", "--json", "copy.db"]);
    let newest = verified["newest_event"]
        .as_str()
        .expect("an event")
        .to_owned();
    let restored = output_of(path, &["restore", "copy.db"]);
    assert!(
        restored.contains("events in the file aside are newer"),
        "{restored}"
    );
    let aside: Vec<_> = files_with(path, "relay.db.before-");
    assert!(!aside.is_empty());

    let mut server = Process::serve(path, &toml(&receiver, ""));
    assert!(server.begun.contains("held since"), "{}", server.begun);
    let is_there = |id: &String| {
        let reply = server.client.get(&format!("/events/{id}"));
        reply.status == 200
    };
    assert!(
        before.iter().all(is_there),
        "all that was acknowledged before"
    );
    assert!(!after.iter().any(is_there), "nothing that was sent after");
    let beside = beside.into_inner().expect("no panics");
    for id in &beside {
        // UUIDs of version 7 are in the order of acceptance.
        assert_eq!(is_there(id), *id <= newest, "{id} and {newest}");
    }
    // A pause outlives the hold.
    let resumed = output_of(path, &["resume", "--all"]);
    assert!(resumed.contains("orders stays paused"), "{resumed}");
    assert_eq!(arrived(&receiver), 0);
    output_of(path, &["resume", "orders"]);
    for id in &before {
        event_with_status(&server.client, id, "delivered");
    }
    server.signal("-TERM");
    assert!(server.ended().success());
}

#[test]
fn a_held_relay_accepts_and_sends_nothing_until_it_is_told_to() {
    needs_a_file!("backups of PostgreSQL are its own");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let receiver = receiver();
    let heartbeat = Receiver::start(|_| Answer::status(200));
    let more = format!(
        "[alerts]\ndestination = 'audit'\nheartbeat = {{ url = '{}', every = '10s' }}",
        heartbeat.url("/beat")
    );
    let toml = toml(&receiver, &more);
    let server = Process::serve(path, &toml);
    output_of(path, &["pause", "orders"]);
    let id = event_id(&server.client.hook("1", b"{}"));
    output_of(path, &["backup", "copy.db"]);
    // It is paused in the backup; this resumes it there.
    stop(server);
    output_of(path, &["restore", "copy.db"]);
    output_of(path, &["resume", "--all"]);
    output_of(path, &["resume", "orders"]);
    output_of(path, &["backup", "second.db"]);
    output_of(path, &["restore", "second.db"]);
    arrived(&receiver);
    arrived(&heartbeat);

    for _ in 0..2 {
        let mut server = Process::serve(path, &toml);
        let later = event_id(&server.client.hook("2", b"{}"));
        let admin = server.admin.as_ref().expect("a listener");
        assert_eq!(server.client.get("/readyz").status, 200);
        let metrics = admin.get("/metrics").text();
        assert!(metrics.contains("\nrelay_held 1\n"), "{metrics}");
        // Nothing should be going out, so nobody is to be woken.
        assert!(
            metrics.contains("\nrelay_oldest_due_seconds 0\n"),
            "{metrics}"
        );
        let overview = admin.get("/api/overview").json();
        assert_eq!(overview["held"], true);
        let stats = output_of(path, &["stats"]);
        assert!(stats.starts_with("held since 2"), "{stats}");
        assert_eq!(json_of(path, &["stats", "--json"])["held"], true);
        // The delivery tells of the hold, wherever one looks.
        let says = "Waits until relay resume --all";
        let event = admin.get(&format!("/api/events/{id}")).json();
        let waits_for = event["deliveries"][0]["waits_for"].clone();
        let description = server.client.get(&format!("/events/{id}")).json();
        for told in [&waits_for, &description["status_description"]] {
            assert!(
                told.as_str().is_some_and(|text| text.starts_with(says)),
                "{told}"
            );
        }
        let shown = output_of(path, &["show", &id]);
        assert!(shown.contains(says), "{shown}");
        let (text, code) = error_of(path, &["resume", "orders"]);
        assert!(
            text.contains("relay resume --all") && code == Some(1),
            "{text}"
        );
        // A replay and a retry make due, and nothing goes.
        output_of(path, &["retry", &later]);
        assert_eq!(
            event_with_status(&server.client, &id, "queued")["attempts"],
            0
        );
        // It is tried a second after the start: the dispatcher has ticked by then.
        let log = server.read_until("no heartbeat is sent");
        assert!(log.contains("until relay resume --all"), "{log}");
        // The stop waits for whatever is in flight.
        stop(server);
        assert_eq!((arrived(&receiver), arrived(&heartbeat)), (0, 0));
    }
    let server = Process::serve(path, &toml);
    let admin = server.admin.as_ref().expect("a listener");
    let resumed = output_of(path, &["resume", "--all"]);
    assert_eq!(resumed, "the hold is lifted: deliveries go on\n");
    assert_eq!(output_of(path, &["resume", "--all"]), "nothing was held\n");
    event_with_status(&server.client, &id, "delivered");
    let metrics = admin.get("/metrics").text();
    assert!(metrics.contains("\nrelay_held 0\n"), "{metrics}");
    assert_eq!(json_of(path, &["stats", "--json"])["held"], false);
    stop(server);
}

#[test]
fn an_operation_of_a_backup_is_cancelled_and_one_of_a_held_relay_is_made() {
    needs_a_file!("backups of PostgreSQL are its own");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let receiver = receiver();
    let toml = toml(&receiver, "");
    let server = Process::serve(path, &toml);
    output_of(path, &["pause", "orders"]);
    event_id(&server.client.hook("1", b"{}"));
    stop(server);
    output_of(path, &["discard", "--pending"]);
    // As if the command had been killed.
    rusqlite::Connection::open(path.join("relay.db"))
        .expect("the database")
        .execute_batch("UPDATE jobs SET ended_at = NULL")
        .expect("a job");
    output_of(path, &["backup", "copy.db"]);
    let restored = json_of(path, &["restore", "--json", "copy.db"]);
    assert_eq!(restored["cancelled"][0]["kind"], "discard", "{restored}");
    let restored = output_of(path, &["restore", "copy.db"]);
    let told = "\n  job 1: discard of orders, 1 of 1 done\n";
    assert!(restored.contains(told), "{restored}");

    // An operation is made at once, before anything is sent.
    let server = Process::serve(path, &toml);
    let id = event_id(&server.client.hook("2", b"{}"));
    output_of(path, &["discard", "--pending"]);
    event_with_status(&server.client, &id, "dead_lettered");
    stop(server);
}

#[test]
fn deliveries_after_the_backup_are_told_and_settled() {
    needs_a_file!("backups of PostgreSQL are its own");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let receiver = receiver();
    let toml = toml(&receiver, "");
    let server = Process::serve(path, &toml);
    output_of(path, &["pause", "orders"]);
    let id = event_id(&server.client.hook("1", b"{}"));
    let backup = json_of(path, &["backup", "--json", "copy.db"]);
    assert_eq!(backup["ok"], true);
    assert_eq!(backup["newest_event"], id);
    assert_eq!(backup["deliveries"]["queued"], 1);
    output_of(path, &["resume", "orders"]);
    event_with_status(&server.client, &id, "delivered");
    stop(server);
    let restored = output_of(path, &["restore", "copy.db"]);
    let row = restored.lines().find(|line| line.ends_with("orders"));
    let row: Vec<_> = row.expect(&restored).split_whitespace().collect();
    assert_eq!(row, ["1", "1", "0", "orders"]);
    assert!(restored.contains("relay restore --settle"), "{restored}");
    let settled = output_of(path, &["restore", "--settle"]);
    assert_eq!(settled, "1 pending deliveries were marked as delivered\n");
    output_of(path, &["resume", "--all"]);
    assert_eq!(arrived(&receiver), 1);
    let server = Process::serve(path, &toml);
    let event = event_with_status(&server.client, &id, "delivered");
    assert_eq!(event["deliveries"][0]["status"], "delivered");
    // The key of an event in the backup still names it.
    assert_eq!(event_id(&server.client.hook("1", b"{}")), id);
    output_of(path, &["resume", "orders"]);
    let next = event_id(&server.client.hook("2", b"{}"));
    event_with_status(&server.client, &next, "delivered");
    assert_eq!(arrived(&receiver), 1, "the second event alone");
    stop(server);
}

#[test]
fn commands_say_in_one_line_why_they_refuse() {
    needs_a_file!("backups of PostgreSQL are its own");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let receiver = receiver();
    stop(Process::serve(path, &toml(&receiver, "")));
    output_of(path, &["backup", "copy.db"]);
    std::fs::write(path.join("text"), "no backup").expect("written");
    for (args, says) in [
        (&["backup", "copy.db"][..], "exists already"),
        (&["backup", "relay.db"], "is the database"),
        (&["backup", "nothing/there.db"], "No such file"),
        (&["verify", "text"], "damaged, or not a backup"),
        (&["verify", "relay.db"], "not a backup"),
        (
            &["restore", "text"],
            "relay: text: damaged, or not a backup",
        ),
        (&["restore", "relay.db"], "is the database itself"),
        (&["restore", "--abandon"], "no restore was interrupted"),
        (&["restore", "--settle"], "no restored backup is held"),
    ] {
        let (text, code) = error_of(path, args);
        assert!(text.contains(says) && code == Some(1), "{args:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    for args in [
        &["restore"][..],
        &["resume"],
        &["restore", "a", "--abandon"],
    ] {
        assert_eq!(error_of(path, args).1, Some(2), "{args:?}");
    }
    let mut bytes = std::fs::read(path.join("copy.db")).expect("it is there");
    bytes[5000] ^= 1;
    std::fs::write(path.join("copy.db"), bytes).expect("written");
    let output = Process::command(path)
        .args(["verify", "--json", "copy.db"])
        .output();
    let output = output.expect("the binary runs");
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (document["ok"].clone(), output.status.code()),
        (false.into(), Some(1))
    );
    let before = std::fs::read(path.join("relay.db")).expect("it is there");
    error_of(path, &["restore", "copy.db"]);
    assert_eq!(
        std::fs::read(path.join("relay.db")).expect("it is there"),
        before
    );
}

#[test]
fn the_exit_code_is_the_verdict_though_nobody_reads_the_output() {
    needs_a_file!("backups of PostgreSQL are its own");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let receiver = receiver();
    let server = Process::serve(path, &toml(&receiver, ""));
    event_id(&server.client.hook("1", b"{}"));
    stop(server);
    output_of(path, &["backup", "copy.db"]);
    std::fs::write(path.join("text"), "no backup").expect("written");
    for (args, code) in [
        (&["verify", "--json", "copy.db"][..], 0),
        (&["verify", "copy.db"], 0),
        (&["verify", "--json", "text"], 1),
        (&["verify", "text"], 1),
        (&["backup", "--json", "second.db"], 0),
        (&["export"], 0),
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = Process::command(path);
        let status = command.args(args).stdout(writer).status();
        assert_eq!(status.expect("it runs").code(), Some(code), "{args:?}");
    }
    output_of(path, &["verify", "second.db"]);
}

/// Runs the binary with a limit on the size of files, in blocks of 512 bytes.
fn with_small_files(path: &Path, blocks: u64, trap: &str, args: &str) -> (String, bool) {
    let relay = Process::command(path);
    let output = Command::new("/bin/sh")
        .args([
            "-c",
            &format!("{trap} ulimit -f {blocks}; exec \"$0\" {args}"),
        ])
        .arg(relay.get_program())
        .current_dir(path)
        .env_clear()
        .output()
        .expect("a shell");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (text, output.status.success())
}

/// With the signal ignored a write fails as it does on a full disk; otherwise it kills.
#[test]
fn a_backup_that_finds_no_room_leaves_no_file_of_its_name() {
    needs_a_file!("backups of PostgreSQL are its own");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let receiver = receiver();
    let server = Process::serve(path, &toml(&receiver, ""));
    for key in 0..20 {
        server.client.hook(&key.to_string(), &vec![b'x'; 20_000]);
    }
    stop(server);
    output_of(path, &["backup", "whole.db"]);
    let size = path.join("whole.db").metadata().expect("it is there").len();
    let blocks = size / 512;
    let mut failed = 0;
    for part in [0, 1, blocks / 2, blocks - 1] {
        for trap in ["trap '' XFSZ;", ""] {
            let (text, is_made) = with_small_files(path, part, trap, "backup copy.db");
            assert!(!is_made, "{part}: {text}");
            failed += 1;
            assert!(!path.join("copy.db").exists(), "{part}: {text}");
            if !trap.is_empty() {
                assert!(files_with(path, "copy.db").is_empty(), "{part}: {text}");
            }
            let _ = std::fs::remove_file(path.join("copy.db.partial"));
            let before = std::fs::read(path.join("relay.db")).expect("it is there");
            let (text, is_made) = with_small_files(path, part, trap, "restore whole.db");
            assert!(!is_made, "{part}: {text}");
            let now = std::fs::read(path.join("relay.db")).expect("it is there");
            assert_eq!(now, before, "{part}: {text}");
        }
    }
    assert_eq!(failed, 8);
    output_of(path, &["restore", "whole.db"]);
}

#[test]
fn scheduled_backups_are_made_and_one_that_fails_is_told() {
    needs_a_file!("backups of PostgreSQL are its own");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let receiver = receiver();
    let scheduled = "[backup]\ndirectory = 'backups'\nevery = '1s'\nkeep = 2";
    let server = Process::serve(path, &toml(&receiver, scheduled));
    let backups = path.join("backups");
    let names = || files_with(&backups, "relay-2");
    until("two backups", || {
        let is_there = backups.is_dir() && names().len() == 2;
        is_there.then_some(())
    });
    let admin = server.admin.as_ref().expect("a listener");
    until("the metrics", || {
        let metrics = admin.get("/metrics").text();
        let is_shown = metrics.contains("\nrelay_backup_last_success_timestamp_seconds 1")
            || metrics.contains("\nrelay_backup_last_success_timestamp_seconds 2");
        is_shown.then_some(())
    });
    stop(server);
    let newest = names().into_iter().max().expect("a backup");
    output_of(path, &["verify", newest.to_str().expect("text")]);
    let failing =
        "[backup]\ndirectory = 'relay.toml'\nevery = '1s'\n[alerts]\ndestination = 'audit'";
    let server = Process::serve(path, &toml(&receiver, failing));
    let told = until("the alert", || {
        receiver.next_within(Duration::from_millis(100))
    });
    let alert: Value = serde_json::from_slice(&told.body).expect("JSON");
    assert_eq!(alert["type"], "backup.failed");
    let text = alert.to_string();
    assert!(text.contains("the directory can't be used"), "{text}");
    stop(server);
}
