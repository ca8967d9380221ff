//! Secrets that a sender gives by a handshake: `relay secrets`, beside a running server.

use std::path::Path;
use std::process::Output;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use crate::needs_a_file;
use crate::support::{Client, Process, Reply, engine, until};

const TOML: &str = "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n\
    [database]\nmin_free_bytes = 0\n[log]\nlevel = 'trace'\n\
    [destinations.orders]\nurl = 'http://127.0.0.1:9/'\n\
    [sources.asana]\nprovider = 'asana'\ndestinations = ['orders']\n\
    [sources.other]\nprovider = 'asana'\ndestinations = ['orders']\n\
    [sources.plain]\ndestinations = ['orders']\n";

/// The secret of the example in Asana's documentation.
pub const SECRET: &str = "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81";
const SECOND: &str = "second-secret-of-another-webhook";
const THIRD: &str = "third-secret-of-a-stranger";

fn relay(directory: &Path, args: &[&str]) -> Output {
    let mut command = Process::command(directory);
    command.arg("secrets").args(args);
    command.output().expect("the binary runs")
}

/// Runs a command that must succeed; its standard output.
fn secrets(directory: &Path, args: &[&str]) -> String {
    let output = relay(directory, args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}");
    String::from_utf8(output.stdout).expect("text")
}

/// Runs a command that must fail; its standard error.
fn refused(directory: &Path, args: &[&str]) -> String {
    let output = relay(directory, args);
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    String::from_utf8(output.stderr).expect("text")
}

/// The answers of a source with a provider are described in openapi.yaml in words only.
fn post(server: &Process, source: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let client = Client::of_admin(server.client.address());
    client.send("POST", &format!("/webhooks/{source}"), headers, body)
}

/// The answer to a handshake of the source `asana`.
pub fn handshake(server: &Process, secret: &str) -> Reply {
    post(server, "asana", &[("X-Hook-Secret", secret)], b"")
}

/// The status of an event that is signed so.
pub fn signed(server: &Process, source: &str, secret: &str, body: &str) -> u16 {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key");
    mac.update(body.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    let headers = [("X-Hook-Signature", signature.as_str())];
    post(server, source, &headers, body.as_bytes()).status
}

fn stored(directory: &Path) -> i64 {
    engine::rows(directory, "SELECT count(*) FROM intents")[0]
}

#[test]
fn a_secret_is_learned_once_while_it_is_expected_and_survives_a_kill() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let server = Process::serve(path, TOML);
    let early = handshake(&server, THIRD);
    assert_eq!(early.status, 401, "nobody expects it");
    assert_eq!(early.header("x-hook-secret"), None);
    assert_eq!(signed(&server, "asana", THIRD, "[1]"), 401);

    let said = secrets(path, &["expect", "asana"]);
    assert!(said.starts_with("asana learns the next secret"), "{said}");
    let learned = handshake(&server, SECRET);
    assert_eq!((learned.status, learned.text().as_str()), (200, ""));
    assert_eq!(learned.header("x-hook-secret"), Some(SECRET));
    assert_eq!(learned.header("cache-control"), Some("no-store"));
    assert_eq!(handshake(&server, THIRD).status, 401, "it is learned once");
    assert_eq!(handshake(&server, SECRET).status, 401, "it is learned once");
    assert_eq!(stored(path), 0);

    assert_eq!(signed(&server, "asana", SECRET, "[1]"), 200);
    assert_eq!(signed(&server, "asana", THIRD, "[2]"), 401);
    assert_eq!(
        signed(&server, "other", SECRET, "[3]"),
        401,
        "it is one source's"
    );
    assert_eq!(post(&server, "asana", &[], b"[4]").status, 401);
    server.kill();
    let server = Process::serve(path, TOML);
    assert_eq!(signed(&server, "asana", SECRET, "[5]"), 200);
    assert_eq!(signed(&server, "other", SECRET, "[6]"), 401);
    assert_eq!(stored(path), 2);
    let send = |source: &str| {
        let mut command = Process::command(path);
        let address = server.client.address().to_string();
        command.env("RELAY_HTTP_ADDR", address);
        let output = command.args(["send", source, "payload"]).output();
        let output = output.expect("the binary runs");
        let error = String::from_utf8(output.stderr).expect("text");
        (output.status.success(), error)
    };
    std::fs::write(path.join("payload"), "[7]").expect("writing");
    assert_eq!(send("asana"), (true, String::new()));
    let (_, error) = send("other");
    assert!(error.contains("gives it one by a handshake"), "{error}");
    assert_eq!(stored(path), 3);
    server.kill();
}

