//! The log of the real binary while its pipe isn't read, and when it is read late.

use std::io::{PipeReader, PipeWriter, Write as _};

use serde_json::Value;

use crate::support::{Client, Process, event_id, until};

const TOML: &str = "[server]\nlisten = '127.0.0.1:0'\nshutdown_grace = '1s'\n\
    [admin]\nlisten = '127.0.0.1:0'\n[database]\nmin_free_bytes = 0\n[log]\nlevel = 'trace'\n\
    [destinations.orders]\nurl = 'http://127.0.0.1:9/'\n\
    [sources.github]\ndestinations = ['orders']\n";

fn dropped(server: &Process) -> u64 {
    let admin = server.admin.as_ref().expect("an admin listener");
    let text = admin.send("GET", "/metrics", &[], b"").text();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("relay_log_lines_dropped_total "));
    line.and_then(|count| count.parse().ok())
        .unwrap_or_else(|| panic!("no count in\n{text}"))
}

fn parsed(log: &str) -> Vec<Value> {
    log.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// The numbers of the requests in the log, in its order, adjacent duplicates removed.
fn requests(lines: &[Value]) -> Vec<usize> {
    let ids = lines.iter().filter_map(|line| line["request_id"].as_str());
    let mut numbers: Vec<usize> = ids
        .filter_map(|id| id.strip_prefix("request-")?.parse().ok())
        .collect();
    numbers.dedup();
    numbers
}

fn post(client: &Client, number: usize) {
    let id = format!("request-{number}");
    let headers = [
        ("Idempotency-Key", id.as_str()),
        ("X-Request-ID", id.as_str()),
    ];
    event_id(&client.send("POST", "/webhooks/github", &headers, b"{}"));
}

/// Posts until the pipe and the log's queue are full, and 300 times more. Returns the number of
/// posts.
fn flood(server: &Process) -> usize {
    let mut posted = 0;
    while dropped(server) == 0 {
        (posted..posted + 100).for_each(|number| post(&server.client, number));
        posted += 100;
    }
    (posted..posted + 300).for_each(|number| post(&server.client, number));
    posted + 300
}

#[test]
fn an_unread_log_blocks_neither_requests_nor_the_stop() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut server = Process::serve(directory.path(), TOML);
    let posted = flood(&server);
    server.signal("-TERM");
    assert_eq!(server.ended().code(), Some(0));
    // The first lines were written, whole and in order; the stop didn't wait for the rest.
    let (_, log) = server.wait();
    let (whole, _torn_by_the_end) = log.rsplit_once('\n').expect("lines");
    let seen = requests(&parsed(whole));
    assert!(!seen.is_empty() && seen.len() < posted);
    assert!(seen.iter().copied().eq(0..seen.len()), "{seen:?}");
}

#[test]
fn a_log_read_late_has_whole_lines_in_order_and_reports_dropped_ones() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut server = Process::serve(directory.path(), TOML);
    let posted = flood(&server);
    let mut log = server.read_until("log lines dropped");
    // The queue has room again.
    post(&server.client, posted);
    log += &server.read_until(&format!("\"request_id\":\"request-{posted}\""));
    let lost = dropped(&server);
    server.signal("-TERM");
    let (status, rest) = server.wait();
    assert!(status.success());
    let lines = parsed(&(log + &rest));
    let reported: u64 = lines
        .iter()
        .filter(|line| line["message"] == "log lines dropped")
        .map(|line| line["lines"].as_u64().expect("a number"))
        .sum();
    assert_eq!(reported, lost, "each lost line is reported once");
    let seen = requests(&lines);
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!(seen.last(), Some(&posted));
    let end = lines.last().map(|line| line["message"].as_str());
    assert_eq!(end, Some(Some("stopped")), "the end isn't lost");
}

