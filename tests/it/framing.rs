//! The framing of requests, on raw sockets: ambiguous and oversized heads, bodies that are not
//! wanted, and requests in a row.

use std::fmt::Write as _;

use crate::support::TestRelay;
use crate::support::hostile::{assert_refused, assert_served, hook};

#[test]
fn ambiguous_requests_are_refused_or_close_the_connection() {
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
        // Both framings at once: read as chunked, and then closed (RFC 9112, 6.1).
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
fn heads_beyond_the_limits_are_refused_and_the_client_gets_the_answer() {
    let relay = TestRelay::start();
    let mut many = String::from("GET /healthz HTTP/1.1\r\nHost: a\r\n");
    for at in 0..100 {
        write!(many, "X-{at}: b\r\n").expect("a String takes all");
    }
    many.push_str("\r\n");
    let long = "x".repeat(70_000);
    let endless = "x".repeat(4 << 20);
    for (request, what) in [
        (many, "101 headers"),
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
        assert!(reply.text().contains("at most 32768 bytes and 100 headers"));
        assert!(reply.header("date").is_some());
    }
    let mut enough = String::from("GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
    for at in 0..98 {
        write!(enough, "X-{at}: b\r\n").expect("a String takes all");
    }
    enough.push_str("\r\n");
    assert_eq!(relay.client.raw(enough.as_bytes()).status, 200);
}

/// hyper alone refuses the same head or not, by the pieces in which it arrives.
#[test]
fn a_head_beyond_the_limit_is_refused_however_it_arrives() {
    let relay = TestRelay::start();
    let head = |start: &str, bytes: usize| {
        let head = format!("{start} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-B: ");
        let value = "x".repeat(bytes - head.len() - "\r\n\r\n".len());
        format!("{head}{value}\r\n\r\n")
    };
    let admin = relay.admin();
    for (client, start, taken) in [
        (&relay.client, "GET /healthz", 200),
        (&relay.client, "GET /webhooks/github", 405),
        (&admin, "GET /healthz", 200),
    ] {
        for (bytes, status) in [(32_768, taken), (32_769, 431), (33_500, 431), (40_000, 431)] {
            for piece in [bytes, 8_000] {
                let mut connection = client.connect();
                for part in head(start, bytes).as_bytes().chunks(piece) {
                    connection.send(part);
                }
                let reply = connection.reply().expect("an answer");
                let what = format!("{start}: {bytes} bytes in pieces of {piece}");
                assert_eq!(reply.status, status, "{what}: {}", reply.text());
            }
        }
    }
}

#[test]
fn continue_is_sent_only_for_a_body_that_will_be_read() {
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
fn an_early_answer_reaches_a_client_that_is_still_sending() {
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
        // The rest is read and discarded for a while: with a reset some clients lose the answer.
        assert!(connection.send(&large), "{request}");
        assert_refused(connection.reply(), status, &request);
    }
    // A small body that has arrived already doesn't cost the connection.
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
    // Bytes after an unread body are not parsed as a request.
    let mut connection = relay.client.connect();
    let unread = hook("p3", "Content-Length: 99999\r\n").replace("github", "unknown");
    connection.send((unread + &requests[1]).as_bytes());
    assert_refused(connection.reply(), 404, "an unread body");
    assert_eq!(connection.rest(), b"");
}

#[test]
fn a_malformed_host_is_refused() {
    let relay = TestRelay::start();
    let answered = |host: &[u8]| {
        let head = b"GET /healthz HTTP/1.1\r\nConnection: close\r\nHost: ";
        relay.client.raw(&[head, host, b"\r\n\r\n"].concat())
    };
    for host in [
        "hooks.example.com",
        "my_relay:8080",
        "[::1]:80",
        "10.0.0.1",
        "",
    ] {
        assert_eq!(answered(host.as_bytes()).status, 200, "{host}");
    }
    let malformed: [&[u8]; 8] = [
        b"a b",
        b"x,y",
        b"http://x",
        b"[::1",
        b"x@y",
        b"x:99999",
        b"x/..",
        b"\xff",
    ];
    for host in malformed {
        let reply = answered(host);
        assert_eq!(reply.status, 400, "{host:?}");
        let expected = "Host: expected a name or an address, and perhaps a port";
        assert!(reply.text().contains(expected), "{}", reply.text());
    }
}

#[test]
fn ambiguous_message_framing_is_refused() {
    let relay = TestRelay::start();
    for (request, status) in [
        (
            "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            200,
        ),
        ("GET /healthz HTTP/1.0\r\n\r\n", 200),
        ("GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        (
            "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a\r\nConnection: close\r\n\r\n",
            400,
        ),
        (
            "GET http://relay/healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            400,
        ),
        (
            "CONNECT relay:80 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            400,
        ),
        (
            "POST /webhooks/github HTTP/1.1\r\nHost: a\r\nIdempotency-Key: 1\r\nConnection: close\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST /webhooks/github HTTP/1.1\r\nHost: a\r\nIdempotency-Key: 1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            202,
        ),
        ("nonsense\r\n\r\n", 400),
    ] {
        let reply = relay.client.raw(request.as_bytes());
        assert_eq!(reply.status, status, "{request:?}");
        if request.contains("gzip, chunked") {
            let expected = "Transfer-Encoding: expected chunked, once, or none";
            assert_eq!(reply.json()["error"], expected);
        }
    }
    // The operator's listener has fewer rules, and none of them is an end without an answer.
    let admin = relay.admin();
    let host = format!("Host: {}\r\nConnection: close", admin.address());
    // The console answers for every path that is no route's.
    let of_no_path = if cfg!(feature = "console") { 405 } else { 404 };
    for (request, status) in [
        ("GET /api/overview HTTP/1.1\r\n{host}\r\n\r\n", 200),
        (
            "GET http://localhost/api/overview HTTP/1.1\r\n{host}\r\n\r\n",
            200,
        ),
        (
            "GET http://relay/api/overview HTTP/1.1\r\n{host}\r\n\r\n",
            421,
        ),
        ("CONNECT relay:80 HTTP/1.1\r\n{host}\r\n\r\n", 400),
        (
            "CONNECT relay:80 HTTP/1.1\r\nAccept: text/html\r\n{host}\r\n\r\n",
            400,
        ),
        ("OPTIONS * HTTP/1.1\r\n{host}\r\n\r\n", of_no_path),
        (
            "POST /api/destinations/orders/pause HTTP/1.1\r\n{host}\r\nContent-Type: application/json\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST /api/destinations/orders/pause HTTP/1.1\r\n{host}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            200,
        ),
    ] {
        let request = request.replace("{host}", &host);
        let reply = admin.raw(request.as_bytes());
        assert_eq!(reply.status, status, "{request:?}");
    }
}