#[test]
fn a_second_webhook_s_secret_is_added_and_each_is_forgotten_by_its_number() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let server = Process::serve(path, TOML);
    secrets(path, &["expect", "asana"]);
    assert_eq!(handshake(&server, SECRET).status, 200);
    let error = refused(path, &["expect", "asana"]);
    assert!(error.contains("--add"), "{error}");
    assert_eq!(handshake(&server, SECOND).status, 401);
    secrets(path, &["expect", "asana", "--add", "--for", "5m"]);
    assert_eq!(handshake(&server, SECOND).status, 200);
    assert_eq!(signed(&server, "asana", SECRET, "[1]"), 200);
    assert_eq!(signed(&server, "asana", SECOND, "[2]"), 200);

    let list = secrets(path, &["list", "--json"]);
    let list: Value = serde_json::from_str(&list).expect("JSON");
    let numbers: Vec<i64> = list["learned"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|learned| learned["number"].as_i64().expect("a number"))
        .collect();
    assert_eq!(
        (numbers.len(), &list["expected"]),
        (2, &serde_json::json!([]))
    );
    let error = refused(path, &["forget", "other", &numbers[0].to_string()]);
    assert!(error.contains("other"), "{error}");
    let number = numbers[0].to_string();
    let forgotten = secrets(path, &["forget", "--json", "asana", &number]);
    assert!(forgotten.contains("\"forgotten\":1"), "{forgotten}");
    until("the server has forgotten it", || {
        (signed(&server, "asana", SECRET, "[1]") == 401).then_some(())
    });
    assert_eq!(signed(&server, "asana", SECOND, "[3]"), 200);
    secrets(path, &["forget", "asana"]);
    until("the server has forgotten all", || {
        (signed(&server, "asana", SECOND, "[3]") == 401).then_some(())
    });
    refused(path, &["forget", "asana"]);
    server.kill();
}

#[test]
fn an_expectation_ends_with_its_time_and_with_forget() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let server = Process::serve(path, TOML);
    secrets(path, &["expect", "asana", "--for", "1ms"]);
    until("its time is over", || {
        let list = secrets(path, &["list"]);
        (!list.contains("expects one until")).then_some(())
    });
    assert_eq!(handshake(&server, SECRET).status, 401);
    secrets(path, &["expect", "asana", "--for", "1d"]);
    let list = secrets(path, &["list"]);
    assert!(list.contains("expects one until"), "{list}");
    secrets(path, &["forget", "asana"]);
    assert_eq!(handshake(&server, SECRET).status, 401);
    for wrong in ["0s", "25h", "soon"] {
        let output = relay(path, &["expect", "asana", "--for", wrong]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
    server.kill();
}

#[test]
fn only_a_source_with_the_handshake_expects_a_secret() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let server = Process::serve(path, TOML);
    for (source, problem) in [
        ("plain", "handshakes"),
        ("mistyped", "[sources.mistyped]"),
        ("*", "has no"),
    ] {
        let error = refused(path, &["expect", source]);
        assert!(error.contains(problem), "{source}: {error}");
    }
    let headers = [("X-Hook-Secret", SECRET), ("Idempotency-Key", "k")];
    assert_eq!(post(&server, "plain", &headers, b"{}").status, 202);
    server.kill();
}

#[test]
fn a_secret_that_cannot_be_one_is_refused_and_the_source_goes_on_expecting() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let server = Process::serve(path, TOML);
    secrets(path, &["expect", "asana"]);
    let long = "a".repeat(257);
    for secret in ["", "<script>", "a b", "{}", "null", "\u{fc}", &long] {
        assert_eq!(handshake(&server, secret).status, 400, "{secret}");
    }
    let twice = [("X-Hook-Secret", SECRET), ("X-Hook-Secret", SECRET)];
    assert_eq!(post(&server, "asana", &twice, b"").status, 401);
    let event = [("X-Hook-Secret", SECRET), ("X-Hook-Signature", "00")];
    assert_eq!(post(&server, "asana", &event, b"[]").status, 401);
    assert_eq!(handshake(&server, SECRET).status, 200);
    assert_eq!(stored(path), 0);
    server.kill();
}

