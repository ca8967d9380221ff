//! The Standard Webhooks scheme in both directions. The specification's reference library is the
//! oracle: relay accepts what it signs, and it verifies what relay signs.

use std::time::{SystemTime, UNIX_EPOCH};

use relay::config::{IdempotencyKeyAt, Secret, Source, StandardWebhooks, Verify};
use standardwebhooks::Webhook;

use crate::support::TestRelay;
#[cfg(feature = "delivery-durable")]
use crate::support::{Answer, Receiver, event_id};

const SECRETS: [&str; 2] = [
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
];
const UNKNOWN_SECRET: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const BODY: &[u8] = "{\"city\": \"Zürich\"}\n".as_bytes();

fn oracle(secret: &str) -> Webhook {
    Webhook::new(secret).expect("a secret of the specification's form")
}

#[test]
fn an_event_that_the_reference_library_signed_is_accepted() {
    let relay = TestRelay::start_with("http://127.0.0.1:9/hook", |config| {
        config.delivery.level = Some(relay::model::Level::Off);
        let mut source = Source::to(["orders"]);
        source.idempotency = IdempotencyKeyAt::Header("webhook-id".to_owned());
        source.verify = Some(Verify::StandardWebhooks(StandardWebhooks {
            secrets: SECRETS.map(Secret::new).into(),
            ..StandardWebhooks::default()
        }));
        config.sources.insert("signed".to_owned(), source);
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = i64::try_from(now.expect("after 1970").as_secs()).expect("before year 292 billion");
    let status = |secret: &str, id: &str| {
        let signature = oracle(secret)
            .sign(id, now, BODY)
            .expect("a text is signed");
        let headers = [
            ("webhook-id", id),
            ("webhook-timestamp", &now.to_string()),
            ("webhook-signature", &signature),
        ];
        let reply = relay
            .client
            .send("POST", "/webhooks/signed", &headers, BODY);
        reply.status
    };
    assert_eq!(status(SECRETS[0], "msg_1"), 202);
    assert_eq!(status(SECRETS[1], "msg_2"), 202);
    assert_eq!(status(UNKNOWN_SECRET, "msg_3"), 401);
}

#[cfg(feature = "delivery-durable")]
#[test]
fn the_reference_library_verifies_a_signed_attempt() {
    let receiver = Receiver::start(|_| Answer::status(200));
    let relay = TestRelay::start_with(&receiver.url("/"), |config| {
        let orders = config.destinations.get_mut("orders");
        orders.expect("a destination").secrets = SECRETS.map(Secret::new).into();
    });
    event_id(&relay.client.hook("1", BODY));
    let arrival = receiver.next();
    assert_eq!(arrival.body, BODY);
    for secret in SECRETS {
        let verified = oracle(secret).verify(&arrival.body, &arrival.headers);
        assert!(verified.is_ok(), "{verified:?}");
    }
    let unknown = oracle(UNKNOWN_SECRET).verify(&arrival.body, &arrival.headers);
    assert!(unknown.is_err());
    let changed = oracle(SECRETS[0]).verify(b"{}", &arrival.headers);
    assert!(changed.is_err());
}
