//! Sources that verify a provider's signature, in every build.

use std::sync::Arc;
use std::time::Duration;

use relay::clock::{Clock as _, FakeClock, Timestamp};
use relay::config::{RateLimit, Secret, Source, StandardWebhooks, Verify};

use crate::needs_a_file;
use crate::support::{Columns, Connection, Reply, TestRelay, URL, config};

// From the Standard Webhooks specification's reference libraries.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const SECONDS: i64 = 1_614_265_330;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
const BODY: &[u8] = br#"{"test": 2432232314}"#;

/// A relay with a source `signed` for the signature above, at the signature's time.
fn start(change: impl FnOnce(&mut relay::Config)) -> (TestRelay, Arc<FakeClock>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    start_in(Arc::new(directory), change)
}

fn start_in(
    directory: Arc<tempfile::TempDir>,
    change: impl FnOnce(&mut relay::Config),
) -> (TestRelay, Arc<FakeClock>) {
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(SECONDS * 1000)));
    let mut config = config(directory.path(), URL);
    config.delivery.level = Some(relay::model::Level::Off);
    let mut source = Source::to(["orders"]);
    source.idempotency = relay::config::IdempotencyKeyAt::Header("webhook-id".to_owned());
    source.verify = Some(Verify::StandardWebhooks(StandardWebhooks {
        secrets: vec![
            Secret::new("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            Secret::new(SECRET),
        ],
        ..StandardWebhooks::default()
    }));
    config.sources.insert("signed".to_owned(), source);
    change(&mut config);
    let relay = TestRelay::start_in(directory, config, Some(Arc::clone(&clock)));
    (relay, clock)
}

fn post(relay: &TestRelay, signature: Option<&str>, body: &[u8]) -> Reply {
    let mut headers = vec![("webhook-id", ID), ("webhook-timestamp", "1614265330")];
    headers.extend(signature.map(|signature| ("webhook-signature", signature)));
    relay
        .client
        .send("POST", "/webhooks/signed", &headers, body)
}

