//! Events and attempts as they happen: `GET /api/tail` and `relay tail`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use relay::config::{NamedSecret, Secret};
use serde_json::Value;

use crate::support::{Answer, Client, Process, Receiver, TestRelay, config, event_id, off};

/// A tail that is open.
struct Tail {
    lines: BufReader<TcpStream>,
}

impl Tail {
    fn open(admin: &Client, query: &str) -> Self {
        Self::open_with(admin, query, "")
    }

    /// With more headers, each with its end of line.
    fn open_with(admin: &Client, query: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(admin.address()).expect("a connection");
        let limit = Some(Duration::from_secs(60));
        stream.set_read_timeout(limit).expect("a timeout");
        write!(
            stream,
            "GET /api/tail{query} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"
        )
        .expect("sent");
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(lines.read_line(&mut head).expect("a head") > 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(
            head.contains("content-type: text/event-stream\r\n"),
            "{head}"
        );
        let mut tail = Self { lines };
        // The first comment shows that it has begun to follow.
        tail.line(": tail");
        tail
    }

    /// Reads up to a line that begins so, and returns its rest.
    fn line(&mut self, beginning: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).expect("a line");
            assert!(read > 0, "it ended before {beginning:?}");
            if let Some(rest) = line.strip_prefix(beginning) {
                return rest.trim_end().to_owned();
            }
        }
    }

    fn next(&mut self) -> Value {
        let name = self.line("event: ");
        let data = self.line("data: ");
        let data: Value = serde_json::from_str(&data).expect("JSON");
        assert_eq!(data["event"], name.as_str());
        data
    }
}

#[test]
fn a_tail_shows_events_and_attempts_that_match() {
    let receiver = Receiver::start(|_| Answer::status(200));
    let relay = TestRelay::start_with(&receiver.url("/"), |_| {});
    let admin = relay.admin();
    let mut all = Tail::open(&admin, "?since=1h");
    let mut delivered = Tail::open(&admin, "?since=1h&status=delivered&destination=orders");
    let mut nothing = Tail::open(&admin, "?source=gitlab");
    let id = event_id(&relay.client.hook("k", b"{}"));
    let accepted = all.next();
    assert_eq!(
        (&accepted["event"], &accepted["id"]),
        (&"accepted".into(), &id.as_str().into())
    );
    assert_eq!(accepted["destinations"][0], "orders");
    assert_eq!(
        (&accepted["label"], &accepted["bytes"]),
        (&"github".into(), &2.into())
    );
    for tail in [&mut all, &mut delivered] {
        let attempt = tail.next();
        assert_eq!(
            (&attempt["event"], &attempt["id"]),
            (&"attempt".into(), &id.as_str().into())
        );
        assert_eq!(
            (&attempt["outcome"], &attempt["status_code"]),
            (&"delivered".into(), &200.into())
        );
        assert_eq!(
            (&attempt["attempt"], &attempt["status"]),
            (&1.into(), &"delivered".into())
        );
    }
    let wait = Duration::from_millis(400);
    nothing
        .lines
        .get_ref()
        .set_read_timeout(Some(wait))
        .expect("a timeout");
    let mut more = String::new();
    while let Ok(read) = nothing.lines.read_line(&mut more) {
        assert!(read > 0 && !more.contains("event:"), "{more}");
    }
}

/// More entries than wait for a client.
#[test]
fn a_client_that_reads_gets_the_whole_past() {
    const EVENTS: usize = 600;
    let relay = TestRelay::start_with("http://127.0.0.1:9/", off);
    for key in 0..EVENTS {
        event_id(&relay.client.hook(&key.to_string(), b"{}"));
    }
    let mut tail = Tail::open(&relay.admin(), "?since=1h");
    for _ in 0..EVENTS {
        assert_eq!(tail.next()["event"], "accepted");
    }
}