#[test]
fn of_many_handshakes_at_once_one_is_learned() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let server = Process::serve(path, TOML);
    secrets(path, &["expect", "asana"]);
    let names: Vec<String> = (0..8).map(|number| format!("secret-{number}")).collect();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let server = &server;
        let threads: Vec<_> = names
            .iter()
            .map(|secret| scope.spawn(move || handshake(server, secret).status))
            .collect();
        let statuses = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        statuses.map(|status| status.expect("no panic")).collect()
    });
    let learned = statuses.iter().filter(|status| **status == 200).count();
    let refused = statuses.iter().filter(|status| **status == 401).count();
    assert_eq!((learned, refused), (1, 7), "{statuses:?}");
    for (at, (secret, status)) in names.iter().zip(&statuses).enumerate() {
        let body = format!("[{at}]");
        let expected = if *status == 200 { 200 } else { 401 };
        assert_eq!(
            signed(&server, "asana", secret, &body),
            expected,
            "{secret}"
        );
    }
    server.kill();
}

#[test]
fn a_learned_secret_is_neither_logged_nor_shown_nor_kept_with_an_event() {
    needs_a_file!("its rows are read");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let server = Process::serve(path, TOML);
    assert_eq!(handshake(&server, THIRD).status, 401);
    assert_eq!(handshake(&server, THIRD).status, 401);
    let mut shown = secrets(path, &["expect", "asana"]);
    assert_eq!(handshake(&server, SECRET).status, 200);
    // A proxy that copies headers of the handshake to an event.
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any key");
    mac.update(b"[1]");
    let signature = hex::encode(mac.finalize().into_bytes());
    let headers = [
        ("X-Hook-Signature", signature.as_str()),
        ("X-Hook-Secret", SECRET),
    ];
    assert_eq!(post(&server, "asana", &headers, b"[1]").status, 200);
    shown += &secrets(path, &["list"]);
    shown += &secrets(path, &["list", "--json"]);
    let check = Process::command(path).arg("check").output();
    shown += &String::from_utf8_lossy(&check.expect("the binary runs").stdout);
    let admin = server.admin.as_ref().expect("an admin listener");
    let metrics = admin.send("GET", "/metrics", &[], b"").text();
    assert!(
        metrics.contains("relay_verifications_total{source=\"asana\",result=\"unknown_key\"} 2"),
        "{metrics}"
    );
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let sql = rusqlite::Connection::open_with_flags(path.join("relay.db"), flags);
    let headers: Vec<u8> = sql
        .expect("the database")
        .query_row("SELECT headers FROM intents", [], |row| row.get(0))
        .expect("an event");
    shown += &String::from_utf8_lossy(&headers);
    server.signal("-TERM");
    let (_, log) = server.wait();
    let warnings = log.lines().filter(|line| {
        let line = line.to_lowercase();
        line.contains("none is expected") && line.contains("\"level\":\"warn\"")
    });
    assert_eq!(warnings.count(), 1, "one warning:\n{log}");
    assert!(log.contains("a source learned a secret"), "{log}");
    shown += &log;
    for secret in [SECRET, THIRD] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

/// Stops a server in order, so that the database file is complete on its own.
fn stop(server: Process) {
    server.signal("-TERM");
    assert!(server.wait().0.success());
}

#[test]
fn commands_need_no_server_and_what_is_forgotten_leaves_the_file() {
    needs_a_file!("its bytes are read");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let holds_secret = || {
        let file = std::fs::read(path.join("relay.db")).expect("the database");
        file.windows(SECRET.len())
            .any(|bytes| bytes == SECRET.as_bytes())
    };
    stop(Process::serve(path, TOML));
    secrets(path, &["expect", "asana"]);
    let server = Process::serve(path, TOML);
    assert_eq!(handshake(&server, SECRET).status, 200);
    stop(server);
    assert!(holds_secret());
    secrets(path, &["forget", "asana"]);
    let server = Process::serve(path, TOML);
    assert_eq!(signed(&server, "asana", SECRET, "[1]"), 401);
    stop(server);
    assert!(!holds_secret());
}
