//! Rate limits and their headers, on a fake clock.

use std::sync::Arc;
use std::time::Duration;

use relay::clock::{FakeClock, Timestamp};
use relay::config::{RateLimit, Secret, Source};

use crate::support::{KEY, Reply, TestRelay, URL, config, relay_to};

fn start(change: impl FnOnce(&mut relay::Config)) -> (TestRelay, Arc<FakeClock>) {
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(1_700_000_000_000)));
    let mut config = config(directory.path(), URL);
    config.delivery.level = Some(relay::model::Level::Off);
    change(&mut config);
    let relay = TestRelay::start_in(directory, config, Some(Arc::clone(&clock)));
    (relay, clock)
}

fn number(reply: &Reply, name: &str) -> u64 {
    let value = reply
        .header(name)
        .unwrap_or_else(|| panic!("{name} is missing"));
    value.parse().expect("a whole number")
}

/// Status, limit, remaining, reset.
fn status_and_limits(reply: &Reply) -> (u16, u64, u64, u64) {
    (
        reply.status,
        number(reply, "ratelimit-limit"),
        number(reply, "ratelimit-remaining"),
        number(reply, "ratelimit-reset"),
    )
}

#[test]
fn remaining_counts_down_and_waiting_as_told_succeeds() {
    // A token every 4 s, 3 at once.
    let (relay, clock) = start(|config| {
        config.api.rate_limit.get = RateLimit {
            per_second: 0.25,
            burst: 3,
        };
        config.api.keys.push(Secret::new("other"));
    });
    let get = || relay.client.get("/v1/relays");
    assert_eq!(status_and_limits(&get()), (200, 3, 2, 0));
    assert_eq!(status_and_limits(&get()), (200, 3, 1, 0));
    assert_eq!(status_and_limits(&get()), (200, 3, 0, 4));
    let refused = get();
    assert_eq!(status_and_limits(&refused), (429, 3, 0, 4));
    assert_eq!(number(&refused, "retry-after"), 4);
    assert_eq!(refused.json()["code"], "rate_limited");
    assert!(refused.text().contains("in 4 s"), "{}", refused.text());

    // A refusal spends no token, and Retry-After shrinks as time passes.
    clock.advance(Duration::from_millis(1500));
    let refused = get();
    assert_eq!(
        (status_and_limits(&refused), number(&refused, "retry-after")),
        ((429, 3, 0, 3), 3)
    );
    clock.advance(Duration::from_secs(3));
    assert_eq!(status_and_limits(&get()).0, 200);
    // A long pause fills the bucket and no more.
    clock.advance(Duration::from_secs(3600));
    assert_eq!(status_and_limits(&get()), (200, 3, 2, 0));

    // POST, and another key, have buckets of their own.
    for _ in 0..2 {
        get();
    }
    assert_eq!(get().status, 429);
    assert_eq!(relay.client.create(&[], &relay_to(URL, "{}")).status, 201);
    let other = relay
        .client
        .send("GET", "/v1/relays", &[("X-API-Key", "other")], b"");
    assert_eq!(status_and_limits(&other), (200, 3, 2, 0));
}

#[test]
fn every_authenticated_answer_has_the_rate_limit_headers() {
    let (relay, _clock) = start(|config| {
        config.api.rate_limit.post = RateLimit {
            per_second: 1.0,
            burst: 100,
        };
        config.api.rate_limit.get = config.api.rate_limit.post;
    });
    let body = relay_to(URL, "{}");
    let key = [("X-API-Key", KEY), ("Idempotency-Key", "k")];
    let post = |headers: &[(&str, &str)], body: &str| {
        relay
            .client
            .send("POST", "/v1/relays", headers, body.as_bytes())
    };
    let large = "x".repeat(40_000);
    for (status, reply, remaining) in [
        (201, post(&key, &body), 99),
        (409, post(&key, &relay_to(URL, "{ }")), 98),
        (400, post(&key, "{}"), 97),
        (413, post(&key, &large), 96),
        (
            415,
            post(&[key[0], ("Content-Type", "text/plain")], &body),
            95,
        ),
        (201, post(&key, &body), 94),
        (200, relay.client.get("/v1/relays"), 99),
        (400, relay.client.get("/v1/relays?pageSize=0"), 98),
        (404, relay.client.get("/v1/relays/none"), 97),
        (
            200,
            relay.client.send("HEAD", "/v1/relays", &[key[0]], b""),
            96,
        ),
    ] {
        assert_eq!(
            status_and_limits(&reply),
            (status, 100, remaining, 0),
            "{}",
            reply.text()
        );
    }
    // Answers before authentication, and to unknown methods, have no such headers.
    for reply in [
        post(&[], &body),
        post(&[("X-API-Key", "x")], &body),
        relay.client.send("PUT", "/v1/relays", &key, b""),
    ] {
        assert_eq!(reply.header("ratelimit-limit"), None, "{}", reply.status);
    }
}

#[test]
fn each_source_has_a_rate_limit_of_its_own() {
    let (relay, clock) = start(|config| {
        let limit = Some(RateLimit {
            per_second: 0.5,
            burst: 1,
        });
        config
            .sources
            .get_mut("github")
            .expect("a source")
            .rate_limit = limit;
        let mut any = Source::to(["orders"]);
        any.rate_limit = limit;
        config.sources.insert("*".to_owned(), any);
    });
    let mut key = 0;
    let mut post = |source: &str| {
        key += 1;
        let key = key.to_string();
        relay.client.send(
            "POST",
            &format!("/webhooks/{source}"),
            &[("Idempotency-Key", &key)],
            b"{}",
        )
    };
    for source in ["github", "one", "two"] {
        assert_eq!(post(source).status, 202, "{source}");
        let refused = post(source);
        assert_eq!(refused.status, 429, "{source}");
        assert_eq!(
            refused.json(),
            serde_json::json!({"error": "too many requests: try again in 2 s"})
        );
        assert_eq!(number(&refused, "retry-after"), 2);
    }
    clock.advance(Duration::from_secs(1));
    assert_eq!(post("one").status, 429);
    clock.advance(Duration::from_secs(1));
    for source in ["github", "one", "two"] {
        assert_eq!(post(source).status, 202, "{source}");
    }
}