#[test]
fn tails_end_with_the_relay_and_are_few() {
    let mut relay = TestRelay::start_with("http://127.0.0.1:9/", off);
    let admin = relay.admin();
    let mut tails: Vec<_> = (0..8).map(|_| Tail::open(&admin, "")).collect();
    let ninth = admin.get("/api/tail");
    assert_eq!(
        (ninth.status, ninth.header("retry-after")),
        (503, Some("1"))
    );
    // A client that goes away makes room.
    drop(tails.pop());
    crate::support::until("there is room", || {
        let head = admin.send("HEAD", "/api/tail", &[], b"");
        (head.status == 200).then_some(())
    });
    assert_eq!(admin.get("/api/tail?statsu=x").status, 400);
    assert_eq!(admin.send("POST", "/api/tail", &[], b"").status, 405);
    let began = std::time::Instant::now();
    relay.stop();
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    for tail in &mut tails {
        let mut rest = Vec::new();
        tail.lines.read_to_end(&mut rest).expect("an end");
        assert!(rest.ends_with(b"0\r\n\r\n"), "it ends in order");
    }
}

#[test]
fn a_tail_ends_with_its_token() {
    let token = |name: &str, secret: &str| NamedSecret {
        name: name.to_owned(),
        secret: Secret::new(secret),
    };
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let mut settings = config(directory.path(), "http://127.0.0.1:9/");
    off(&mut settings);
    settings.admin.tokens = vec![token("OPS", "operate-operate-1")];
    settings.admin.read_tokens = vec![token("READ", "read-read-read-12")];
    let relay = TestRelay::start_in(directory, settings.clone(), None);
    let open = |token: &str| {
        let headers = format!("Authorization: Bearer {token}\r\nConnection: close\r\n");
        Tail::open_with(&relay.admin(), "", &headers)
    };
    let (mut kept, mut removed) = (open("operate-operate-1"), open("read-read-read-12"));
    settings.admin.read_tokens.clear();
    let running = relay.relay.as_ref().expect("it runs");
    running.reload(settings).expect("a good configuration");
    let mut rest = Vec::new();
    removed.lines.read_to_end(&mut rest).expect("an end");
    assert!(rest.ends_with(b"0\r\n\r\n"), "it ends in order");
    let id = event_id(&relay.client.hook("k", b"{}"));
    assert_eq!(kept.next()["id"], id.as_str());
}

const TOML: &str = "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = ''\n\
    [database]\nmin_free_bytes = '0'\n[delivery]\nlevel = 'simulated'\n\
    allow_networks = ['127.0.0.0/8']\n[destinations.orders]\nurl = 'http://127.0.0.1:9/'\n\
    [sources.github]\ndestinations = ['orders']\n";

fn relay_tail(directory: &std::path::Path, args: &[&str]) -> Command {
    let mut command = Process::command(directory);
    command.arg("tail").args(args).stderr(Stdio::inherit());
    command
}

#[test]
fn the_command_follows_the_database_with_and_without_a_server() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Process::serve(directory.path(), TOML);
    let first = event_id(&server.client.hook("1", b"{}"));
    let mut child = relay_tail(directory.path(), &["--json", "--since", "1h"])
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next = |event: &str, id: &str| {
        let line: Value =
            serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON");
        assert_eq!(
            (&line["event"], &line["id"]),
            (&event.into(), &id.into()),
            "{line}"
        );
    };
    next("accepted", &first);
    next("attempt", &first);
    let second = event_id(&server.client.hook("2", b"{}"));
    next("accepted", &second);
    next("attempt", &second);
    server.kill();
    // It goes on without a server, and ends once its reader has.
    drop(lines);
    assert!(child.wait().expect("it ends").success());
    let mut child = relay_tail(directory.path(), &["--since", "1h", "--source", "github"])
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let line = lines.next().expect("a line").expect("text");
    assert!(
        line.contains("accepted") && line.contains("for orders, 2 bytes"),
        "{line}"
    );
    let line = lines.next().expect("a line").expect("text");
    assert!(
        line.contains("delivered") && line.contains("at orders, attempt 1"),
        "{line}"
    );
    drop(lines);
    assert!(child.wait().expect("it ends").success());
}
