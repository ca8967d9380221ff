//! Requests that destinations receive from sources with settings of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use relay::config::Secret;
use relay::model::Level;

use super::{NOW, Scene, hmac_hex};
use crate::support::{Answer, Receiver, event_with_status};

fn scene(receiver: &Receiver, text: &str, signs: bool) -> Scene {
    Scene::delivering_to(&receiver.url("/hook"), text, |config| {
        config.delivery.level = Some(Level::Durable);
        let to = config
            .destinations
            .get_mut("orders")
            .expect("the destination");
        if signs {
            to.secrets = vec![Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")];
        }
    })
}

const SOURCE: &str = "[sources.a]\ndestinations = [\"orders\"]\nidempotency = \"none\"\n";

#[test]
fn a_receiver_is_told_when_and_that_an_event_was_verified() {
    let receiver = Receiver::start(|_| Answer::status(200));
    let text = format!(
        "{SOURCE}event_type = {{ header = \"X-Event\" }}\n\
         [sources.a.verify.hmac]\nheader = \"X-Signature\"\nsecrets = [\"s\"]\n\
         [sources.open]\ndestinations = [\"orders\"]\nidempotency = \"none\""
    );
    let scene = scene(&receiver, &text, false);
    let signature = hmac_hex("s", b"{}");
    let headers = [
        ("X-Signature", signature.as_str()),
        ("X-Event", "push"),
        ("Relay-Verified", "x"),
    ];
    assert_eq!(
        scene.post("/webhooks/a?tenant=7", &headers, b"{}").status,
        202
    );
    let arrival = receiver.next();
    assert_eq!(
        arrival.header("relay-accepted-at"),
        NOW.to_string().as_str()
    );
    assert_eq!(arrival.header("relay-verified"), "a");
    assert_eq!(arrival.header("relay-event-type"), "push");
    assert_eq!(arrival.header("relay-query"), "tenant=7");
    assert_eq!(scene.post("/webhooks/open", &headers, b"{}").status, 202);
    let arrival = receiver.next();
    for name in [
        "relay-verified",
        "relay-event-type",
        "relay-query",
        "relay-source-webhook-id",
    ] {
        assert_eq!(arrival.header(name), "", "{name}");
    }
}

#[test]
fn a_provider_s_id_that_is_replaced_is_passed_on() {
    let receiver = Receiver::start(|_| Answer::status(200));
    let scene = scene(&receiver, SOURCE, true);
    let headers = [
        ("webhook-id", "msg_1"),
        ("Relay-Source-Webhook-Id", "forged"),
    ];
    let reply = scene.post("/webhooks/a", &headers, b"{}");
    let id = reply.json()["event_id"].as_str().expect("an id").to_owned();
    let arrival = receiver.next();
    assert_eq!(arrival.header("webhook-id"), id.as_str());
    assert_eq!(arrival.header("relay-source-webhook-id"), "msg_1");
    assert_eq!(scene.post("/webhooks/a", &[], b"{}").status, 202);
    assert_eq!(receiver.next().header("relay-source-webhook-id"), "");
}

#[test]
fn a_query_is_appended_to_the_url() {
    let receiver = Receiver::start(|_| Answer::status(200));
    let scene = scene(
        &receiver,
        &format!("{SOURCE}forward_query = \"append\""),
        false,
    );
    assert_eq!(
        scene.post("/webhooks/a?tenant=7&a=%20", &[], b"{}").status,
        202
    );
    let arrival = receiver.next();
    assert_eq!(arrival.path, "/hook?tenant=7&a=%20");
    assert_eq!(arrival.header("relay-query"), "");
    assert_eq!(scene.post("/webhooks/a", &[], b"{}").status, 202);
    assert_eq!(receiver.next().path, "/hook");
}

#[test]
fn a_token_in_the_query_ends_at_relay() {
    let receiver = Receiver::start(|_| Answer::status(200));
    let secret = "S3CRETINQUERY";
    for (value, secrets) in [
        ("{query}", format!("a={secret}")),
        ("{url}", format!("https://x/webhooks/a?a={secret}")),
        ("{query.a}", secret.to_owned()),
    ] {
        for way in ["header", "append"] {
            let text = format!(
                "{SOURCE}forward_query = \"{way}\"\npublic_url = \"https://x\"\n\
                 verify.token = {{ value = \"{value}\", secrets = [\"{secrets}\"] }}"
            );
            let scene = scene(&receiver, &text, false);
            let path = format!("/webhooks/a?a={secret}");
            assert_eq!(scene.post("/webhooks/a?a=other", &[], b"{}").status, 401);
            assert_eq!(scene.post(&path, &[], b"{}").status, 202, "{value}");
            let arrival = receiver.next();
            assert_eq!(arrival.path, "/hook", "{value} {way}");
            assert_eq!(arrival.header("relay-query"), "", "{value} {way}");
        }
    }
}

#[test]
fn lines_of_a_head_arrive_whole_however_long_they_are() {
    let receiver = Receiver::start(|_| Answer::status(200));
    let text = format!(
        "{SOURCE}forward_query = \"append\"\n\
         [sources.b]\ndestinations = [\"orders\"]\nidempotency = \"none\"\n\
         forward_query = \"header\""
    );
    let scene = scene(&receiver, &text, false);
    // Around the size of a connection's buffer, and near that of the largest head.
    for size in [16_300, 16_360, 16_375, 16_376, 16_384, 16_400, 31_000] {
        let value = "x".repeat(size);
        let query = format!("q={value}");
        let header = [("X-Long", value.as_str())];
        assert_eq!(scene.post("/webhooks/a", &header, b"{}").status, 202);
        assert_eq!(receiver.next().header("x-long"), value);
        let path = format!("/webhooks/a?{query}");
        assert_eq!(scene.post(&path, &[], b"{}").status, 202);
        assert_eq!(receiver.next().path, format!("/hook?{query}"));
        let path = format!("/webhooks/b?{query}");
        assert_eq!(scene.post(&path, &[], b"{}").status, 202);
        assert_eq!(receiver.next().header("relay-query"), query);
    }
}

#[test]
fn a_destinations_own_header_arrives_whole_however_long_it_is() {
    let receiver = Receiver::start(|_| Answer::status(200));
    // The last of a head, whose end goes out with it: with 16 375 bytes its own line fills a
    // connection's buffer.
    for size in [16_372, 16_373, 16_374, 16_375, 16_376, 60_000] {
        let scene = Scene::delivering_to(&receiver.url("/hook"), SOURCE, |config| {
            config.delivery.level = Some(Level::Durable);
            let to = config.destinations.get_mut("orders");
            let headers = &mut to.expect("the destination").headers;
            headers.insert("X-Own".to_owned(), Secret::new("o".repeat(size)));
        });
        let forged = [("X_Own", "forged")];
        assert_eq!(scene.post("/webhooks/a", &forged, b"{}").status, 202);
        let arrival = receiver.next();
        assert_eq!(arrival.header("x-own").len(), size);
        // A receiver that puts headers into variables can't tell the two.
        assert_eq!(arrival.header("x_own"), "");
    }
}

#[test]
fn a_redelivery_replays_what_is_dead_lettered_once_a_minute() {
    let is_well = Arc::new(AtomicBool::new(false));
    let receiver = {
        let is_well = Arc::clone(&is_well);
        Receiver::start(move |_| {
            Answer::status(if is_well.load(Ordering::Relaxed) {
                200
            } else {
                400
            })
        })
    };
    let text = "[sources.a]\ndestinations = [\"orders\"]\non_redelivery = \"replay_dead\"\n\
                [sources.b]\ndestinations = [\"orders\"]";
    let scene = scene(&receiver, text, false);
    let post = |source: &str, body: &[u8]| {
        let path = format!("/webhooks/{source}");
        let reply = scene.post(&path, &[("Idempotency-Key", "k")], body);
        assert_eq!(reply.status, 202, "{}", reply.text());
        let json = reply.json();
        (
            json["event_id"].as_str().expect("an id").to_owned(),
            json["status"].as_str().expect("a status").to_owned(),
        )
    };
    let is_dead = |id: &str| event_with_status(&scene.relay.client, id, "dead_lettered");
    let nothing_arrives = || {
        let arrived = receiver.next_within(Duration::from_millis(300));
        assert!(arrived.is_none());
    };
    let (id, _) = post("a", b"{}");
    receiver.next();
    is_dead(&id);
    // Other bytes under the key replay nothing.
    assert_eq!(post("a", b"[]"), (id.clone(), "duplicate".to_owned()));
    nothing_arrives();
    assert_eq!(post("a", b"{}"), (id.clone(), "duplicate".to_owned()));
    receiver.next();
    is_dead(&id);
    // Within a minute the sender can't do it again.
    post("a", b"{}");
    nothing_arrives();
    scene.clock.advance(Duration::from_secs(61));
    is_well.store(true, Ordering::Relaxed);
    post("a", b"{}");
    receiver.next();
    event_with_status(&scene.relay.client, &id, "delivered");
    // A delivered event is never sent again.
    scene.clock.advance(Duration::from_secs(61));
    post("a", b"{}");
    nothing_arrives();
    // By default a duplicate replays nothing.
    is_well.store(false, Ordering::Relaxed);
    let (id, _) = post("b", b"{}");
    receiver.next();
    is_dead(&id);
    post("b", b"{}");
    nothing_arrives();
}
