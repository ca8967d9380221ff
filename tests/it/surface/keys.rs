//! `idempotency`: which requests are the same event.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{NOW, Scene, error, hmac};
use crate::support::Reply;

fn status(reply: &Reply) -> String {
    assert_eq!(reply.status, 202, "{}", reply.text());
    reply.json()["status"].as_str().expect("text").to_owned()
}

fn scene(idempotency: &str) -> Scene {
    Scene::new(&format!(
        "[sources.a]\ndestinations = [\"orders\"]\nidempotency = {idempotency}"
    ))
}

#[test]
fn without_a_key_each_request_is_an_event() {
    let scene = scene("\"none\"");
    for _ in 0..2 {
        assert_eq!(status(&scene.post("/webhooks/a", &[], b"{}")), "accepted");
    }
    assert_eq!(scene.stored(), 2);
}

#[test]
fn the_key_can_be_the_bytes_of_the_body() {
    let scene = scene("\"body\"");
    for (body, expected) in [
        ("{\"a\":1}", "accepted"),
        ("{\"a\":1}", "duplicate"),
        ("{\"a\": 1}", "accepted"),
    ] {
        let reply = scene.post(
            "/webhooks/a",
            &[("Idempotency-Key", "same")],
            body.as_bytes(),
        );
        assert_eq!(status(&reply), expected, "{body}");
    }
}

#[test]
fn several_headers_are_one_key_and_one_that_is_missing_means_none() {
    let scene = scene("{ headers = [\"X-A\", \"X-B\"] }");
    for (a, b, expected) in [
        ("1", "23", "accepted"),
        ("12", "3", "accepted"),
        ("1", "23", "duplicate"),
    ] {
        let reply = scene.post("/webhooks/a", &[("X-A", a), ("X-B", b)], b"{}");
        assert_eq!(status(&reply), expected, "{a} {b}");
    }
    let reply = scene.post("/webhooks/a", &[("X-A", "1")], b"{}");
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(reply.text().contains("X-A and X-B"), "{}", reply.text());
}

/// The names of the headers are not signed: whoever captured a request can give it those of the
/// other family, and add an id of their own.
#[test]
fn the_key_of_standard_webhooks_is_the_id_that_is_signed() {
    let sections = ["standard-webhooks", "svix", "clerk"].map(|provider| {
        format!(
            "[sources.{provider}]\nprovider = \"{provider}\"\ndestinations = [\"orders\"]\n\
             secrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\n"
        )
    });
    let scene = Scene::new(&sections.concat());
    let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let key = key.expect("base64");
    for source in ["standard-webhooks", "svix", "clerk"] {
        for (family, other) in [("webhook", "svix"), ("svix", "webhook")] {
            let id = format!("of-{family}");
            let signature = hmac(&key, format!("{id}.{NOW}.{{}}").as_bytes());
            let signature = format!("v1,{}", STANDARD.encode(signature));
            let time = NOW.to_string();
            let post = |family: &str, other_id: Option<&str>| {
                let name = |part: &str| format!("{family}-{part}");
                let mut headers = vec![
                    (name("id"), id.as_str()),
                    (name("timestamp"), &*time),
                    (name("signature"), &*signature),
                ];
                headers.extend(other_id.map(|name| (name.to_owned(), "another")));
                let headers: Vec<_> = headers
                    .iter()
                    .map(|(name, value)| (&**name, *value))
                    .collect();
                status(&scene.post(&format!("/webhooks/{source}"), &headers, b"{}"))
            };
            let [id_of_family, id_of_other] = [family, other].map(|family| format!("{family}-id"));
            assert_eq!(post(family, None), "accepted", "{source} {family}");
            assert_eq!(post(family, Some(&id_of_other)), "duplicate");
            assert_eq!(post(other, None), "duplicate");
            assert_eq!(post(other, Some(&id_of_family)), "duplicate");
        }
    }
}

#[test]
fn github_s_deliveries_of_two_hooks_are_two_events() {
    let scene = scene("{ headers = [\"X-GitHub-Delivery\", \"X-GitHub-Hook-ID\"] }");
    for (hook, body) in [("1", "{\"a\":1}"), ("2", "{\"a\":2}")] {
        let headers = [("X-GitHub-Delivery", "d"), ("X-GitHub-Hook-ID", hook)];
        assert_eq!(
            status(&scene.post("/webhooks/a", &headers, body.as_bytes())),
            "accepted"
        );
    }
}

