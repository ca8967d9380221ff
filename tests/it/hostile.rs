//! Clients that misbehave, on raw sockets: what comes back, and that others are served meanwhile.

use std::fmt::Write as _;
use std::time::Duration;

use crate::support::{
    Client, Connection, KEY, Process, Reply, TestRelay, document, relay_to, until,
};

const URL: &str = "http://127.0.0.1:9/hook";

/// A relay with little patience.
fn impatient(change: impl FnOnce(&mut relay::Config)) -> TestRelay {
    TestRelay::start_with(URL, |config| {
        config.server.header_timeout = Duration::from_millis(300);
        config.server.request_timeout = Duration::from_millis(300);
        change(config);
    })
}

fn assert_served(client: &Client) {
    assert_eq!(
        client.get("/healthz").status,
        200,
        "good clients are served"
    );
}

fn begun(relay: &TestRelay, bytes: &str) -> Connection {
    let mut connection = relay.client.connect();
    connection.send(bytes.as_bytes());
    connection
}

fn hook(key: &str, headers: &str) -> String {
    format!("POST /webhooks/github HTTP/1.1\r\nHost: a\r\nIdempotency-Key: {key}\r\n{headers}\r\n")
}

/// An answer that says why, carries an id, is listed in openapi.yaml, and ends the connection.
fn assert_refused(reply: Option<Reply>, status: u16, what: &str) -> Reply {
    let reply = reply.unwrap_or_else(|| panic!("{what}: no answer"));
    let mut words = what.split(' ');
    let (method, path) = match (words.next(), words.next()) {
        (Some("POST"), Some(path)) if path.starts_with('/') => ("POST", path),
        // Whatever can't be read is answered in the same way everywhere.
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

#[test]
fn headers_that_never_end_end_the_connection() {
    let relay = impatient(|_| {});
    let mut silent = relay.client.connect();
    let mut stuck = begun(&relay, "GET /healthz HTTP/1.1\r\nHost: a\r\nX-");
    let mut dripping = begun(&relay, "GET /healthz HTTP/1.1\r\nX-Drip: ");
    // A byte now and then doesn't help: the limit is on the whole.
    until("the dripping client is cut off", || {
        let goes_on = dripping.send(b"x") && !dripping.has_ended();
        (!goes_on).then_some(())
    });
    assert_eq!(silent.rest(), b"");
    assert_eq!(stuck.rest(), b"");
    assert_served(&relay.client);
}

#[test]
fn a_kept_connection_may_idle_only_so_long() {
    let relay = impatient(|_| {});
    let mut kept = begun(&relay, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(kept.reply().map(|reply| reply.status), Some(200));
    assert_eq!(kept.rest(), b"");
}

#[test]
fn a_body_that_never_ends_is_refused_in_time() {
    let relay = impatient(|_| {});
    let mut short = begun(&relay, &hook("1", "Content-Length: 10\r\n"));
    short.send(b"{");
    let mut chunked = begun(&relay, &hook("2", "Transfer-Encoding: chunked\r\n"));
    chunked.send(b"1\r\n{\r\n");
    assert_served(&relay.client);
    for connection in [&mut short, &mut chunked] {
        let reply = assert_refused(
            connection.reply(),
            400,
            "POST /webhooks/github without an end",
        );
        assert!(reply.text().contains("too long"), "{}", reply.text());
        assert_eq!(connection.rest(), b"");
    }
    // Nothing was recorded under these keys.
    for key in ["1", "2"] {
        assert_eq!(relay.client.hook(key, b"{}").json()["status"], "accepted");
    }
}

#[test]
fn bodies_that_break_off_are_refused() {
    let relay = impatient(|_| {});
    for (framing, sent) in [
        ("Content-Length: 5\r\n", &b"{}"[..]),
        ("Transfer-Encoding: chunked\r\n", b"5\r\n{}"),
    ] {
        let mut connection = begun(&relay, &hook("broken", framing));
        connection.send(sent);
        connection.finish();
        // Who has left may not be there for the answer; nobody waits for the rest.
        let status = connection.reply().map(|reply| reply.status);
        assert!(matches!(status, None | Some(400)), "{status:?}");
    }
    for (body, what) in [
        (&b"zz\r\n{}\r\n0\r\n\r\n"[..], "a size that is none"),
        (b"fffffffffffffffff\r\n{}", "a size beyond 64 bits"),
        (b"2\r\n{}xx0\r\n\r\n", "a chunk longer than it says"),
    ] {
        let mut connection = begun(&relay, &hook("broken", "Transfer-Encoding: chunked\r\n"));
        connection.send(body);
        assert_refused(
            connection.reply(),
            400,
            &format!("POST /webhooks/github {what}"),
        );
    }
    assert_eq!(
        relay.client.hook("broken", b"{}").json()["status"],
        "accepted"
    );
}

#[test]
fn who_never_reads_is_cut_off() {
    let relay = impatient(|config| config.server.max_connections = 1);
    let mut deaf = relay.client.connect();
    // The answers (some 60 KB each) fill both sockets' buffers, and then nobody takes any more.
    let request = "GET /openapi.yaml HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100);
    while deaf.send(request.as_bytes()) && !deaf.has_ended() {
        std::thread::yield_now();
    }
    // There is one slot, and it is free again.
    assert_served(&relay.client);
}

#[test]
fn who_reads_a_bit_now_and_then_is_cut_off_too() {
    const PAGES: usize = 64;
    let relay = impatient(|config| {
        config.server.max_body_bytes = 1 << 20;
        config.delivery.level = Some(relay::model::Level::Off);
    });
    let payload = format!("{{\"a\":\"{}\"}}", "x".repeat(1_000_000));
    for _ in 0..PAGES {
        let created = relay.client.create(&[], &relay_to(URL, &payload));
        assert_eq!(created.status, 201);
    }
    let list = format!(
        "GET /v1/relays?pageSize=200 HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\nConnection: close\r\n\r\n"
    );
    let mut slow = begun(&relay, &list);
    // It never stops reading, and is never done in time.
    let mut read = 0;
    until("it is cut off", || {
        let some = slow.read_some(1 << 16);
        read += some;
        (some == 0).then_some(())
    });
    assert!(read < PAGES * payload.len(), "it got all of it");
    assert_served(&relay.client);
}

#[test]
fn idle_clients_make_room_for_others() {
    let relay = TestRelay::start_with(URL, |config| {
        config.server.max_connections = 16;
        // So that nothing but making room can help.
        config.server.header_timeout = Duration::from_secs(3600);
        config.server.request_timeout = Duration::from_secs(3600);
    });
    let mut idle = Vec::new();
    for round in 0..10 {
        // One is in the middle of a request: those that idle go before it.
        let mut busy = begun(&relay, &hook(&format!("{round}"), "Content-Length: 2\r\n"));
        busy.send(b"{");
        for at in 0..30 {
            idle.push(match at % 3 {
                0 => relay.client.connect(),
                1 => begun(&relay, "GET /healthz HTTP/1.1\r\nX-Slow: "),
                _ => {
                    let mut kept = begun(&relay, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
                    assert_eq!(kept.reply().map(|reply| reply.status), Some(200));
                    kept
                }
            });
        }
        assert_served(&relay.client);
        busy.send(b"}");
        assert_eq!(busy.reply().map(|reply| reply.status), Some(202));
    }
    drop(idle);
}

#[test]
fn bodies_that_trickle_in_make_room_for_others() {
    let relay = TestRelay::start_with(URL, |config| {
        config.server.max_connections = 8;
        // So that nothing but making room can help.
        config.server.header_timeout = Duration::from_secs(3600);
        config.server.request_timeout = Duration::from_secs(3600);
    });
    let trickle = |key: String| {
        let headers = "Content-Length: 200\r\nExpect: 100-continue\r\n";
        let mut connection = begun(&relay, &hook(&key, headers));
        assert_eq!(connection.reply().map(|reply| reply.status), Some(100));
        connection.send(b"{");
        connection
    };
    let mut trickling: Vec<_> = (0..8).map(|at| trickle(format!("t{at}"))).collect();
    // Each of these takes the place of another.
    for at in 8..11 {
        trickling.push(trickle(format!("t{at}")));
    }
    for gone in &mut trickling[..3] {
        assert!(gone.has_ended(), "who trickles for longest goes first");
    }
    assert_served(&relay.client);
    drop(trickling);
    // Nothing was recorded of who made room.
    assert_eq!(relay.client.hook("t0", b"{}").json()["status"], "accepted");
}

#[test]
fn beyond_the_limit_of_connections_clients_wait_and_are_served() {
    let relay = TestRelay::start_with(URL, |config| {
        config.server.max_connections = 8;
        config.server.request_timeout = Duration::from_secs(3600);
    });
    let mut busy: Vec<_> = (0..8)
        .map(|key| {
            // Held back until it is told to go on: by then it is surely under way.
            let headers = "Content-Length: 2\r\nExpect: 100-continue\r\n";
            let mut connection = begun(&relay, &hook(&format!("b{key}"), headers));
            assert_eq!(connection.reply().map(|reply| reply.status), Some(100));
            connection
        })
        .collect();
    let mut waiting = begun(&relay, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(!waiting.has_ended());
    // As soon as one of them has its answer, its slot goes to who waits.
    busy[3].send(b"{}");
    assert_eq!(busy[3].reply().map(|reply| reply.status), Some(202));
    assert_eq!(waiting.reply().map(|reply| reply.status), Some(200));
    for at in [0, 1, 2, 4, 5, 6, 7] {
        busy[at].send(b"{}");
        assert_eq!(busy[at].reply().map(|reply| reply.status), Some(202));
    }
}

#[test]
fn without_descriptors_nobody_new_comes_in_and_then_they_do() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut process = Process::serve(
        directory.path(),
        "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = ''\n[database]\nmin_free_bytes = '0'\n[delivery]\nworkers = 2\n",
    );
    let pid = rustix::process::Pid::from_raw(i32::try_from(process.id()).expect("a small number"));
    let limit_to = |current: u64| {
        let limit = rustix::process::Rlimit {
            current: Some(current),
            maximum: Some(1_000_000.min(hard_limit())),
        };
        rustix::process::prlimit(pid, rustix::process::Resource::Nofile, limit).expect("a limit")
    };
    let open = || {
        std::fs::read_dir(format!("/proc/{}/fd", process.id()))
            .expect("its descriptors")
            .count() as u64
    };
    let mut kept = process.client.connect();
    let get = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    kept.send(get);
    assert_eq!(kept.reply().map(|reply| reply.status), Some(200));
    let before = limit_to(open());
    // Whatever was open for a moment only leaves room for one or two.
    let mut waiting: Vec<_> = (0..8).map(|_| process.client.connect()).collect();
    for connection in &mut waiting {
        connection.send(get);
    }
    // Those who are in go on as before.
    for _ in 0..10 {
        kept.send(get);
        assert_eq!(kept.reply().map(|reply| reply.status), Some(200));
    }
    process.wait_for_line("connections can't be accepted");
    limit_to(before.current.unwrap_or(1024));
    for connection in &mut waiting {
        assert_eq!(connection.reply().map(|reply| reply.status), Some(200));
    }
    process.signal("-TERM");
    let (status, log) = process.wait();
    assert!(status.success());
    assert!(!log.contains("can't be accepted"), "said once:\n{log}");
    assert!(
        log.contains("connections are being accepted again"),
        "{log}"
    );
}

fn hard_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .maximum
        .unwrap_or(u64::MAX)
}

#[test]
fn what_two_servers_could_read_differently_is_refused_or_ends_the_connection() {
    let relay = TestRelay::start();
    let smuggled = "GET /events/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = |headers: &str, body: &str| format!("{}{body}{smuggled}", hook("s", headers));
    let get = |head: &str| format!("{head}\r\n\r\n{smuggled}");
    for (request, status) in [
        (get("GET /healthz HTTP/1.1"), 400),
        (get("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a"), 400),
        (get("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b"), 400),
        (get("GET http://a/healthz HTTP/1.1\r\nHost: a"), 400),
        (get("CONNECT a:80 HTTP/1.1\r\nHost: a"), 400),
        (get("GET /healthz HTTP/1.1\r\nHost : a"), 400),
        (get("GET /healthz HTTP/1.1\r\nHost: a\r\n folded: b"), 400),
        (get("GET /healthz HTTP/1.1\r\nHost: a\r\nX: \0"), 400),
        (get("GET /healthz HTTP/1.1\r\nHost: a\r\nX\u{0}: b"), 400),
        (get("GET /heal\u{1}thz HTTP/1.1\r\nHost: a"), 400),
        (get("GET  /healthz HTTP/1.1\r\nHost: a"), 400),
        (get("GET /healthz HTTP/1.1 \r\nHost: a"), 400),
        (get("GET /healthz HTTP/3.0\r\nHost: a"), 400),
        (get("G\tT /healthz HTTP/1.1\r\nHost: a"), 400),
        (get("nonsense"), 400),
        // Both framings: read as chunked, and then closed (RFC 9112, 6.1).
        (
            post(
                "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
                "2\r\n{}\r\n0\r\n\r\n",
            ),
            202,
        ),
        (
            post(
                "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
                "2\r\n{}\r\n0\r\n\r\n",
            ),
            202,
        ),
        (
            post(
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                "2\r\n{}\r\n0\r\n\r\n",
            ),
            400,
        ),
        (
            post(
                "Transfer-Encoding: chunked, chunked\r\n",
                "2\r\n{}\r\n0\r\n\r\n",
            ),
            400,
        ),
        (
            post(
                "Transfer-Encoding: gzip, chunked\r\n",
                "2\r\n{}\r\n0\r\n\r\n",
            ),
            400,
        ),
        (
            post(
                "Transfer-Encoding: chunked, identity\r\n",
                "2\r\n{}\r\n0\r\n\r\n",
            ),
            400,
        ),
        (
            post("Transfer-Encoding: xchunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
            400,
        ),
        (
            post("Transfer-Encoding : chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
            400,
        ),
        (
            post("Content-Length: 2\r\nContent-Length: 3\r\n", "{}"),
            400,
        ),
        (post("Content-Length: 2, 3\r\n", "{}"), 400),
        (post("Content-Length: +2\r\n", "{}"), 400),
        (post("Content-Length: -2\r\n", "{}"), 400),
        (post("Content-Length: 0x2\r\n", "{}"), 400),
        (post("Content-Length: 99999999999999999999\r\n", "{}"), 400),
    ] {
        let mut connection = relay.client.connect();
        connection.send(request.as_bytes());
        let reply = assert_refused(connection.reply(), status, &request);
        if status == 400 {
            let body = reply.json();
            let says = body["message"].as_str().or(body["error"].as_str());
            assert!(says.is_some_and(|text| text.len() > 10), "{body}");
        }
        assert_eq!(
            connection.rest(),
            b"",
            "nothing answers what was smuggled: {request:?}"
        );
    }
    assert_served(&relay.client);
}

#[test]
fn heads_beyond_the_limits_are_refused_and_the_refusal_is_seen() {
    let relay = TestRelay::start();
    let mut many = String::from("GET /healthz HTTP/1.1\r\nHost: a\r\n");
    for at in 0..64 {
        write!(many, "X-{at}: b\r\n").expect("a String takes all");
    }
    many.push_str("\r\n");
    let long = "x".repeat(20_000);
    let endless = "x".repeat(4 << 20);
    for (request, what) in [
        (many, "65 headers"),
        (
            format!("GET /healthz HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"),
            "a long header",
        ),
        (
            format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
            "a long path",
        ),
        (
            format!("GET /healthz HTTP/1.1\r\nHost: a\r\nX: {endless}"),
            "an endless header",
        ),
        (
            hook("1", &format!("X: {endless}")),
            "POST /webhooks/github with an endless header",
        ),
    ] {
        let mut connection = relay.client.connect();
        connection.send(request.as_bytes());
        let reply = assert_refused(connection.reply(), 431, what);
        assert!(reply.text().contains("at most 16384 bytes and 64 headers"));
        assert!(reply.header("date").is_some());
    }
    let mut enough = String::from("GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
    for at in 0..62 {
        write!(enough, "X-{at}: b\r\n").expect("a String takes all");
    }
    enough.push_str("\r\n");
    assert_eq!(relay.client.raw(enough.as_bytes()).status, 200);
}

#[test]
fn a_body_is_asked_for_only_if_it_is_wanted() {
    let relay = TestRelay::start();
    let expecting = |head: &str| {
        let mut connection = relay.client.connect();
        connection.send(format!("{head}Host: a\r\nExpect: 100-continue\r\n\r\n").as_bytes());
        connection
    };
    let mut wanted =
        expecting("POST /webhooks/github HTTP/1.1\r\nIdempotency-Key: 1\r\nContent-Length: 2\r\n");
    assert_eq!(wanted.reply().map(|reply| reply.status), Some(100));
    wanted.send(b"{}");
    assert_eq!(wanted.reply().map(|reply| reply.status), Some(202));

    for (head, status) in [
        (
            "POST /webhooks/github HTTP/1.1\r\nContent-Length: 2\r\n",
            400,
        ),
        (
            "POST /webhooks/unknown HTTP/1.1\r\nContent-Length: 2\r\n",
            404,
        ),
        ("POST /v1/relays HTTP/1.1\r\nContent-Length: 2\r\n", 401),
        ("POST /healthz HTTP/1.1\r\nContent-Length: 2\r\n", 405),
        (
            "POST /webhooks/github HTTP/1.1\r\nIdempotency-Key: 1\r\nContent-Length: 9999999\r\n",
            413,
        ),
    ] {
        let mut refused = expecting(head);
        assert_refused(refused.reply(), status, head);
        assert_eq!(refused.rest(), b"");
    }
}

#[test]
fn an_early_answer_reaches_who_is_still_sending() {
    let relay = TestRelay::start();
    let large = vec![b' '; 4 << 20];
    let chunk = format!("{:x}\r\n", large.len());
    for (request, status) in [
        (hook("1", "Content-Length: 4194304\r\n"), 413),
        (
            hook("1", &format!("Transfer-Encoding: chunked\r\n\r\n{chunk}")),
            413,
        ),
        (
            hook("1", "X-API-Key: none\r\nContent-Length: 4194304\r\n")
                .replace("webhooks/github", "v1/relays"),
            401,
        ),
    ] {
        let mut connection = relay.client.connect();
        connection.send(request.as_bytes());
        // It is read away for a while: a reset would take the answer from some clients.
        assert!(connection.send(&large), "{request}");
        assert_refused(connection.reply(), status, &request);
    }
    // A small one that was there already doesn't cost the connection.
    let mut connection = relay.client.connect();
    let unknown = hook("1", "Content-Length: 2\r\n").replace("github", "unknown") + "{}";
    for _ in 0..3 {
        connection.send(unknown.as_bytes());
        let reply = connection.reply().expect("an answer");
        assert_eq!((reply.status, reply.header("connection")), (404, None));
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let relay = TestRelay::start();
    let mut connection = relay.client.connect();
    let requests = [
        hook("p1", "Content-Length: 2\r\n") + "{}",
        "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        hook("p2", "Transfer-Encoding: chunked\r\n") + "2\r\n{}\r\n0\r\n\r\n",
        "HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
    ];
    connection.send(requests.concat().as_bytes());
    for status in [202, 404, 202] {
        assert_eq!(connection.reply().map(|reply| reply.status), Some(status));
    }
    // What comes after an unread body is not taken for a request.
    let mut connection = relay.client.connect();
    let unread = hook("p3", "Content-Length: 99999\r\n").replace("github", "unknown");
    connection.send((unread + &requests[1]).as_bytes());
    assert_refused(connection.reply(), 404, "an unread body");
    assert_eq!(connection.rest(), b"");
}

#[test]
fn who_hangs_up_early_gets_no_answer_and_one_event_all_the_same() {
    let relay = TestRelay::start();
    for key in 0..50 {
        let request = hook(&format!("h{key}"), "Content-Length: 2\r\n") + "{}";
        let mut half = relay.client.connect();
        half.send(request.as_bytes());
        if key % 2 == 0 {
            half.finish();
            // An answer that was quick enough, or none: either way it ends.
            half.rest();
        }
        drop(half);
    }
    // No answer means unknown: the same key again settles it.
    let ids: std::collections::HashSet<_> = (0..50)
        .map(|key| {
            let again = relay.client.hook(&format!("h{key}"), b"{}");
            assert_eq!(again.status, 202);
            again.json()["event_id"].as_str().expect("an id").to_owned()
        })
        .collect();
    let stored: i64 = relay
        .sqlite()
        .query_row("SELECT count(*) FROM intents", [], |row| row.get(0))
        .expect("a count");
    assert_eq!((ids.len(), stored), (50, 50));
}

#[test]
fn memory_is_bounded_by_connections_times_the_bodys_limit() {
    const CONNECTIONS: usize = 32;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let process = Process::serve(
        directory.path(),
        &format!(
            "[server]\nlisten = '127.0.0.1:0'\nmax_connections = {CONNECTIONS}\nrequest_timeout = '1h'\n\
             [admin]\nlisten = ''\n[database]\nmin_free_bytes = '0'\n\
             [destinations.d]\nurl = 'http://127.0.0.1:9/'\n[sources.github]\ndestinations = ['d']\n"
        ),
    );
    assert_eq!(process.client.hook("0", b"{}").status, 202);
    let before = process.resident();
    // Each sends all but the last byte of the largest body (1 MiB). Twice as many wait outside.
    let almost = vec![b' '; (1 << 20) - 1];
    let held: Vec<_> = (0..3 * CONNECTIONS)
        .map(|key| {
            let mut connection = process.client.connect();
            let headers = "Content-Length: 1048576\r\nExpect: 100-continue\r\n";
            connection.send(hook(&format!("m{key}"), headers).as_bytes());
            if key < CONNECTIONS {
                assert_eq!(connection.reply().map(|reply| reply.status), Some(100));
                connection.send(&almost);
            }
            connection
        })
        .collect();
    let grown = process.resident().saturating_sub(before);
    // A read buffer and an allocator's slack come on top of each body.
    let bound = CONNECTIONS * (2 << 20);
    assert!(grown < bound, "grew by {} KiB", grown >> 10);
    drop(held);
    until("it takes others again", || {
        let reply = process
            .client
            .try_send("GET", "/healthz", &[("X-API-Key", KEY)], b"");
        reply.filter(|reply| reply.status == 200)
    });
}
