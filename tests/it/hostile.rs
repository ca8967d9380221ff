//! Misbehaving clients on raw sockets: their answers, and that other clients are served meanwhile.

use std::time::{Duration, Instant};

use crate::support::hostile::{assert_refused, assert_served, begun, hook};
use crate::support::{KEY, Process, TestRelay, URL, relay_to, until};

/// A relay with short timeouts.
fn impatient(change: impl FnOnce(&mut relay::Config)) -> TestRelay {
    TestRelay::start_with(URL, |config| {
        config.server.header_timeout = Duration::from_millis(300);
        config.server.request_timeout = Duration::from_millis(300);
        change(config);
    })
}

#[test]
fn headers_that_never_end_end_the_connection() {
    let relay = impatient(|_| {});
    let mut silent = relay.client.connect();
    let mut stuck = begun(&relay, "GET /healthz HTTP/1.1\r\nHost: a\r\nX-");
    let mut dripping = begun(&relay, "GET /healthz HTTP/1.1\r\nX-Drip: ");
    // A byte now and then doesn't extend the time: the limit is on the whole head.
    until("the dripping client is cut off", || {
        let goes_on = dripping.send(b"x") && !dripping.has_ended();
        (!goes_on).then_some(())
    });
    assert_eq!(silent.rest(), b"");
    assert_eq!(stuck.rest(), b"");
    assert_served(&relay.client);
}

#[test]
fn a_keep_alive_connection_is_closed_after_its_idle_time() {
    let request = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    for (header_timeout, keep_alive_timeout) in [(3_600_000, 300), (300, 600)] {
        let relay = impatient(|config| {
            config.server.header_timeout = Duration::from_millis(header_timeout);
            config.server.keep_alive_timeout = Duration::from_millis(keep_alive_timeout);
        });
        let mut kept = begun(&relay, request);
        assert_eq!(kept.reply().map(|reply| reply.status), Some(200));
        let begin = Instant::now();
        assert_eq!(kept.rest(), b"");
        assert!(begin.elapsed() >= Duration::from_millis(keep_alive_timeout - 50));
    }
}

#[test]
fn the_headers_of_a_later_request_have_their_own_time_after_an_idle_one() {
    let relay = impatient(|config| {
        config.server.keep_alive_timeout = Duration::from_secs(3600);
    });
    let request = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut kept = begun(&relay, request);
    assert_eq!(kept.reply().map(|reply| reply.status), Some(200));
    // Twice idle for longer than headers may take: another connection ran out of that time
    // meanwhile.
    let outlast_a_stuck_one = || {
        let mut stuck = begun(&relay, "GET /healthz HTTP/1.1\r\nX-");
        assert_eq!(stuck.rest(), b"");
    };
    outlast_a_stuck_one();
    assert!(kept.send(request.as_bytes()));
    assert_eq!(kept.reply().map(|reply| reply.status), Some(200));
    outlast_a_stuck_one();
    assert!(kept.send(b"GET /healthz HTTP/1.1\r\nX-"));
    let begin = Instant::now();
    assert_eq!(kept.rest(), b"", "the rest of the headers is waited for");
    assert!(begin.elapsed() >= Duration::from_millis(250));
}

