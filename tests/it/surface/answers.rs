//! `answer`: what the provider is told.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Scene, error, hmac};
use crate::support::event_id;

#[test]
fn a_sources_own_answer_is_for_accepted_and_duplicate_events_alike() {
    let scene = Scene::new(
        "[sources.a]\ndestinations = [\"orders\"]\n\
         answer = { status = 200, body = \"[accepted]\", content_type = \"text/html\" }",
    );
    let first = scene.post("/webhooks/a", &[("Idempotency-Key", "k")], b"1");
    let again = scene.post("/webhooks/a", &[("Idempotency-Key", "k")], b"1");
    for reply in [&first, &again] {
        assert_eq!((reply.status, reply.text().as_str()), (200, "[accepted]"));
        assert_eq!(reply.header("content-type"), Some("text/html"));
        let id = reply.header("relay-event-id").expect("an id");
        assert_eq!(scene.relay.client.get(&format!("/events/{id}")).status, 200);
    }
    assert_eq!(
        first.header("relay-event-id"),
        again.header("relay-event-id")
    );
    assert_eq!(scene.stored(), 1);
    let refused = scene.post("/webhooks/a", &[], b"1");
    assert_eq!(refused.status, 400, "a refusal stays relay's own");
}

#[test]
fn an_empty_answer_has_no_body_and_the_type_that_is_given() {
    let scene = Scene::new(
        "[sources.a]\ndestinations = [\"orders\"]\nanswer = { status = 204 }\n\
         [sources.b]\ndestinations = [\"orders\"]\nanswer = {}\n\
         [sources.c]\ndestinations = [\"orders\"]\n\
         answer = { status = 204, content_type = \"application/json\" }",
    );
    for (path, status, content_type) in [
        ("/webhooks/a", 204, None),
        ("/webhooks/b", 200, None),
        ("/webhooks/c", 204, Some("application/json")),
    ] {
        let reply = scene.post(path, &[("Idempotency-Key", "k")], b"1");
        assert_eq!((reply.status, reply.text().as_str()), (status, ""));
        assert_eq!(reply.header("content-type"), content_type);
    }
}

/// Xero disables a webhook whose answers have a body, that to a wrong signature included.
#[test]
fn a_source_whose_answer_is_empty_answers_401_without_a_body() {
    let scene = Scene::new(
        "[sources.xero]\nprovider = \"xero\"\nsecrets = [\"key\"]\ndestinations = [\"orders\"]\n\
         [sources.word]\ndestinations = [\"orders\"]\nanswer = { body = \"ok\" }\n\
         verify.hmac = { header = \"X-Signature\", secrets = [\"key\"] }",
    );
    let intent = br#"{"events":[],"lastEventSequence":0,"firstEventSequence":0,"entropy":"S0m3"}"#;
    let post = |key: &str, body: &[u8]| {
        let signature = STANDARD.encode(hmac(key.as_bytes(), body));
        scene.post("/webhooks/xero", &[("x-xero-signature", &signature)], body)
    };
    for (reply, status) in [
        (post("key", intent), 200),
        (post("other", intent), 401),
        (post("other", b"{\"events\":[{}]}"), 401),
        (scene.post("/webhooks/xero", &[], intent), 401),
        (
            scene.post("/webhooks/xero", &[("x-xero-signature", "!")], intent),
            401,
        ),
    ] {
        assert_eq!((reply.status, reply.text().as_str()), (status, ""));
        assert_eq!(reply.header("content-type"), None);
        assert_eq!(reply.header("content-length"), Some("0"));
        assert!(reply.header("x-request-id").is_some());
    }
    assert_eq!(scene.stored(), 0);
    let reply = scene.post("/webhooks/word", &[], b"{}");
    assert_eq!(reply.status, 401);
    assert!(reply.json()["error"].is_string(), "{}", reply.text());
}

#[test]
fn a_source_without_an_answer_answers_as_the_contract_says() {
    let scene = Scene::new("[sources.a]\ndestinations = [\"orders\"]");
    let reply = scene
        .relay
        .client
        .send("POST", "/webhooks/a", &[("Idempotency-Key", "k")], b"1");
    let id = event_id(&reply);
    assert_eq!(
        reply.text(),
        format!("{{\"event_id\":\"{id}\",\"status\":\"accepted\"}}")
    );
    assert_eq!(reply.header("relay-event-id"), None);
}

#[test]
fn an_answer_is_a_success_and_a_constant() {
    let of = |answer: &str| {
        error(&format!(
            "[sources.a]\ndestinations = [\"orders\"]\nanswer = {answer}"
        ))
    };
    for (answer, expected) in [
        (
            "{ status = 302 }",
            "sources.a.answer.status: 302: expected 200 to 299: a refusal is relay's own to decide",
        ),
        (
            "{ status = 204, body = \"x\" }",
            "sources.a.answer.body: contradicts status = 204, which has no body",
        ),
        (
            "{ status = 205, body = \"x\" }",
            "sources.a.answer.body: contradicts status = 205, which has no body",
        ),
        (
            "{ content_type = \"text\" }",
            "sources.a.answer.content_type: \"text\": expected a media type such as \"text/plain\"",
        ),
        (
            "{ content_type = \"text/plain\\r\\nx: y\" }",
            "sources.a.answer.content_type: \"text/plain\\r\\nx: y\": expected a media type such as \"text/plain\"",
        ),
    ] {
        assert_eq!(of(answer), expected);
    }
}