#[test]
fn a_query_and_a_form_have_keys() {
    let scene = Scene::new(
        "[sources.q]\ndestinations = [\"orders\"]\nidempotency = { query = \"id\" }\n\
         [sources.f]\ndestinations = [\"orders\"]\naccept_any_content = true\n\
         idempotency = { form = \"id\" }",
    );
    assert_eq!(
        status(&scene.post("/webhooks/q?id=a%20b", &[], b"{}")),
        "accepted"
    );
    assert_eq!(
        status(&scene.post("/webhooks/q?x=1&id=a+b", &[], b"{}")),
        "duplicate"
    );
    for query in ["", "?id=", "?x=1", "?id=1&id=2", "?id=%FF"] {
        let reply = scene.post(&format!("/webhooks/q{query}"), &[], b"{}");
        assert_eq!(reply.status, 400, "{query}: {}", reply.text());
    }
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    assert_eq!(
        status(&scene.post("/webhooks/f", &form, b"id=7&a=1")),
        "accepted"
    );
    assert_eq!(
        status(&scene.post("/webhooks/f", &form, b"a=2&id=7")),
        "duplicate"
    );
    assert_eq!(scene.post("/webhooks/f", &form, b"id=7&id=8").status, 400);
    assert_eq!(
        scene.post("/webhooks/f", &[], b"id=7").status,
        400,
        "it is no form"
    );
}

#[test]
fn the_first_place_that_has_a_key_decides_and_kinds_share_no_space() {
    let scene = scene("[{ header = \"X-Id\" }, { json_pointer = \"/id\" }, \"body\"]");
    for (header, body, expected) in [
        (Some("7"), "{\"id\":8}", "accepted"),
        (Some("7"), "{\"id\":9}", "duplicate"),
        (None, "{\"id\":7}", "accepted"),
        (None, "{\"id\":7,\"a\":1}", "duplicate"),
        (Some(""), "{\"id\":7,\"a\":2}", "duplicate"),
        (None, "{\"id\":null}", "accepted"),
        (None, "{\"id\":null}", "duplicate"),
        (None, "[]", "accepted"),
    ] {
        let headers: Vec<_> = header.map(|id| ("X-Id", id)).into_iter().collect();
        let reply = scene.post("/webhooks/a", &headers, body.as_bytes());
        assert_eq!(status(&reply), expected, "{header:?} {body}");
    }
    // A place that has a key twice is not passed over.
    let reply = scene.post("/webhooks/a", &[("X-Id", "1"), ("X-Id", "2")], b"{}");
    assert_eq!(reply.status, 400);
    let reply = scene.post("/webhooks/a", &[], b"{\"id\":1,\"id\":2}");
    assert_eq!(reply.status, 400);
}

#[test]
fn a_digest_that_is_sent_as_a_key_is_not_that_of_a_body() {
    let scene = scene("[{ header = \"X-Id\" }, \"body\"]");
    assert_eq!(status(&scene.post("/webhooks/a", &[], b"{}")), "accepted");
    let key: String = scene.relay.peek("SELECT idempotency_key FROM intents");
    let forged = key.trim_start_matches('\u{1}');
    assert_eq!(
        status(&scene.post("/webhooks/a", &[("X-Id", forged)], b"[]")),
        "accepted"
    );
}

#[test]
fn a_source_s_window_is_its_own() {
    let scene = Scene::new(
        "[sources.long]\ndestinations = [\"orders\"]\nidempotency_window = \"3d\"\n\
         [sources.short]\ndestinations = [\"orders\"]\nidempotency_window = \"10m\"",
    );
    let post = |source: &str| {
        let path = format!("/webhooks/{source}");
        status(&scene.post(&path, &[("Idempotency-Key", "k")], b"{}"))
    };
    assert_eq!(
        (post("long"), post("short")),
        ("accepted".to_owned(), "accepted".to_owned())
    );
    scene.clock.advance(Duration::from_secs(9 * 60));
    assert_eq!(
        (post("long"), post("short")),
        ("duplicate".to_owned(), "duplicate".to_owned())
    );
    scene.clock.advance(Duration::from_secs(2 * 60));
    assert_eq!(
        (post("long"), post("short")),
        ("duplicate".to_owned(), "accepted".to_owned())
    );
    scene.clock.advance(Duration::from_secs(3 * 86_400));
    assert_eq!(post("long"), "accepted");
}

