//! `handshakes`: questions that are answered and never stored, and nothing is signed for strangers
//! that could be an event.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Scene, error, hmac, hmac_hex};
use crate::support::Reply;

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

/// `1750000000.true` is no JSON document: with a time before the body it would be signed, and
/// `true` is an event.
const CRC: &str = "sources.a.handshakes[0]: \"crc\": signs values of strangers, which are no JSON \
    documents: expected schemes by HMAC to have signed = \"{body}\", and no accept_any_content; \
    otherwise such a value can be an event";

/// A source `a` that verifies, with these handshakes.
fn signed(settings: &str) -> Scene {
    Scene::new(&signed_text(settings))
}

fn signed_text(settings: &str) -> String {
    format!(
        "[sources.a]\ndestinations = [\"orders\"]\nidempotency = \"none\"\n{settings}\n\
         [sources.a.verify.hmac]\nheader = \"X-Signature\"\nsecrets = [\"other\", \"{SECRET}\"]"
    )
}

fn unsigned(settings: &str) -> Scene {
    Scene::new(&format!(
        "[sources.a]\ndestinations = [\"orders\"]\nidempotency = \"none\"\n{settings}"
    ))
}

fn post_signed(scene: &Scene, body: &str) -> Reply {
    let signature = hmac_hex(SECRET, body.as_bytes());
    scene.post(
        "/webhooks/a",
        &[("X-Signature", &signature)],
        body.as_bytes(),
    )
}