/// An operator whose sender uses a key twice must find both requests.
#[test]
fn a_duplicate_with_other_bytes_is_logged_with_both_ids() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Process::serve(directory.path(), TOML);
    let post = |request: &str, body: &[u8]| {
        let headers = [("Idempotency-Key", "k"), ("X-Request-ID", request)];
        let reply = server
            .client
            .send("POST", "/webhooks/github", &headers, body);
        event_id(&reply)
    };
    let first = post("the-first", b"1");
    assert_eq!(post("the-same", b"1"), first);
    assert_eq!(post("another", b"2"), first);
    for number in 0..20 {
        post("many", format!("1{number}").as_bytes());
    }
    server.signal("-TERM");
    let (_, log) = server.wait();
    let lines = parsed(&log);
    let is_other = |line: &&Value| {
        let message = line["message"].as_str().unwrap_or_default();
        message.contains("the idempotency key of an event and other bytes")
    };
    let warnings: Vec<&Value> = lines.iter().filter(is_other).collect();
    let one = warnings.first().expect("a warning");
    assert_eq!(
        one["level"].as_str().map(str::to_lowercase).as_deref(),
        Some("warn")
    );
    assert_eq!(one["event_id"], first.as_str(), "{one}");
    assert_eq!(one["request_id"], "another", "{one}");
    assert_eq!(one["source"], "github", "{one}");
    assert_eq!(warnings.len(), 10, "ten a minute");
}

/// A pipe whose buffer is full.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    rustix::io::ioctl_fionbio(&writer, true).expect("a pipe");
    while writer.write(b"x").is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).expect("a pipe");
    (reader, writer)
}

#[test]
fn a_failed_start_exits_although_its_log_is_not_read() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (_reader, writer) = full_pipe();
    for toml in [
        "[server]\nlisen = 1\n",
        "[database]\npath = 'nowhere/relay.db'\n",
    ] {
        std::fs::write(directory.path().join("relay.toml"), toml).expect("writing relay.toml");
        let mut child = Process::command(directory.path())
            .arg("serve")
            .env("RELAY_HTTP_ADDR", "127.0.0.1:0")
            .stderr(writer.try_clone().expect("a pipe"))
            .spawn()
            .expect("the binary starts");
        let status = until("it ends", || child.try_wait().expect("a child"));
        assert_eq!(status.code(), Some(1), "{toml}");
    }
}

/// Nothing listens at port 9, so the attempt has no status code.
#[cfg(feature = "delivery-http")]
#[test]
fn an_attempt_without_an_answer_is_logged_without_a_status_code() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut server = Process::serve(directory.path(), TOML);
    post(&server.client, 0);
    let log = server.read_until("\"message\":\"attempt\"");
    let attempt = parsed(&log).pop().expect("a line");
    assert_eq!(attempt["outcome"], "transient");
    assert_eq!(attempt.get("status_code"), None, "{attempt}");
}

/// At level trace the libraries of the HTTP client would print them.
#[cfg(feature = "delivery-http")]
#[test]
fn no_level_logs_the_bytes_of_requests_and_answers() {
    use crate::support::raw::{read_head, receiver};

    let url = receiver(None, |stream, _| {
        if read_head(stream).is_some() {
            let answer = b"HTTP/1.1 200 OK\r\nX-A: hush\r\nContent-Length: 4\r\n\r\nhush";
            // The relay may have ended the connection.
            let _ = stream.write_all(answer);
        }
    });
    let to = format!("url = '{url}hush'\nheaders = {{ Authorization = 'hush' }}");
    let toml = TOML.replace("url = 'http://127.0.0.1:9/'", &to);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut server = Process::serve(directory.path(), &toml);
    let headers = [("Idempotency-Key", "1"), ("X-Signature", "hush")];
    let path = "/webhooks/github?key=hush";
    event_id(&server.client.send("POST", path, &headers, b"\"hush\""));
    let log = server.read_until("\"message\":\"attempt\"");
    assert!(!log.contains("hush"), "{log}");
    let lines = parsed(&log);
    let is_of_library = |line: &&Value| {
        let target = line["target"].as_str().expect("a target");
        !target.starts_with("relay")
    };
    let levels: Vec<&str> = lines
        .iter()
        .filter(is_of_library)
        .map(|line| line["level"].as_str().expect("a level"))
        .collect();
    assert!(levels.contains(&"debug"), "libraries are heard");
    assert!(!levels.contains(&"trace"), "{log}");
}