#[test]
fn a_body_that_never_ends_is_refused_at_the_timeout() {
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
fn truncated_bodies_are_refused() {
    let relay = impatient(|_| {});
    for (framing, sent) in [
        ("Content-Length: 5\r\n", &b"{}"[..]),
        ("Transfer-Encoding: chunked\r\n", b"5\r\n{}"),
    ] {
        let mut connection = begun(&relay, &hook("broken", framing));
        connection.send(sent);
        connection.finish();
        // A client that has left may not get the answer; the relay doesn't wait for the rest.
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
fn a_client_that_reads_no_answer_is_disconnected() {
    let relay = impatient(|config| config.server.max_connections = 1);
    let mut deaf = relay.client.connect();
    // The answers (some 60 KB each) fill both sockets' buffers, and the client reads nothing.
    let request = "GET /openapi.yaml HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100);
    while deaf.send(request.as_bytes()) && !deaf.has_ended() {
        std::thread::yield_now();
    }
    // There is only one slot, and it is free again.
    assert_served(&relay.client);
}

#[test]
fn a_client_that_reads_too_slowly_is_disconnected() {
    const ANSWERS: usize = 64;
    let relay = impatient(|config| {
        config.server.max_body_bytes = 1 << 20;
        config.delivery.level = Some(relay::model::Level::Off);
    });
    let payload = format!("{{\"a\":\"{}\"}}", "x".repeat(1_000_000));
    // A busy machine may be too slow for the time limit itself.
    until("a large relay", || {
        let body = relay_to(URL, &payload);
        let key = [("X-API-Key", KEY)];
        let client = &relay.client;
        let created = client.try_send("POST", "/v1/relays", &key, body.as_bytes())?;
        (created.status == 201).then_some(())
    });
    // An answer fits into the buffers of both sides, and all of them don't.
    let list = format!("GET /v1/relays HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\n\r\n");
    let mut slow = begun(&relay, &list.repeat(ANSWERS));
    // The client goes on reading, but too slowly for the time limit: 2 MB a second at most.
    let mut read = 0;
    until("the slow client is cut off", || {
        let some = slow.read_some(1 << 12);
        read += some;
        (some == 0).then_some(())
    });
    assert!(
        read < ANSWERS * payload.len(),
        "the slow client got all answers"
    );
    assert_served(&relay.client);
}

#[test]
fn idle_connections_are_evicted_for_new_ones() {
    let relay = TestRelay::start_with(URL, |config| {
        config.server.max_connections = 16;
        // Long timeouts, so that only eviction frees a slot.
        config.server.header_timeout = Duration::from_secs(3600);
        config.server.request_timeout = Duration::from_secs(3600);
    });
    let mut idle = Vec::new();
    for round in 0..10 {
        // One connection is in the middle of a request: idle ones are evicted first.
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
fn connections_with_slow_bodies_are_evicted_for_new_ones() {
    let relay = TestRelay::start_with(URL, |config| {
        config.server.max_connections = 8;
        // Long timeouts, so that only eviction frees a slot.
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
    // Each of these evicts another connection.
    for at in 8..11 {
        trickling.push(trickle(format!("t{at}")));
    }
    for gone in &mut trickling[..3] {
        assert!(
            gone.has_ended(),
            "the body that has been arriving for longest is evicted first"
        );
    }
    assert_served(&relay.client);
    drop(trickling);
    // Nothing was recorded for the evicted connections.
    assert_eq!(relay.client.hook("t0", b"{}").json()["status"], "accepted");
}

#[test]
fn clients_beyond_the_connection_limit_wait_and_are_served() {
    let relay = TestRelay::start_with(URL, |config| {
        config.server.max_connections = 8;
        config.server.request_timeout = Duration::from_secs(3600);
    });
    let mut busy: Vec<_> = (0..8)
        .map(|key| {
            // `100 Continue` shows that the request is under way before its body is sent.
            let headers = "Content-Length: 2\r\nExpect: 100-continue\r\n";
            let mut connection = begun(&relay, &hook(&format!("b{key}"), headers));
            assert_eq!(connection.reply().map(|reply| reply.status), Some(100));
            connection
        })
        .collect();
    let mut waiting = begun(&relay, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(!waiting.has_ended());
    // When one of them has its answer, a waiting client gets its slot.
    busy[3].send(b"{}");
    assert_eq!(busy[3].reply().map(|reply| reply.status), Some(202));
    assert_eq!(waiting.reply().map(|reply| reply.status), Some(200));
    for at in [0, 1, 2, 4, 5, 6, 7] {
        busy[at].send(b"{}");
        assert_eq!(busy[at].reply().map(|reply| reply.status), Some(202));
    }
}

#[test]
fn without_descriptors_new_clients_wait_until_some_are_free() {
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
    // Descriptors that were open only briefly leave room for one or two connections.
    let mut waiting: Vec<_> = (0..8).map(|_| process.client.connect()).collect();
    for connection in &mut waiting {
        connection.send(get);
    }
    // Accepted connections are still served.
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
fn a_client_that_hangs_up_early_has_one_event_under_its_key() {
    let relay = TestRelay::start();
    for key in 0..50 {
        let request = hook(&format!("h{key}"), "Content-Length: 2\r\n") + "{}";
        let mut half = relay.client.connect();
        half.send(request.as_bytes());
        if key % 2 == 0 {
            half.finish();
            // The answer may have been quick enough or not: in both cases the connection ends.
            half.rest();
        }
        drop(half);
    }
    // Without an answer the outcome is unknown; the same key again gives it.
    let ids: std::collections::HashSet<_> = (0..50)
        .map(|key| {
            let again = relay.client.hook(&format!("h{key}"), b"{}");
            assert_eq!(again.status, 202);
            again.json()["event_id"].as_str().expect("an id").to_owned()
        })
        .collect();
    let stored: i64 = relay.peek("SELECT count(*) FROM intents");
    assert_eq!((ids.len(), stored), (50, 50));
}

#[test]
fn memory_is_bounded_by_connections_times_the_body_limit() {
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
    // Each connection sends all but the last byte of the largest body (1 MiB). Twice as many wait
    // to be accepted.
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
    // Each body needs a read buffer and the allocator's slack besides.
    let bound = CONNECTIONS * (2 << 20);
    assert!(grown < bound, "grew by {} KiB", grown >> 10);
    drop(held);
    until("other clients are served again", || {
        let reply = process
            .client
            .try_send("GET", "/healthz", &[("X-API-Key", KEY)], b"");
        reply.filter(|reply| reply.status == 200)
    });
}