/// Asserts that the answer is plain text that a browser shows as such, and keeps nowhere.
fn assert_text(reply: &Reply, text: &str) {
    assert_eq!((reply.status, reply.text().as_str()), (200, text));
    assert_eq!(
        reply.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_uncached(reply);
}

fn assert_uncached(reply: &Reply) {
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
}

#[test]
fn meta_s_challenge_is_answered_for_the_right_token_only() {
    let scene = unsigned("handshakes = [\"hub\"]\nhub_tokens = [\"old\", \"t\"]");
    let ask = |query: &str| scene.get(&format!("/webhooks/a?{query}"));
    let reply = ask("hub.mode=subscribe&hub.verify_token=t&hub.challenge=1158201444");
    assert_text(&reply, "1158201444");
    for (query, status) in [
        ("hub.mode=subscribe&hub.verify_token=x&hub.challenge=1", 403),
        ("hub.mode=subscribe&hub.verify_token=&hub.challenge=1", 403),
        ("hub.mode=subscribe&hub.challenge=1", 403),
        (
            "hub.mode=subscribe&hub.verify_token=t&hub.verify_token=t&hub.challenge=1",
            403,
        ),
        ("hub.mode=subscribe&hub.verify_token=t", 400),
        (
            "hub.mode=subscribe&hub.verify_token=t&hub.challenge=%3Cscript%3E",
            400,
        ),
        (
            "hub.mode=subscribe&hub.verify_token=t&hub.challenge=1&hub.challenge=2",
            400,
        ),
        ("hub.mode=other&hub.verify_token=t&hub.challenge=1", 405),
        ("", 405),
    ] {
        assert_eq!(ask(query).status, status, "{query}");
    }
    assert_eq!(scene.stored(), 0);
}

#[test]
fn a_websub_hub_is_answered_for_topics_that_were_subscribed_to() {
    let scene = unsigned("handshakes = [\"hub\"]\nhub_topics = [\"https://example.com/feed\"]");
    let ask = |topic: &str| {
        scene.get(&format!(
            "/webhooks/a?hub.mode=subscribe&hub.topic={topic}&hub.challenge=abc"
        ))
    };
    assert_text(&ask("https%3A%2F%2Fexample.com%2Ffeed"), "abc");
    assert_eq!(ask("https%3A%2F%2Fexample.com%2Fother").status, 403);
}

#[test]
fn an_echo_holds_harmless_characters_only() {
    let scene = unsigned("handshakes = [\"echo\"]");
    assert_text(&scene.get("/webhooks/a?challenge=abc123"), "abc123");
    let graph = "Validation%3a+Testing+client+application+reachability+for+subscription+\
                 Request-Id%3a+522a8e7e-096a-494c-aaf1-ac0dcfca45b7";
    let reply = scene.post(&format!("/webhooks/a?validationToken={graph}"), &[], b"");
    assert_text(
        &reply,
        "Validation: Testing client application reachability for subscription Request-Id: \
         522a8e7e-096a-494c-aaf1-ac0dcfca45b7",
    );
    let long = "a".repeat(257);
    for value in [
        "",
        "%3Cscript%3E",
        "a%0d%0ax",
        "%7B%22a%22%3A1%7D",
        "%22a%22",
        "%FF",
        "null",
        &long,
    ] {
        scene.clock.advance(Duration::from_secs(1));
        let reply = scene.get(&format!("/webhooks/a?challenge={value}"));
        assert_eq!(reply.status, 400, "{value}: {}", reply.text());
    }
    for value in ["%3Cscript%3E", "%22a%22", &long] {
        let reply = scene.post(&format!("/webhooks/a?validationToken={value}"), &[], b"");
        assert_eq!(reply.status, 400, "{value}");
    }
    assert_eq!(scene.stored(), 0);
    assert_eq!(scene.post("/webhooks/a?tenant=1", &[], b"{}").status, 202);
}

#[test]
fn slack_s_challenge_is_answered_after_verification_and_events_are_stored() {
    let scene = signed("handshakes = [\"slack\"]");
    let challenge = "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P";
    let body = format!(r#"{{"type":"url_verification","challenge":"{challenge}"}}"#);
    assert_text(&post_signed(&scene, &body), challenge);
    let forged = scene.post("/webhooks/a", &[("X-Signature", "00")], body.as_bytes());
    assert_eq!(forged.status, 401);
    assert_eq!(scene.post("/webhooks/a", &[], body.as_bytes()).status, 401);
    assert_eq!(scene.stored(), 0);
    assert_eq!(
        post_signed(&scene, r#"{"type":"event_callback"}"#).status,
        202
    );
    assert_eq!(scene.stored(), 1);
}

#[test]
fn zoom_s_token_is_signed_with_the_secret_that_verified_and_for_nobody_else() {
    let scene = signed("handshakes = [\"zoom\"]");
    let body =
        r#"{"payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"},"event":"endpoint.url_validation"}"#;
    let reply = post_signed(&scene, body);
    assert_eq!(reply.status, 200);
    assert_uncached(&reply);
    let json = reply.json();
    assert_eq!(json["plainToken"], "qgg8vlvZRS6UYooatFL8Aw");
    assert_eq!(
        json["encryptedToken"],
        hmac_hex(SECRET, b"qgg8vlvZRS6UYooatFL8Aw")
    );
    assert_eq!(scene.post("/webhooks/a", &[], body.as_bytes()).status, 401);
    for token in ["\"{}\"", "\"v0:1:{}\"", "\"7\"", "\"\"", "null"] {
        let body =
            format!(r#"{{"payload":{{"plainToken":{token}}},"event":"endpoint.url_validation"}}"#);
        assert_eq!(post_signed(&scene, &body).status, 400, "{token}");
    }
    assert_eq!(scene.stored(), 0);
}

#[test]
fn a_crc_token_that_could_be_an_event_is_not_signed() {
    let scene = signed("handshakes = [\"crc\"]");
    let ask = |token: &str| {
        scene.clock.advance(Duration::from_secs(1));
        scene.get(&format!("/webhooks/a?crc_token={token}"))
    };
    let reply = ask("foo");
    assert_eq!(reply.status, 200);
    // Strangers see what the first secret signs.
    let expected = STANDARD.encode(hmac(b"other", b"foo"));
    assert_eq!(
        reply.json(),
        serde_json::json!({"response_token": format!("sha256={expected}")})
    );
    let long = "a".repeat(257);
    for token in [
        "%7B%22a%22%3A1%7D",
        "[]",
        "7",
        "-1.5e+3",
        "true",
        "null",
        "%22a%22",
        "a%20b",
        "v0:1:a",
        "",
        &long,
    ] {
        assert_eq!(ask(token).status, 400, "{token}");
    }
}

#[test]
fn an_event_grid_validation_is_answered_and_an_event_that_looks_like_it_is_stored() {
    let scene = unsigned("handshakes = [\"event_grid\"]");
    let validation = r#"{"id":"1","data":{"validationCode":"512d38b6"},"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent"}"#;
    let reply = scene.post(
        "/webhooks/a",
        &[("aeg-event-type", "SubscriptionValidation")],
        format!("[{validation}]").as_bytes(),
    );
    assert_eq!(
        (reply.status, reply.json()),
        (200, serde_json::json!({"validationResponse": "512d38b6"}))
    );
    assert_uncached(&reply);
    assert_eq!(scene.stored(), 0);
    for body in [
        format!("[{validation},{validation}]"),
        format!(
            "[{}]",
            validation.replace("SubscriptionValidation", "Other")
        ),
        format!(
            "[{}]",
            validation.replace("\"eventType\"", "\"eventType\":\"a\",\"eventType\"")
        ),
    ] {
        assert_eq!(
            scene.post("/webhooks/a", &[], body.as_bytes()).status,
            202,
            "{body}"
        );
    }
    let headers = [("aeg-event-type", "Notification")];
    let reply = scene.post(
        "/webhooks/a",
        &headers,
        format!("[{validation}]").as_bytes(),
    );
    assert_eq!(reply.status, 202);
}

#[test]
fn an_unsigned_handshake_is_answered_before_a_source_verifies() {
    let scene = signed("handshakes = [\"event_grid\"]");
    let body = br#"[{"data":{"validationCode":"5"},"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent"}]"#;
    assert_eq!(scene.post("/webhooks/a", &[], body).status, 200);
    assert_eq!(
        scene
            .post("/webhooks/a", &[], b"[{\"eventType\":\"a\"}]")
            .status,
        401
    );
    assert_eq!(scene.stored(), 0);
}

/// The body decides, and is not there yet when the request's head is looked at.
#[test]
fn a_question_whose_head_depends_on_its_body_is_answered() {
    let question = "handshakes = [{ method = \"POST\", signed = false, \
                    when.query.digest = [\"{body_sha256}\"], text = \"hello\" }]";
    // The SHA-256 of `{}`.
    let digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    for scene in [signed(question), unsigned(question)] {
        let path = format!("/webhooks/a?digest={digest}");
        assert_text(&scene.post(&path, &[], b"{}"), "hello");
        assert_eq!(scene.stored(), 0);
    }
    let scene = signed(question);
    let reply = scene.post("/webhooks/a?digest=00", &[], b"{}");
    assert_eq!(reply.status, 401, "{}", reply.text());
}

#[test]
fn cloudevents_origins_are_allowed_by_name() {
    let scene = unsigned("handshakes = [\"cloudevents\"]\norigins = [\"eventgrid.azure.net\"]");
    let ask = |origin: &str| {
        let headers = [
            ("WebHook-Request-Origin", origin),
            ("WebHook-Request-Rate", "120"),
        ];
        scene.client.send("OPTIONS", "/webhooks/a", &headers, b"")
    };
    let reply = ask("eventgrid.azure.net");
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.header("webhook-allowed-origin"),
        Some("eventgrid.azure.net")
    );
    assert_eq!(reply.header("webhook-allowed-rate"), Some("*"));
    assert_eq!(ask("evil.example").status, 403);
    assert_eq!(ask("a b").status, 400);
    assert_eq!(
        scene.client.send("OPTIONS", "/webhooks/a", &[], b"").status,
        405
    );
}

#[test]
fn discord_s_ping_is_answered_and_its_events_are_stored() {
    let scene = signed("handshakes = [\"discord\"]");
    let reply = post_signed(&scene, r#"{"version":1,"type":0}"#);
    assert_eq!((reply.status, reply.text().as_str()), (204, ""));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(scene.stored(), 0);
    for body in [r#"{"type":1}"#, r#"{"type":"0"}"#, r#"{"type":0,"type":1}"#] {
        assert_eq!(post_signed(&scene, body).status, 202, "{body}");
    }
    let interactions = signed("handshakes = [\"discord_interactions\"]");
    let reply = post_signed(&interactions, r#"{"type":1}"#);
    assert_eq!(reply.json(), serde_json::json!({"type": 1}));
    assert_eq!(post_signed(&interactions, r#"{"type":2}"#).status, 202);
}

#[test]
fn reachable_answers_get_and_head_and_is_tried_last() {
    let scene = unsigned("handshakes = [\"reachable\", \"echo\"]");
    for method in ["GET", "HEAD"] {
        let reply = scene.client.send(method, "/webhooks/a", &[], b"");
        assert_eq!((reply.status, reply.text().as_str()), (200, ""), "{method}");
        assert_uncached(&reply);
    }
    assert_text(&scene.get("/webhooks/a?challenge=x"), "x");
    assert_eq!(
        scene.client.send("PUT", "/webhooks/a", &[], b"").status,
        405
    );
}

#[test]
fn reachable_leaves_a_signed_question_to_its_own_answer() {
    let scene = signed(
        "handshakes = [\"reachable\", { method = \"GET\", when.query.a = [{ exists = true }], \
         text = \"{query.a}\" }]",
    );
    let ask = |query: &str, secret: &str| {
        let headers = [("X-Signature", &*hmac_hex(secret, b""))];
        let path = format!("/webhooks/a{query}");
        scene.client.send("GET", &path, &headers, b"")
    };
    assert_text(&ask("?a=x", SECRET), "x");
    for reply in [
        ask("", SECRET),
        ask("?a=x", "wrong"),
        scene.get("/webhooks/a?a=x"),
    ] {
        assert_eq!((reply.status, reply.text().as_str()), (200, ""));
    }
}

#[test]
fn a_handshake_of_one_s_own_is_a_table() {
    let scene = signed(
        "[[sources.a.handshakes]]\nmethod = \"POST\"\nsigned = false\n\
         when.headers.X-Event-Key = [\"diagnostics:ping\"]\n\
         [[sources.a.handshakes]]\nmethod = \"POST\"\nwhen.body.\"/kind\" = [\"hello\"]\n\
         status = 201\njson = { answer = \"<{json./nonce}>\", of = [1, true, \"{hmac}\"] }\n\
         hmac_of = \"{json./nonce}\"",
    );
    let ping = [("X-Event-Key", "diagnostics:ping")];
    assert_eq!(scene.post("/webhooks/a", &ping, b"anything").status, 200);
    assert_eq!(
        scene
            .post("/webhooks/a", &[("X-Event-Key", "repo:push")], b"{}")
            .status,
        401
    );
    let reply = post_signed(&scene, r#"{"kind":"hello","nonce":"n1"}"#);
    assert_eq!(reply.status, 201);
    let expected = serde_json::json!({"answer": "<n1>", "of": [1, true, hmac_hex(SECRET, b"n1")]});
    assert_eq!(reply.json(), expected);
    assert_eq!(post_signed(&scene, r#"{"kind":"event"}"#).status, 202);
    assert_eq!(scene.stored(), 1);
}

#[test]
fn a_source_without_handshakes_answers_as_before() {
    let scene = unsigned("");
    for (method, path) in [
        ("GET", "/webhooks/a?hub.mode=subscribe&hub.challenge=1"),
        ("HEAD", "/webhooks/a"),
        ("OPTIONS", "/webhooks/a"),
    ] {
        let reply = scene.client.send(method, path, &[], b"");
        assert_eq!(reply.status, 405, "{method}");
        assert_eq!(reply.header("allow"), Some("POST"));
    }
    assert_eq!(
        scene
            .post("/webhooks/a?validationToken=x", &[], b"{}")
            .status,
        202
    );
}

#[test]
fn a_request_that_asks_no_handshake_is_told_why() {
    let origin = ("WebHook-Request-Origin", "a.example");
    for (settings, method, query, headers, why) in [
        (
            "'echo'",
            "GET",
            "",
            &[][..],
            "the query's parameter challenge is missing",
        ),
        (
            "'hub'",
            "GET",
            "?hub.mode=unsubscribe&hub.challenge=1",
            &[],
            "the query's parameter hub.mode has a value that is not supported",
        ),
        (
            "'echo', 'hub'",
            "GET",
            "?challenge=1&challenge=1",
            &[],
            "the query's parameter challenge is there more than once; \
             the query's parameter hub.mode is missing",
        ),
        (
            "'echo'",
            "GET",
            &format!("?{}", "a&".repeat(1001)),
            &[],
            "the query has more than 1000 parameters",
        ),
        (
            "'cloudevents'",
            "OPTIONS",
            "",
            &[origin, origin],
            "webhook-request-origin is there more than once",
        ),
    ] {
        let tokens = if settings.contains("hub") {
            "hub_tokens = ['t']"
        } else {
            ""
        };
        let scene = unsigned(&format!("handshakes = [{settings}]\n{tokens}"));
        let reply = scene
            .client
            .send(method, &format!("/webhooks/a{query}"), headers, b"");
        assert_eq!(reply.status, 405);
        let expected = format!("this {method} asks no handshake: {why}");
        assert_eq!(reply.json()["error"], expected.as_str());
        assert!(
            reply
                .header("allow")
                .is_some_and(|allow| allow.contains(method))
        );
    }
}

#[test]
fn a_method_that_no_handshake_has_is_told_those_that_some_have() {
    for (handshake, allow, others) in [
        ("hub", "GET, HEAD, POST", ["GET", "PUT", "OPTIONS"]),
        ("cloudevents", "OPTIONS, POST", ["GET", "PUT", "OPTIONS"]),
    ] {
        let settings = match handshake {
            "hub" => "handshakes = [\"hub\"]\nhub_tokens = [\"token\"]",
            other => &format!("handshakes = [\"{other}\"]"),
        };
        let scene = unsigned(settings);
        for method in others {
            let reply = scene.client.send(method, "/webhooks/a", &[], b"");
            assert_eq!(reply.status, 405, "{handshake} {method}");
            assert_eq!(reply.header("allow"), Some(allow), "{handshake} {method}");
        }
    }
}

#[test]
fn unsigned_handshakes_have_a_limit_of_their_own() {
    let scene = unsigned("handshakes = [\"reachable\"]");
    let statuses: Vec<u16> = (0..11).map(|_| scene.get("/webhooks/a").status).collect();
    assert_eq!(statuses[..10], [200; 10]);
    assert_eq!(statuses[10], 429);
    assert_eq!(scene.post("/webhooks/a", &[], b"{}").status, 202);
}

#[test]
fn handshakes_that_sign_for_strangers_or_can_never_match_are_refused() {
    let hub = |settings: &str| {
        error(&format!(
            "[sources.a]\ndestinations = [\"orders\"]\n{settings}"
        ))
    };
    for (settings, expected) in [
        (
            "handshakes = [\"hub\"]",
            "sources.a.handshakes[0]: \"hub\": expected hub_tokens (Meta) or hub_topics (WebSub): nothing would match",
        ),
        (
            "handshakes = [\"slack\"]",
            "sources.a.handshakes[0]: \"slack\": is answered only after verification, and the source has no verify",
        ),
        (
            "handshakes = [\"crc\"]",
            "sources.a.handshakes[0]: needs the secret of an HMAC, and the source's verify has none",
        ),
        (
            "handshakes = [\"zoom\"]",
            "sources.a.handshakes[0]: \"zoom\": is answered only after verification, and the source has no verify",
        ),
        (
            "handshakes = [\"crc\"]\naccept_any_content = true\n\
             verify.hmac = { header = \"X\", secrets = [\"s\"] }",
            CRC,
        ),
        (
            "handshakes = [\"crc\"]\nverify.hmac = { header = \"X\", timestamp_header = \"T\", \
             signed = \"{timestamp}.{body}\", secrets = [\"s\"] }",
            CRC,
        ),
        (
            "handshakes = [\"crc\"]\n\
             verify.standard_webhooks.secrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]",
            CRC,
        ),
        (
            "handshakes = [\"echo\", \"echo\"]",
            "sources.a.handshakes[1]: \"echo\": expected each handshake once",
        ),
        (
            "handshakes = [\"cloudevents\"]\norigins = []",
            "sources.a.origins: []: expected at least one; without the key any may ask",
        ),
        (
            "handshakes = [\"cloudevents\"]\norigins = [\"a.example\", \"https://a.example\"]",
            "sources.a.origins[1]: \"https://a.example\": expected a host's name such as \"eventgrid.azure.net\"",
        ),
        (
            "handshakes = [\"discord_interactions\", \"discord\"]\n\
             verify.hmac = { header = \"X\", secrets = [\"s\"] }",
            "sources.a.handshakes: \"discord_interactions\" contradicts \"discord\": a /type of 1 is an event under the one and a PING under the other, so that no event would be stored: expected one of them, and a source for each",
        ),
        (
            "hub_topics = [\"a\"]",
            "sources.a.hub_topics: is never used: expected \"hub\" in handshakes",
        ),
        (
            "handshakes = [{ method = \"POST\", signed = false }]",
            "sources.a.handshakes[0].when: is missing: without a condition every event would be a handshake",
        ),
        (
            "handshakes = [{ method = \"GET\" }]",
            "sources.a.handshakes[0].signed: is true by default, and the source has no verify: expected signed = false, or a verify",
        ),
        (
            "handshakes = [{ method = \"GET\", signed = false, status = 404 }]",
            "sources.a.handshakes[0].status: 404: expected 200 to 299",
        ),
        (
            "handshakes = [{ method = \"GET\", signed = false, when.body.\"/a\" = [1] }]",
            "sources.a.handshakes[0].when.body: can never match: only a POST has a body here",
        ),
        (
            "handshakes = [{ method = \"GET\", signed = false, text = \"a\\n\" }]",
            "sources.a.handshakes[0].text: has a control character: expected text in one line, without tabs",
        ),
        (
            "handshakes = [{ method = \"GET\", signed = false, json = { a = [\"b\\tc\"] } }]",
            "sources.a.handshakes[0].json: has a control character: expected text in one line, without tabs",
        ),
        (
            "handshakes = [{ method = \"GET\", signed = false, text = \"{json./a}\" }]",
            "sources.a.handshakes[0].text: \"{json./a}\": can never be found: only a POST has a body here",
        ),
        (
            "handshakes = [{ method = \"OPTIONS\", signed = false, json = { a = [\"{body_sha256}\"] } }]",
            "sources.a.handshakes[0].json: \"{body_sha256}\": can never be found: only a POST has a body here",
        ),
        (
            "handshakes = [{ method = \"GET\", signed = false, when.query.a = [\"{body}\"] }]",
            "sources.a.handshakes[0].when: \"{body}\": can never be found: only a POST has a body here",
        ),
        (
            "handshakes = [{ method = \"GET\", signed = false, text = \"{hmac}\" }]",
            "sources.a.handshakes[0].hmac_of: is missing: the answer has {hmac}, and nothing says what it is of",
        ),
        (
            "handshakes = [{ method = \"GET\", signed = false, text = \"{hmac}\", hmac_of = \"{query.a}\" }]",
            "sources.a.handshakes[0].hmac_of: contradicts signed = false: whoever asked would get whatever they like signed",
        ),
        (
            "verify.hmac = { header = \"X\", timestamp_header = \"T\", \
             signed = \"{timestamp}{body}\", secrets = [\"s\"] }\n\
             handshakes = [{ method = \"POST\", when.query.a = [{ exists = true }], \
             text = \"{hmac}\", hmac_of = \"{query.a}\" }]",
            "sources.a.handshakes[0].hmac_of: \"{query.a}\": expected parts of the request that its signature covers: {query.a} is none",
        ),
        (
            "handshakes = [{ method = \"GET\", signed = false, status = 204, text = \"a\" }]",
            "sources.a.handshakes[0].text: contradicts status = 204, which has no body",
        ),
        (
            "handshakes = [{ method = \"GET\", signed = false, text = \"a\", content_type = \"text/html\" }]",
            "sources.a.handshakes[0].content_type: contradicts text, which has a type of its own",
        ),
        (
            "handshakes = [{ method = \"GET\", signed = false, content_type = \"text\" }]",
            "sources.a.handshakes[0].content_type: \"text\": expected a media type such as \"text/plain\"",
        ),
    ] {
        assert_eq!(hub(settings), expected);
    }
}
