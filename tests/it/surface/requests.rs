//! Requests as providers and proxies send them: queries, targets, encodings, byte order marks.

use std::io::Write as _;

use super::{Scene, error};

/// The header block of the newest event.
fn headers_of_last(scene: &Scene) -> String {
    let last = "SELECT headers FROM intents ORDER BY id DESC LIMIT 1";
    let bytes: Vec<u8> = scene.relay.peek(last);
    String::from_utf8(bytes).expect("ASCII")
}

fn body_of_last(scene: &Scene) -> Vec<u8> {
    let last = "SELECT body FROM intents ORDER BY id DESC LIMIT 1";
    scene.relay.peek(last)
}

#[test]
fn the_query_is_forwarded_in_a_header_that_senders_cannot_set() {
    let scene = Scene::new(
        "[sources.a]\ndestinations = [\"orders\"]\nidempotency = \"none\"\n\
         [sources.d]\ndestinations = [\"orders\"]\nidempotency = \"none\"\nforward_query = \"drop\"",
    );
    let forged = [
        ("Relay-Query", "tenant=8"),
        ("Relay_Query", "tenant=8"),
        ("relay_verified", "a"),
        ("Webhook_Id", "1"),
        ("webhook-Signature_", "kept by its provider"),
        ("X_API_Key", "k"),
        ("X-A", "1"),
    ];
    scene.post("/webhooks/a?tenant=7&x=%0d%0a", &forged, b"{}");
    assert_eq!(
        headers_of_last(&scene),
        "webhook-signature_: kept by its provider\r\nx-a: 1\r\n\
         relay-query: tenant=7&x=%0d%0a\r\n"
    );
    scene.post("/webhooks/a?", &[], b"{}");
    assert_eq!(headers_of_last(&scene), "");
    scene.post("/webhooks/d?tenant=7", &forged, b"{}");
    assert_eq!(
        headers_of_last(&scene),
        "webhook-signature_: kept by its provider\r\nx-a: 1\r\n"
    );
}

#[test]
fn a_query_is_not_appended_to_a_destination_s_own() {
    let text = "[destinations.own]\nurl = \"http://127.0.0.1:9/?key=1\"\n\
                [sources.a]\ndestinations = [\"own\"]\nforward_query = \"append\"";
    assert_eq!(
        error(text),
        "sources.a.forward_query: \"append\" contradicts destinations.own.url, which has a query of \
         its own"
    );
}

#[test]
fn a_byte_order_mark_before_json_is_ignored_and_kept() {
    let scene = Scene::new(
        "[sources.a]\ndestinations = [\"orders\"]\nidempotency = { json_pointer = \"/id\" }",
    );
    let body = b"\xef\xbb\xbf{\"id\":1}";
    let reply = scene.post("/webhooks/a", &[], body);
    assert_eq!(reply.status, 202, "{}", reply.text());
    assert_eq!(body_of_last(&scene), body);
    let id = reply.json()["event_id"].as_str().expect("an id").to_owned();
    let event = scene.relay.client.get(&format!("/events/{id}")).json();
    assert_eq!(event["payload"], serde_json::json!({"id": 1}));
    for body in [
        &b"\xef\xbb\xbf"[..],
        b"\xef\xbb\xbf\xef\xbb\xbf1",
        b"\xff\xfe1\0",
    ] {
        assert_eq!(scene.post("/webhooks/a", &[], body).status, 400);
    }
}

#[test]
fn a_body_that_is_no_json_is_refused_with_its_type_and_the_key_to_set() {
    let scene = Scene::new("[sources.a]\ndestinations = [\"orders\"]");
    let post = |content_type: &[(&str, &str)], body: &[u8]| {
        let mut headers = vec![("Idempotency-Key", "k")];
        headers.extend(content_type);
        let reply = scene.post("/webhooks/a", &headers, body);
        assert_eq!(reply.status, 400);
        reply.json()["error"].as_str().expect("text").to_owned()
    };
    let form = post(
        &[("Content-Type", "application/x-www-form-urlencoded")],
        b"payload=%7B%7D",
    );
    assert!(
        form.ends_with(
            "expected a JSON document, and it came as \"application/x-www-form-urlencoded\": \
             for a source of such bodies set accept_any_content = true"
        ),
        "{form}"
    );
    let none = post(&[], b"{");
    assert!(none.ends_with("expected a JSON document"), "{none}");
    assert!(post(&[], b"").starts_with("the body is empty: expected a JSON document"));
    let long = format!("text/{}", "x".repeat(300));
    assert!(post(&[("Content-Type", &long)], b"a").len() < 400);
}

#[test]
fn a_trailing_slash_and_our_own_absolute_form_lead_to_the_source() {
    let scene = Scene::new("[sources.a]\ndestinations = [\"orders\"]\nidempotency = \"none\"");
    assert_eq!(scene.post("/webhooks/a/", &[], b"{}").status, 202);
    assert_eq!(scene.post("/webhooks/a//", &[], b"{}").status, 404);
    assert_eq!(scene.post("/webhooks//", &[], b"{}").status, 404);
    let address = scene.client.address();
    let port = address.port();
    for (target, status) in [
        (format!("http://{address}/webhooks/a"), 202),
        (format!("http://localhost:{port}/webhooks/a"), 202),
        (format!("http://LOCALHOST:{port}/webhooks/a/?x=1"), 202),
        (format!("http://localhost:{}/webhooks/a", port ^ 1), 400),
        ("http://example.com/webhooks/a".to_owned(), 400),
        (format!("http://user@{address}/webhooks/a"), 400),
        (format!("ftp://{address}/webhooks/a"), 400),
    ] {
        let reply = scene.post(&target, &[], b"{}");
        assert_eq!(reply.status, status, "{target}: {}", reply.text());
    }
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).expect("memory");
    encoder.finish().expect("memory")
}