#[test]
fn only_requests_with_a_valid_signature_are_accepted() {
    let (relay, clock) = start(|_| {});
    let refused = |reply: Reply| {
        assert_eq!(reply.status, 401, "{}", reply.text());
        assert_eq!(
            reply.json(),
            serde_json::json!({"error": "the signature is missing or does not verify"})
        );
    };
    refused(post(&relay, None, BODY));
    refused(post(&relay, Some(""), BODY));
    refused(post(&relay, Some("v1,AAAA"), BODY));
    // The signature covers the bytes: the same document with other spacing is another body.
    refused(post(&relay, Some(SIGNATURE), br#"{"test":2432232314}"#));
    // The answer tells nothing about the key or the body.
    refused(
        relay
            .client
            .send("POST", "/webhooks/signed", &[], b"not JSON"),
    );
    let accepted = post(&relay, Some(SIGNATURE), BODY);
    assert_eq!(
        (accepted.status, &accepted.json()["status"]),
        (202, &"accepted".into())
    );
    assert_eq!(
        post(&relay, Some(SIGNATURE), BODY).json()["status"],
        "duplicate"
    );
    clock.advance(Duration::from_secs(301));
    refused(post(&relay, Some(SIGNATURE), BODY));
    clock.set_wall(clock.now().minus(Duration::from_secs(602)));
    refused(post(&relay, Some(SIGNATURE), BODY));
}

#[test]
fn an_unsigned_request_is_refused_before_its_body_and_spends_no_token() {
    let (relay, _clock) = start(|config| {
        let source = config.sources.get_mut("signed").expect("a source");
        source.rate_limit = Some(RateLimit {
            per_second: 0.001,
            burst: 1,
        });
    });
    let mut stranger = relay.client.connect();
    stranger.send(b"POST /webhooks/signed HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    let reply = stranger.reply().expect("an answer");
    assert_eq!(
        (reply.status, reply.header("connection")),
        (401, Some("close"))
    );
    for _ in 0..10 {
        assert_eq!(post(&relay, Some("v1,AAAA"), BODY).status, 401);
    }
    assert_eq!(
        post(&relay, Some(SIGNATURE), BODY).status,
        202,
        "the token was still there"
    );
    assert_eq!(post(&relay, Some(SIGNATURE), BODY).status, 429);
}

#[test]
fn a_refusal_for_lack_of_space_does_not_use_up_the_key() {
    needs_a_file!("the disk is the server's");
    let (relay, _clock) = start(|config| config.database.min_free_bytes = u64::MAX);
    let refused = post(&relay, Some(SIGNATURE), BODY);
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    let directory = Arc::clone(&relay.directory);
    drop(relay);
    // With space again, the sender's retry is a first acceptance.
    let (relay, _clock) = start_in(directory, |_| {});
    let retried = post(&relay, Some(SIGNATURE), BODY);
    assert_eq!(
        (retried.status, &retried.json()["status"]),
        (202, &"accepted".into())
    );
}

#[test]
fn the_catch_all_source_can_verify_signatures() {
    let (relay, _clock) = start(|config| {
        let source = config.sources["signed"].clone();
        config.sources.insert("*".to_owned(), source);
    });
    let post = |source: &str, signature: &str| {
        let headers = [
            ("webhook-id", ID),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", signature),
        ];
        relay
            .client
            .send("POST", &format!("/webhooks/{source}"), &headers, BODY)
            .status
    };
    assert_eq!((post("any", SIGNATURE), post("any", "v1,AAAA")), (202, 401));
    // A declared source has its own settings.
    assert_eq!(relay.client.hook("1", b"{}").status, 202);
}

#[test]
fn the_providers_signature_still_verifies_downstream() {
    let (relay, _clock) = start(|_| {});
    assert_eq!(post(&relay, Some(SIGNATURE), BODY).status, 202);
    let Columns((headers, body)) =
        relay.peek::<Columns<(String, Vec<u8>)>>("SELECT headers, body FROM intents");
    assert_eq!(body, BODY);
    for line in [
        format!("webhook-id: {ID}\r\n"),
        "webhook-timestamp: 1614265330\r\n".to_owned(),
        format!("webhook-signature: {SIGNATURE}\r\n"),
    ] {
        assert!(headers.contains(&line), "{line} in {headers}");
    }
}

/// Bytes of a large body.
const LARGE: usize = 64 << 20;
/// Requests that must be answered while large bodies are verified: more than fit between the last
/// bytes of a body and the beginning of its verification.
const MEANWHILE: usize = 20;

#[test]
fn verifying_large_bodies_delays_no_other_connection() {
    let (relay, _) = start(|config| {
        let source = config.sources.get_mut("signed").expect("a source");
        source.max_body_bytes = Some(LARGE as u64);
    });
    // One for each event loop.
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(8));
    let chunk = vec![b' '; 1 << 20];
    let mut large: Vec<_> = (0..threads).map(|_| relay.client.connect()).collect();
    for connection in &mut large {
        let head = format!(
            "POST /webhooks/signed HTTP/1.1\r\nHost: a\r\nwebhook-id: {ID}\r\nwebhook-timestamp: {SECONDS}\r\nwebhook-signature: {SIGNATURE}\r\nContent-Length: {LARGE}\r\n\r\n"
        );
        assert!(connection.send(head.as_bytes()));
    }
    for connection in &mut large {
        for _ in 0..LARGE / chunk.len() {
            assert!(connection.send(&chunk));
        }
    }
    for answered in 0..MEANWHILE {
        let is_over = large.iter_mut().any(Connection::has_ended_or_answered);
        assert!(
            !is_over,
            "{answered} others were answered before a large body was checked"
        );
        assert_eq!(relay.client.get("/healthz").status, 200);
    }
    for connection in &mut large {
        assert_eq!(connection.reply().expect("an answer").status, 401);
    }
}
