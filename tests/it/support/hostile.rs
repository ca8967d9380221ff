//! Requests that are begun and not finished, and the assertions about their answers.

use super::{Client, Connection, Reply, TestRelay, document};

pub fn assert_served(client: &Client) {
    assert_eq!(
        client.get("/healthz").status,
        200,
        "good clients are served"
    );
}

pub fn begun(relay: &TestRelay, bytes: &str) -> Connection {
    let mut connection = relay.client.connect();
    connection.send(bytes.as_bytes());
    connection
}

pub fn hook(key: &str, headers: &str) -> String {
    format!("POST /webhooks/github HTTP/1.1\r\nHost: a\r\nIdempotency-Key: {key}\r\n{headers}\r\n")
}

/// Asserts that a refusal gives a reason and an id, is listed in openapi.yaml, and closes the
/// connection.
pub fn assert_refused(reply: Option<Reply>, status: u16, what: &str) -> Reply {
    let reply = reply.unwrap_or_else(|| panic!("{what}: no answer"));
    let mut words = what.split(' ');
    let (method, path) = match (words.next(), words.next()) {
        (Some("POST"), Some(path)) if path.starts_with('/') => ("POST", path),
        // A request that can't be parsed has the same answer on every route.
        _ => ("GET", "/healthz"),
    };
    if !matches!(status, 202 | 404) {
        document::check(method, path, &reply);
    }
    assert_eq!(reply.status, status, "{what}: {}", reply.text());
    assert!(reply.header("x-request-id").is_some(), "{what}");
    assert_eq!(
        reply.header("content-type"),
        Some("application/json"),
        "{what}"
    );
    assert_eq!(reply.header("connection"), Some("close"), "{what}");
    reply
}
