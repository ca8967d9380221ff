//! Idempotency keys: their form, where they are read, and their scope.

use crate::support::{TestRelay, URL, assert_error, off, relay_to};

#[test]
fn idempotency_keys_are_scoped_and_a_different_body_conflicts() {
    let relay = TestRelay::start_with(URL, |config| {
        config.delivery.level = Some(relay::model::Level::Off);
        config.api.keys.push(relay::config::Secret::new("other"));
        config
            .sources
            .insert("gitlab".to_owned(), relay::config::Source::to(["orders"]));
    });
    let body = relay_to(URL, "{}");
    let first = relay.client.create(&[("Idempotency-Key", "k")], &body);
    let again = relay.client.create(&[("Idempotency-Key", "k")], &body);
    assert_eq!((again.status, &again.body), (201, &first.body));
    let conflict = relay
        .client
        .create(&[("Idempotency-Key", "k")], &relay_to(URL, "{ }"));
    assert_error(&conflict, 409, "idempotency_conflict", "Idempotency-Key");
    let other = relay.client.send(
        "POST",
        "/v1/relays",
        &[("X-API-Key", "other"), ("Idempotency-Key", "k")],
        body.as_bytes(),
    );
    assert_eq!(other.status, 201);
    assert_ne!(
        other.json()["id"],
        first.json()["id"],
        "a key belongs to its API key"
    );
    let without = relay.client.create(&[], &body);
    assert_ne!(without.json()["id"], first.json()["id"]);

    let event = relay.client.hook("k", b"1").json();
    let elsewhere = relay.client.send(
        "POST",
        "/webhooks/gitlab",
        &[("Idempotency-Key", "k")],
        b"1",
    );
    assert_eq!(
        elsewhere.json()["status"],
        "accepted",
        "a key belongs to its source"
    );
    assert_ne!(elsewhere.json()["event_id"], event["event_id"]);
}

#[test]
fn idempotency_keys_are_checked_on_both_surfaces() {
    let relay = TestRelay::start_with(URL, off);
    let body = relay_to(URL, "{}");
    let (most, over) = ("k".repeat(128), "k".repeat(129));
    for (key, status) in [
        ("", 400),
        ("\"\"", 400),
        (&*most, 201),
        (&*over, 400),
        ("a b", 201),
        ("a\tb", 400),
        ("\u{fc}", 400),
        ("\"open", 400),
        ("\"a\";b=1", 400),
    ] {
        let reply = relay.client.create(&[("Idempotency-Key", key)], &body);
        assert_eq!(reply.status, status, "{key:?}: {}", reply.text());
        if status == 400 {
            let error = reply.json();
            assert_eq!(error["details"]["member"], "Idempotency-Key");
            assert!(reply.text().contains("1 to 128 printable ASCII"));
        }
    }
    for keys in [["a", "a"], ["a", "b"]] {
        let headers = keys.map(|key| ("Idempotency-Key", key));
        assert_eq!(relay.client.create(&headers, &body).status, 400);
        let reply = relay
            .client
            .send("POST", "/webhooks/github", &headers, b"{}");
        assert_eq!(reply.status, 400);
    }
    let hook = |key: &str| relay.client.hook(key, b"{}").status;
    assert_eq!(
        (hook(""), hook(" "), hook("\"\""), hook("a\tb")),
        (400, 400, 400, 400)
    );
    assert_eq!((hook(&"k".repeat(256)), hook(&"k".repeat(257))), (202, 400));

    // A key in quotes, as in the IETF draft, is the same as the bare key.
    let first = relay
        .client
        .create(&[("Idempotency-Key", "order-42")], &body);
    let quoted = relay
        .client
        .create(&[("Idempotency-Key", "\"order-42\"")], &body);
    assert_eq!((quoted.status, &quoted.body), (201, &first.body));
    let first = relay.client.hook("order-42", b"{}").json();
    let quoted = relay.client.hook("\"order-42\"", b"{}").json();
    assert_eq!(quoted["status"], "duplicate");
    assert_eq!(quoted["event_id"], first["event_id"]);
}

#[test]
fn idempotency_keys_are_read_where_the_source_says() {
    let relay = TestRelay::start_with(URL, |config| {
        off(config);
        for (name, at) in [
            (
                "hub",
                relay::config::IdempotencyKeyAt::Header("X-GitHub-Delivery".to_owned()),
            ),
            (
                "standard",
                relay::config::IdempotencyKeyAt::Header("webhook-id".to_owned()),
            ),
            (
                "body",
                relay::config::IdempotencyKeyAt::JsonPointer("/data/0/id".to_owned()),
            ),
        ] {
            let mut source = relay::config::Source::to(["orders"]);
            source.idempotency = at;
            config.sources.insert(name.to_owned(), source);
        }
    });
    let post = |source: &str, headers: &[(&str, &str)], body: &str| {
        let path = format!("/webhooks/{source}");
        let reply = relay.client.send("POST", &path, headers, body.as_bytes());
        (reply.status, reply.text())
    };
    let status = |(status, text): (u16, String)| {
        let answer: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        (status, answer["status"].as_str().map(str::to_owned))
    };
    let (accepted, duplicate) = (Some("accepted".to_owned()), Some("duplicate".to_owned()));
    let hub = [
        ("x-github-delivery", "72d3162e"),
        ("Idempotency-Key", "ignored"),
    ];
    assert_eq!(status(post("hub", &hub, "{}")), (202, accepted.clone()));
    assert_eq!(status(post("hub", &hub, "[]")), (202, duplicate.clone()));
    let (code, text) = post("hub", &[("Idempotency-Key", "other")], "{}");
    assert!(code == 400 && text.contains("X-GitHub-Delivery"), "{text}");
    assert_eq!(
        status(post("standard", &[("Webhook-Id", "msg_1")], "{}")),
        (202, accepted.clone())
    );
    // A string, a number beyond the precision of a double, a boolean.
    for (id, other) in [
        (r#""a""#, r#""b""#),
        (
            "123456789012345678901234567890",
            "123456789012345678901234567891",
        ),
        ("true", "false"),
    ] {
        let body = |id: &str| format!(r#"{{"data":[{{"id":{id}}}]}}"#);
        assert_eq!(
            status(post("body", &[], &body(id))),
            (202, accepted.clone())
        );
        assert_eq!(
            status(post("body", &[], &body(id))),
            (202, duplicate.clone())
        );
        assert_eq!(
            status(post("body", &[], &body(other))),
            (202, accepted.clone())
        );
    }
    for body in [
        "{}",
        r#"{"data":[]}"#,
        r#"{"data":[{"id":null}]}"#,
        r#"{"data":[{"id":""}]}"#,
        r#"{"data":[{"id":"a","id":"b"}]}"#,
    ] {
        let (code, text) = post("body", &[], body);
        assert!(
            code == 400 && text.contains("the body at /data/0/id"),
            "{body}: {text}"
        );
    }
}
