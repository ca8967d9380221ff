//! The settings that take effect.

use std::time::Duration;

use super::load;
use crate::config::*;
use crate::model::Level;

/// The settings that take effect at level durable, whether or not it is compiled in.
fn durable(mut config: Config) -> Resolved {
    config.delivery.level = Some(Level::Durable);
    config.resolve()
}

#[test]
fn a_schedule_can_be_a_growth_instead_of_a_list() {
    let waits = |retry: &str| {
        let config = load(
            &format!("[destinations.a]\nurl='http://x/'\nretry={{{retry}}}"),
            &[],
        );
        let config = durable(config.expect("valid values"));
        let schedule = &config.destination("a").retry.schedule;
        schedule.iter().map(Duration::as_secs).collect::<Vec<_>>()
    };
    assert_eq!(
        waits("base='5s', factor=3, cap='1m', attempts=6"),
        [5, 15, 45, 60, 60]
    );
    assert_eq!(waits("base='1s', attempts=5"), [1, 2, 4, 8]);
    assert_eq!(waits("base='1s', attempts=1"), [0; 0]);
    assert_eq!(waits("base='1h'").len(), 9);
    assert_eq!(
        waits("base='1s', factor=100, attempts=101")[100 - 1],
        86_400
    );
    assert_eq!(
        waits(""),
        RetrySettings::SCHEDULE.map(|wait| wait.as_secs())
    );
}

#[test]
fn breakers_and_retention_have_defaults_and_can_be_turned_off() {
    let config = load(
        "[delivery.defaults]\nbreaker={failures=3}\n[destinations.a]\nurl='http://x/'\nbreaker={probe_after='1h'}\n[destinations.b]\nurl='http://x/'\nbreaker={enabled=false}\n[retention]\ndead_lettered='forever'",
        &[],
    )
    .expect("valid values");
    let config = durable(config);
    let breaker = |name| config.destination(name).breaker;
    let own = breaker("a").expect("a breaker");
    assert_eq!(
        (own.failures, own.probe_after),
        (3, Duration::from_secs(3600))
    );
    assert!(own.probe_cap >= own.probe_after);
    assert_eq!(breaker("b"), None);
    assert_eq!(breaker("http://adhoc").map(|rules| rules.failures), Some(3));
    assert_eq!(
        config.retention.delivered,
        Some(Duration::from_secs(604_800))
    );
    assert_eq!(config.retention.dead_lettered, None);
}

#[test]
fn a_destination_has_its_own_settings_then_the_defaults_then_the_built_in_ones() {
    let config = load(
        "[delivery]\ntimeout='9s'\n[delivery.defaults]\nconcurrency=3\n\
         rate_limit={per_second=5,burst=6}\n[destinations.a]\nurl='http://x/'\ntimeout='2s'\n\
         concurrency=1",
        &[],
    )
    .expect("valid values");
    let config = durable(config);
    let own = config.destination("a");
    assert!(own.is_configured());
    assert_eq!((own.timeout, own.concurrency), (Duration::from_secs(2), 1));
    assert_eq!(own.rate_limit.map(|limit| limit.burst), Some(6));
    for unknown in ["http://adhoc", "gone"] {
        let other = config.destination(unknown);
        assert!(!other.is_configured());
        assert_eq!(
            (other.timeout, other.concurrency),
            (Duration::from_secs(9), 3)
        );
    }
    let built_in = durable(Config::default());
    let other = built_in.destination("http://adhoc");
    assert_eq!((other.concurrency, other.rate_limit), (8, None));
    assert_eq!(other.timeout, Duration::from_secs(15));
    let is_deliverable = ["a", "http://adhoc", "gone"].map(|name| config.is_deliverable(name));
    assert_eq!(is_deliverable, [true, true, false]);
}

#[test]
fn the_level_decides_on_retries_and_breakers() {
    let policy = |level| {
        let mut config = Config::default();
        config.delivery.level = Some(level);
        let resolved = config.resolve();
        // A database may hold the waits of a higher level.
        assert_eq!(
            resolved.longest_wait(),
            Duration::from_secs(24 * 3600).mul_f64(1.2)
        );
        let policy = resolved.destination("http://adhoc");
        (policy.retry.max_attempts(), policy.breaker.is_some())
    };
    assert_eq!(policy(Level::Off), (10, false));
    assert_eq!(policy(Level::Simulated), (1, false));
    assert_eq!(policy(Level::Http), (3, false));
    assert_eq!(policy(Level::Durable), (10, true));
}

#[test]
fn a_source_has_its_own_settings_or_those_of_the_catch_all() {
    let config = load(
        "[api]\nidempotency_window='2h'\n[sources.a]\ndestinations=['d']\n\
         max_body_bytes='2MiB'\n[sources.'*']\ndestinations=['d']\naccept_any_content=true\n\
         [destinations.d]\nurl='http://x/'",
        &[],
    )
    .expect("valid values");
    let config = config.resolve();
    let own = config.source("a").expect("its own");
    assert_eq!(
        (own.max_body_bytes, own.accept_any_content),
        (2 << 20, false)
    );
    let other = config.source("b").expect("the catch-all's");
    assert_eq!(
        (other.max_body_bytes, other.accept_any_content),
        (Source::MAX_BODY_BYTES, true)
    );
    for source in [own, other] {
        assert_eq!(source.idempotency_window, Duration::from_secs(7200));
        assert_eq!(*source.destinations, ["d".to_owned()]);
    }
    assert!(Config::default().resolve().source("b").is_none());
}

#[test]
fn an_unchecked_configuration_resolves_without_a_panic() {
    let mut config = Config::default();
    let retry = &mut config.delivery.defaults.retry;
    retry.base = Some(Duration::MAX);
    retry.factor = Some(f64::NAN);
    retry.attempts = Some(u32::MAX);
    for jitter in [-1.0, f64::NAN, f64::INFINITY] {
        config.delivery.defaults.retry.jitter = Some(jitter);
        config.delivery.level = Some(Level::Durable);
        let attempts = config.resolve().destination("x").retry.max_attempts();
        assert_eq!(attempts, 101);
    }
}

#[test]
fn the_time_to_connect_is_never_longer_than_an_attempt() {
    let to_connect = |text: &str| {
        let config = load(&format!("[delivery]\n{text}"), &[]).expect(text);
        config.resolve().delivery.connect_timeout
    };
    assert_eq!(to_connect(""), Duration::from_secs(5));
    assert_eq!(to_connect("timeout = '2s'"), Duration::from_secs(2));
    assert_eq!(to_connect("timeout = '1m'"), Duration::from_secs(5));
    let both = "timeout = '1m'\nconnect_timeout = '20s'";
    assert_eq!(to_connect(both), Duration::from_secs(20));
}
