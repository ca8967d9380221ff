//! Both HTTP contracts. They are the same in each of the four builds.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{KEY, Reply, TestRelay, URL, assert_error, relay_to, until};

fn members(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect()
}

fn set<const N: usize>(names: [&'static str; N]) -> BTreeSet<&'static str> {
    names.into_iter().collect()
}

#[test]
fn the_document_is_served_byte_for_byte() {
    let relay = TestRelay::start();
    let reply = relay.client.get("/openapi.yaml");
    assert_eq!(reply.status, 200);
    assert_eq!(reply.body, include_bytes!("../../openapi.yaml"));
}

#[test]
fn a_relay_is_created_shown_and_listed() {
    let relay = TestRelay::start_with(URL, |config| {
        // With delivery off its status doesn't change, in any build.
        config.delivery.level = Some(relay::model::Level::Off);
    });
    let payload = r#"{"n": 12345678901234567890.1234567890, "ü":"\u00fc" ,"e":1.50E+2}"#;
    let body = format!(
        r#"{{"eventType":" order.created ","destination":{{"type":"webhook","url":"{URL}"}},"payload": {payload} ,"metadata":{{"k":"v"}}}}"#
    );
    let created = relay.client.create(&[], &body);
    assert_eq!(created.status, 201, "{}", created.text());
    let shown = created.json();
    assert_eq!(
        members(&shown),
        set([
            "id",
            "eventType",
            "destination",
            "payload",
            "metadata",
            "status",
            "createdAt"
        ])
    );
    assert_eq!(shown["eventType"], "order.created");
    assert_eq!(shown["destination"], json!({"type": "webhook", "url": URL}));
    assert_eq!(shown["metadata"], json!({"k": "v"}));
    assert_eq!(shown["status"], "queued");
    assert!(
        shown["createdAt"]
            .as_str()
            .is_some_and(|at| at.ends_with('Z'))
    );
    assert!(
        created.text().contains(payload),
        "the payload is kept byte for byte"
    );
    let id = shown["id"].as_str().expect("an id");
    let path = format!("/v1/relays/{id}");
    assert_eq!(created.header("location"), Some(path.as_str()));

    let read = relay.client.get(&path);
    assert_eq!((read.status, read.body), (200, created.body.clone()));

    let list = relay.client.get("/v1/relays");
    assert_eq!(list.status, 200);
    assert_eq!(members(&list.json()), set(["items", "nextPageToken"]));
    assert_eq!(list.json()["items"], json!([shown]));
    assert_eq!(list.json()["nextPageToken"], Value::Null);
}

#[test]
fn an_event_is_accepted_and_shown() {
    let relay = TestRelay::start_with(URL, |config| {
        config.delivery.level = Some(relay::model::Level::Off);
    });
    let push = include_bytes!("../fixtures/push.json");
    let accepted = relay.client.hook("delivery-1", push);
    assert_eq!(accepted.status, 202);
    assert_eq!(members(&accepted.json()), set(["event_id", "status"]));
    assert_eq!(accepted.json()["status"], "accepted");
    let id = accepted.json()["event_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert!(id.starts_with("evt_"));

    let again = relay.client.hook("delivery-1", b"{}");
    assert_eq!(again.status, 202);
    assert_eq!(again.json(), json!({"event_id": id, "status": "duplicate"}));

    let reply = relay.client.get(&format!("/events/{id}"));
    assert_eq!(reply.status, 200);
    let event = reply.json();
    assert_eq!(
        members(&event),
        set([
            "id",
            "source",
            "status",
            "attempts",
            "max_attempts",
            "last_error",
            "next_retry_at",
            "created_at",
            "updated_at",
            "payload",
            "status_description",
            "deliveries"
        ])
    );
    assert_eq!(event["id"], id);
    assert_eq!(event["source"], "github");
    assert_eq!(event["status"], "queued");
    assert_eq!(
        (&event["attempts"], &event["max_attempts"]),
        (&json!(0), &json!(10))
    );
    let text = reply.text();
    let push = std::str::from_utf8(push).expect("UTF-8");
    assert!(
        text.contains(push.trim()),
        "the payload is shown byte for byte"
    );
    assert_eq!(
        members(&event["deliveries"][0]),
        set([
            "destination",
            "status",
            "attempts",
            "max_attempts",
            "last_error",
            "next_retry_at",
            "delivered_at",
            "history"
        ])
    );
    assert_eq!(event["deliveries"][0]["destination"], "orders");
}

#[test]
fn bodies_that_are_not_json_need_a_source_that_takes_them() {
    let relay = TestRelay::start_with(URL, |config| {
        config.delivery.level = Some(relay::model::Level::Off);
        let mut any = relay::config::Source::to(["orders"]);
        any.accept_any_content = true;
        any.max_body_bytes = Some(64);
        config.sources.insert("any".to_owned(), any);
    });
    for body in [&b"[1]"[..], b"\"text\"", b"5", b" null ", b"\xef\xbb\xbf{}"] {
        assert_eq!(relay.client.hook(&format!("{body:?}"), body).status, 202);
    }
    for body in [
        &b""[..],
        b"{",
        b"{} x",
        b"text",
        b"\xff",
        b"{\"a\":\"\xff\"}",
        b"\xef\xbb\xbf",
    ] {
        let reply = relay.client.hook("bad", body);
        assert_eq!(reply.status, 400, "{body:?}");
        assert_eq!(members(&reply.json()), set(["error"]));
    }
    let post = |key: &str, body: &[u8]| {
        let reply = relay
            .client
            .send("POST", "/webhooks/any", &[("Idempotency-Key", key)], body);
        assert_eq!(reply.status, 202, "{}", reply.text());
        let id = reply.json()["event_id"].as_str().expect("an id").to_owned();
        relay.client.get(&format!("/events/{id}")).json()
    };
    assert_eq!(post("1", b"a=b&c")["payload"], "a=b&c");
    let binary = post("2", b"\xff\x00");
    assert_eq!(
        (&binary["payload"], &binary["payload_encoding"]),
        (&json!("/wA="), &json!("base64"))
    );
    assert_eq!(post("3", b"{\"a\":1}")["payload"], json!({"a": 1}));
    let large = relay.client.send(
        "POST",
        "/webhooks/any",
        &[("Idempotency-Key", "4")],
        &[b'x'; 65],
    );
    assert_eq!(large.status, 413);
}

#[test]
fn bad_requests_get_their_status_and_a_message() {
    let relay = TestRelay::start();
    let client = &relay.client;
    let body = relay_to(URL, "{}");
    let post = |headers: &[(&str, &str)], body: &str| client.create(headers, body);

    assert_error(&post(&[], "{}"), 400, "invalid_request", "eventType");
    assert_error(
        &post(&[], &relay_to("ftp://x/", "{}")),
        400,
        "invalid_request",
        "destination.url",
    );
    assert_error(
        &post(&[], &relay_to(URL, "[]")),
        400,
        "invalid_request",
        "payload",
    );
    assert_error(
        &post(&[("Idempotency-Key", "")], &body),
        400,
        "invalid_request",
        "Idempotency-Key",
    );
    let long = "k".repeat(129);
    assert_error(
        &post(&[("Idempotency-Key", &long)], &body),
        400,
        "invalid_request",
        "1 to 128",
    );
    assert_eq!(post(&[("Idempotency-Key", &long[1..])], &body).status, 201);
    let twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "a")];
    assert_error(&post(&twice, &body), 400, "invalid_request", "one header");
    assert_error(
        &post(&[("Content-Type", "text/plain")], &body),
        415,
        "unsupported_media_type",
        "application/json",
    );
    assert_eq!(
        post(
            &[("Content-Type", "Application/JSON; charset=utf-8")],
            &body
        )
        .status,
        201
    );
    assert_error(
        &post(
            &[],
            &relay_to(URL, &format!("{{\"a\":\"{}\"}}", "x".repeat(32_768))),
        ),
        413,
        "payload_too_large",
        "32768",
    );
    for inside in [
        "http://10.0.0.1/",
        "http://169.254.169.254/",
        "http://[fd00::1]/",
        "http://0xa000001/",
    ] {
        assert_error(
            &post(&[], &relay_to(inside, "{}")),
            400,
            "invalid_request",
            "delivery.allow_networks",
        );
    }

    for (headers, why) in [(vec![], "missing"), (vec![("X-API-Key", "wrong")], "wrong")] {
        let reply = client.send("POST", "/v1/relays", &headers, body.as_bytes());
        assert_error(&reply, 401, "unauthorized", "X-API-Key");
        assert_eq!(
            reply.header("ratelimit-limit"),
            None,
            "{why}: no bucket for strangers"
        );
    }
    let unknown = "01923456-789a-7000-8000-000000000000";
    for path in [
        format!("/v1/relays/{unknown}"),
        "/v1/relays/x".to_owned(),
        format!("/v1/relays/evt_{unknown}"),
    ] {
        let reply = client.get(&path);
        assert_error(&reply, 404, "not_found", "no relay");
        assert!(reply.header("ratelimit-remaining").is_some());
    }
    assert_error(&client.get("/nowhere"), 404, "not_found", "nothing");
    for query in ["pageSize=0", "pageSize=201", "pageSize=x", "pageToken=x"] {
        assert_error(
            &client.get(&format!("/v1/relays?{query}")),
            400,
            "invalid_request",
            "expected",
        );
    }
    for (method, path, allow) in [
        ("PUT", "/v1/relays", "GET, HEAD, POST"),
        ("DELETE", "/v1/relays/x", "GET, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
        ("POST", "/openapi.yaml", "GET, HEAD"),
    ] {
        let reply = client.send(method, path, &[("X-API-Key", KEY)], b"");
        assert_error(&reply, 405, "method_not_allowed", allow);
        assert_eq!(reply.header("allow"), Some(allow));
    }

    let hook = |path: &str, headers: &[(&str, &str)], body: &[u8]| {
        let reply = client.send("POST", path, headers, body);
        if reply.status >= 300 {
            assert_eq!(members(&reply.json()), set(["error"]), "{path}");
        }
        reply.status
    };
    assert_eq!(
        hook("/webhooks/unknown", &[("Idempotency-Key", "a")], b"{}"),
        404
    );
    assert_eq!(
        hook("/webhooks/a%20b", &[("Idempotency-Key", "a")], b"{}"),
        404
    );
    assert_eq!(hook("/webhooks/github", &[], b"{}"), 400);
    assert_eq!(
        hook("/webhooks/github", &[("Idempotency-Key", " ")], b"{}"),
        400
    );
    let reply = client.get("/webhooks/github");
    assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")));
    assert_eq!(client.get(&format!("/events/evt_{unknown}")).status, 404);
    assert_eq!(client.get(&format!("/events/{unknown}")).status, 404);
}

#[test]
fn a_valid_request_id_of_the_client_is_kept() {
    let relay = TestRelay::start();
    let id_for = |headers: &[(&str, &str)]| {
        let reply = relay.client.send("GET", "/healthz", headers, b"");
        reply.header("x-request-id").expect("an id").to_owned()
    };
    assert_eq!(id_for(&[("X-Request-ID", "my-id~1")]), "my-id~1");
    let long = "x".repeat(129);
    for unfit in ["", "a b", &long] {
        assert_eq!(
            id_for(&[("X-Request-ID", unfit)]).len(),
            36,
            "a fresh UUID instead of {unfit:?}"
        );
    }
    assert_ne!(id_for(&[]), id_for(&[]));
}

#[test]
fn health_and_readiness_answer_get_and_head() {
    let relay = TestRelay::start();
    let send = |method: &str, path: &str| relay.client.send(method, path, &[], b"");
    assert_eq!(send("GET", "/healthz").json(), json!({"status": "ok"}));
    assert_eq!(send("GET", "/readyz").json(), json!({"status": "ready"}));
    let health = send("GET", "/health").json();
    assert_eq!(members(&health), set(["status", "timestamp"]));
    let ready = send("GET", "/ready").json();
    assert_eq!(members(&ready), set(["status", "timestamp", "checks"]));
    assert_eq!(ready["checks"], json!({"database": "connected"}));
    for path in ["/healthz", "/readyz", "/health", "/ready", "/openapi.yaml"] {
        let (get, head) = (send("GET", path), send("HEAD", path));
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"));
    }
}

#[test]
fn rate_limits_count_down_and_refuse() {
    let relay = TestRelay::start_with(URL, |config| {
        config.api.rate_limit.post = relay::config::RateLimit {
            per_second: 0.001,
            burst: 2,
        };
        let source = config.sources.get_mut("github").expect("a source");
        source.rate_limit = Some(relay::config::RateLimit {
            per_second: 0.001,
            burst: 1,
        });
    });
    let body = relay_to(URL, "{}");
    let bucket = |reply: &Reply| {
        ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"]
            .map(|name| reply.header(name).expect("past authentication").to_owned())
    };
    let first = relay.client.create(&[], &body);
    assert_eq!(
        (first.status, bucket(&first)),
        (201, ["2", "1", "0"].map(str::to_owned))
    );
    // A failed request spends a token, too.
    let second = relay.client.create(&[], "{}");
    assert_eq!(
        (second.status, bucket(&second)),
        (400, ["2", "0", "1000"].map(str::to_owned))
    );
    let third = relay.client.create(&[], &body);
    assert_error(&third, 429, "rate_limited", "too many requests");
    assert_eq!(third.header("retry-after"), third.header("ratelimit-reset"));
    assert_eq!(
        relay.client.get("/v1/relays").status,
        200,
        "GET has a bucket of its own"
    );

    assert_eq!(relay.client.hook("1", b"1").status, 202);
    let refused = relay.client.hook("2", b"2");
    assert_eq!(refused.status, 429);
    assert!(
        refused
            .header("retry-after")
            .is_some_and(|after| after.parse::<u64>().is_ok_and(|s| s >= 1))
    );
}

#[test]
fn metrics_are_on_the_operators_listener_alone() {
    let relay = TestRelay::start();
    relay.client.hook("1", b"{}");
    relay.client.hook("1", b"{}");
    let text = until("deliveries are counted", || {
        let reply = relay.admin().send("GET", "/metrics", &[], b"");
        assert_eq!(reply.status, 200);
        let text = reply.text();
        text.contains("\nrelay_deliveries{").then_some(text)
    });
    for name in [
        "relay_http_requests_total{route=\"/webhooks/{source}\",method=\"POST\",status=\"202\"} 2",
        "relay_accepted_total{surface=\"webhooks\"} 1",
        "relay_duplicates_total{surface=\"webhooks\",body=\"same\"} 1",
        "relay_rate_limited_total{surface=\"relays\"} 0",
        "relay_commits_total",
        "relay_commit_duration_seconds_bucket",
        "relay_commit_batch_size_bucket",
        "relay_http_request_duration_seconds_bucket",
        "relay_deliveries{state=\"queued\"}",
        "relay_deliveries{state=\"dead_lettered\"} 0",
        "relay_deliveries_kept{reason=\"unknown_destination\"} 0",
        "relay_deliveries_kept{reason=\"paused\"} 0",
        "relay_deliveries_kept{reason=\"held\"} 0",
        "relay_deliveries_kept{reason=\"breaker_open\"} 0",
        "relay_oldest_due_seconds",
        "relay_workers_busy",
        "relay_database_bytes",
        "relay_wal_bytes",
        "relay_database_used_bytes",
        "relay_database_max_bytes 0",
        "relay_database_full_seconds inf",
        "relay_shed_total 0",
        "relay_build_info{version=",
    ] {
        assert!(text.contains(name), "{name} is missing in\n{text}");
    }
    assert_eq!(relay.client.get("/metrics").status, 404);
    assert_eq!(relay.admin().send("POST", "/metrics", &[], b"").status, 405);
}