#[test]
fn a_compressed_body_is_checked_decoded_and_kept_as_it_was_sent() {
    let scene = Scene::new(
        "[sources.a]\ndestinations = [\"orders\"]\nidempotency = { json_pointer = \"/id\" }\n\
         max_body_bytes = 1000\ndecode = \"gzip\"\n\
         [sources.plain]\ndestinations = [\"orders\"]\nidempotency = \"none\"",
    );
    let post = |coding: &str, body: &[u8]| {
        scene
            .post("/webhooks/a", &[("Content-Encoding", coding)], body)
            .status
    };
    let body = gzip(b"{\"id\":1}");
    assert_eq!(post("gzip", &body), 202);
    assert_eq!(body_of_last(&scene), body);
    assert_eq!(headers_of_last(&scene), "content-encoding: gzip\r\n");
    assert_eq!(scene.post("/webhooks/a", &[], b"{\"id\":2}").status, 202);
    assert_eq!(post("identity", b"{\"id\":3}"), 202);
    assert_eq!(post("X-GZIP", &gzip(b"{\"id\":4}")), 202);
    for coding in ["br", "deflate", "gzip, gzip", "zstd"] {
        assert_eq!(post(coding, &body), 415, "{coding}");
    }
    let fitting = format!("{{\"id\":\"{}\"}}", "5".repeat(200));
    let fitting = format!("{fitting}{}", " ".repeat(1000 - fitting.len()));
    assert_eq!(post("gzip", &gzip(fitting.as_bytes())), 202);
    assert_eq!(post("gzip", &gzip(format!("{fitting} ").as_bytes())), 413);
    let bomb = gzip(&vec![b' '; 10_000_000]);
    assert_eq!(post("gzip", &bomb[..900.min(bomb.len())]), 413);
    let two = [body.clone(), gzip(b"1")].concat();
    let mut wrong_sum = body.clone();
    let at = wrong_sum.len() - 8;
    wrong_sum[at] ^= 1;
    for broken in [
        &two[..],
        &wrong_sum,
        &body[..body.len() - 1],
        b"{\"id\":6}",
        b"",
    ] {
        assert_eq!(post("gzip", broken), 400);
    }
    // Without the key nothing is decoded.
    let reply = scene.post("/webhooks/plain", &[("Content-Encoding", "gzip")], &body);
    assert_eq!(reply.status, 400);
    let error = reply.json()["error"].as_str().expect("text").to_owned();
    assert!(error.ends_with("set decode = \"gzip\""), "{error}");
    let reply = scene.post("/webhooks/a", &[("Content-Encoding", "gzip")], &gzip(b"{"));
    assert_eq!(reply.status, 400);
    assert!(!reply.text().contains("set decode"), "{}", reply.text());
}

#[test]
fn seventy_headers_are_fine_and_more_than_the_limit_are_not() {
    let scene = Scene::new("[sources.a]\ndestinations = [\"orders\"]\nidempotency = \"none\"");
    let names: Vec<String> = (0..200)
        .map(|number| format!("X-Header-{number:05}"))
        .collect();
    let post = |count: usize| {
        let headers: Vec<_> = names[..count]
            .iter()
            .map(|name| (name.as_str(), "12345"))
            .collect();
        scene.post("/webhooks/a", &headers, b"{}").status
    };
    assert_eq!(post(70), 202);
    // Host, Connection and Content-Length count, too.
    assert_eq!(post(97), 202);
    assert_eq!(post(98), 431);
    let long = "x".repeat(30_000);
    assert_eq!(
        scene.post("/webhooks/a", &[("X", &long)], b"{}").status,
        202
    );
    let long = "x".repeat(70_000);
    assert_eq!(
        scene.post("/webhooks/a", &[("X", &long)], b"{}").status,
        431
    );
}

#[test]
fn the_limits_of_headers_are_keys() {
    let scene = Scene::new(
        "[server]\nmax_headers = 10\nmax_header_bytes = \"8KiB\"\n\
         [sources.a]\ndestinations = [\"orders\"]\nidempotency = \"none\"",
    );
    let headers = [
        ("A", "1"),
        ("B", "1"),
        ("C", "1"),
        ("D", "1"),
        ("E", "1"),
        ("F", "1"),
        ("G", "1"),
    ];
    assert_eq!(scene.post("/webhooks/a", &headers, b"{}").status, 202);
    let more = [&headers[..], &[("H", "1")]].concat();
    let reply = scene.post("/webhooks/a", &more, b"{}");
    assert_eq!(reply.status, 431);
    assert!(
        reply.text().contains("at most 8192 bytes and 10 headers"),
        "{}",
        reply.text()
    );
    for (setting, expected) in [
        (
            "max_headers = 0",
            "server.max_headers: 0: expected 8 to 1024",
        ),
        (
            "max_header_bytes = 4096",
            "server.max_header_bytes: 4096: expected 8192 to 1048576",
        ),
        (
            "keep_alive_timeout = \"0s\"",
            "server.keep_alive_timeout: 0ms: expected 1ms to 1h",
        ),
    ] {
        assert_eq!(error(&format!("[server]\n{setting}")), expected);
    }
}
