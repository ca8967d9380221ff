//! Long read transactions of other processes.

use rusqlite::Connection;

use crate::needs_a_file;
use crate::support::Process;

/// A metric's value, from the operator's listener.
fn gauge(server: &Process, name: &str) -> u64 {
    let admin = server.admin.as_ref().expect("a listener for the operator");
    let text = admin.get("/metrics").text();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line
        .unwrap_or_else(|| panic!("no {name} in\n{text}"))
        .trim();
    value.parse().expect("a number")
}

#[test]
fn a_long_reader_and_its_end_are_logged() {
    needs_a_file!("a reader of the file keeps its log");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let toml = "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n\
                [database]\nmin_free_bytes = '0'\n[log]\nformat = 'json'\n[delivery]\nlevel = 'off'\n\
                [destinations.orders]\nurl = 'https://orders.example.com/'\n\
                [sources.github]\ndestinations = ['orders']\nmax_body_bytes = '1MiB'\n";
    let mut server = Process::serve(directory.path(), toml);
    let body = vec![b'1'; 1_000_000];
    let post = |server: &Process, key: usize| {
        let key = key.to_string();
        let headers = [("Idempotency-Key", key.as_str())];
        let reply = server
            .client
            .send("POST", "/webhooks/github", &headers, &body);
        assert_eq!(reply.status, 202, "{}", reply.text());
    };
    post(&server, 0);
    let reader = Connection::open(directory.path().join("relay.db")).expect("a connection");
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM intents")
        .expect("a snapshot");
    // More than 64 MiB, to which the WAL is limited otherwise.
    for key in 1..=70 {
        post(&server, key);
    }
    let said = server.read_until("a reader keeps its snapshot");
    let line: serde_json::Value = said
        .lines()
        .last()
        .and_then(|line| serde_json::from_str(line).ok())
        .expect("a line of JSON");
    let bytes = line["wal_bytes"].as_u64().expect("a size");
    assert!(bytes > 64 << 20, "{line}");
    assert!(line["since"].is_string(), "{line}");
    assert!(line.to_string().contains("relay.db-shm"), "{line}");
    assert!(gauge(&server, "relay_wal_unfinished_frames") >= 16_384);
    reader.execute_batch("COMMIT").expect("its end");
    let log =
        server.read_until("the reader that kept the write-ahead log from being moved is gone");
    assert!(!log.contains("a reader keeps"), "it was said once:\n{log}");
    server.signal("-TERM");
    let (status, log) = server.wait();
    assert!(status.success(), "{log}");
    let wal = directory.path().join("relay.db-wal");
    assert_eq!(wal.metadata().map_or(0, |found| found.len()), 0);
}