#[test]
fn keys_that_can_never_be_found_are_refused() {
    let of = |settings: &str| {
        error(&format!(
            "[sources.a]\ndestinations = [\"orders\"]\n{settings}"
        ))
    };
    for (settings, expected) in [
        (
            "idempotency = \"any\"",
            "sources.a.idempotency: invalid value: string \"any\", expected \"none\", \"body\", one of { header }, { headers }, { json_pointer }, { form } and { query }, or a list of them",
        ),
        (
            "idempotency = { json_pointer = \"id\" }",
            "sources.a.idempotency.json_pointer: \"id\": expected a JSON pointer such as \"/id\"",
        ),
        (
            "idempotency = { headers = [] }",
            "sources.a.idempotency.headers: 0: expected 1 to 8 names of headers",
        ),
        (
            "idempotency = { form = \"id\" }",
            "sources.a.idempotency.form: needs accept_any_content = true: a form isn't JSON, and is refused without it",
        ),
        (
            "idempotency = [\"body\", { header = \"X\" }]",
            "sources.a.idempotency[0]: \"body\": every request has one, so that the places after it are never looked at: expected it at the end of the list",
        ),
        (
            "idempotency = [{ header = \"X\" }, { header = \"X\" }]",
            "sources.a.idempotency[1]: { header = \"X\" }: expected each place once",
        ),
        (
            "idempotency = { json_pointer = \"/id\" }\naccept_any_content = true",
            "sources.a.idempotency.json_pointer: contradicts accept_any_content: a body that isn't JSON has no key; expected a list that ends in \"body\" or \"none\"",
        ),
        (
            "idempotency = \"none\"\nidempotency_window = \"1h\"",
            "sources.a.idempotency_window: contradicts idempotency = \"none\" (the source's or its provider's): without a key nothing is a duplicate",
        ),
        (
            "idempotency_window = \"8d\"",
            "sources.a.idempotency_window: 691200s: expected at most retention.delivered (604800s): a key goes with its event",
        ),
        (
            "event_type = { json_pointer = \"\" }",
            "sources.a.event_type.json_pointer: \"\": expected a JSON pointer such as \"/id\"",
        ),
        (
            "on_redelivery = \"replay\"",
            "sources.a.on_redelivery: unknown variant `replay`, expected `ignore` or `replay_dead`",
        ),
        (
            "idempotency = \"none\"\non_redelivery = \"replay_dead\"",
            "sources.a.on_redelivery: contradicts idempotency = \"none\" (the source's or its provider's): without a key nothing is a redelivery",
        ),
    ] {
        assert_eq!(of(settings), expected);
    }
}

#[test]
fn a_pointer_is_fine_with_any_content_if_the_list_ends_in_what_all_have() {
    let scene = Scene::new(
        "[sources.a]\ndestinations = [\"orders\"]\naccept_any_content = true\n\
         idempotency = [{ json_pointer = \"/id\" }, \"body\"]",
    );
    assert_eq!(
        status(&scene.post("/webhooks/a", &[], b"{\"id\":1}")),
        "accepted"
    );
    assert_eq!(
        status(&scene.post("/webhooks/a", &[], b"payload=1")),
        "accepted"
    );
    assert_eq!(
        status(&scene.post("/webhooks/a", &[], b"payload=1")),
        "duplicate"
    );
}

#[test]
fn a_duplicate_with_other_bytes_is_counted_apart() {
    let scene = Scene::new("[sources.a]\ndestinations = [\"orders\"]");
    for body in ["1", "1", "2", "22"] {
        scene.post("/webhooks/a", &[("Idempotency-Key", "k")], body.as_bytes());
    }
    let metrics = scene.relay.admin().send("GET", "/metrics", &[], b"").text();
    for line in [
        "relay_duplicates_total{surface=\"webhooks\",body=\"same\"} 1",
        "relay_duplicates_total{surface=\"webhooks\",body=\"differs\"} 2",
        "relay_duplicates_total{surface=\"relays\",body=\"same\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert_eq!(scene.stored(), 1);
}

#[test]
fn an_event_s_type_is_kept_if_it_is_one() {
    let scene = Scene::new(
        "[sources.h]\ndestinations = [\"orders\"]\nidempotency = \"none\"\n\
         event_type = { header = \"X-Event\" }\n\
         [sources.p]\ndestinations = [\"orders\"]\nidempotency = \"none\"\n\
         event_type = { json_pointer = \"/type\" }",
    );
    let of_last = || {
        let last = "SELECT event_type FROM intents ORDER BY id DESC LIMIT 1";
        scene.relay.peek::<Option<String>>(last)
    };
    let long = "a".repeat(129);
    for (headers, expected) in [
        (&[("X-Event", "push")][..], Some("push")),
        (&[], None),
        (&[("X-Event", "a b")], None),
        (&[("X-Event", &long)], None),
        (&[("X-Event", "a"), ("X-Event", "b")], None),
    ] {
        assert_eq!(
            status(&scene.post("/webhooks/h", headers, b"{}")),
            "accepted"
        );
        assert_eq!(of_last().as_deref(), expected, "{headers:?}");
    }
    for (body, expected) in [
        ("{\"type\":\"invoice.paid\"}", Some("invoice.paid")),
        ("{\"type\":7}", Some("7")),
        ("{\"type\":null}", None),
        ("{\"type\":{}}", None),
        ("[]", None),
    ] {
        assert_eq!(
            status(&scene.post("/webhooks/p", &[], body.as_bytes())),
            "accepted"
        );
        assert_eq!(of_last().as_deref(), expected, "{body}");
    }
}
