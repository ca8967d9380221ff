use std::time::Duration;

use super::*;
use crate::clock::{FakeClock, Timestamp};
use crate::config::{Config, RateLimit, Source};
use crate::http::admission::bounded_buckets::MAX_NAMES;

/// Gates with nothing but a catch-all source: one event a second for each name.
fn catch_all(clock: &Arc<FakeClock>) -> SourceGates {
    let mut config = Config::default();
    let mut source = Source::to(["x"]);
    source.rate_limit = Some(RateLimit {
        per_second: 1.0,
        burst: 1,
    });
    config.sources.insert("*".to_owned(), source);
    let clock: Arc<dyn Clock> = Arc::<FakeClock>::clone(clock);
    let metrics = Metrics::new(crate::model::Level::Off);
    let none = Arc::default();
    SourceGates::new(
        &config.resolve(),
        &clock,
        &metrics,
        Arc::new(|_| None),
        &none,
    )
}

#[test]
fn buckets_of_undeclared_sources_are_bounded_and_freed_when_full() {
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(0)));
    let gates = catch_all(&clock);
    let catch_all = gates.catch_all.as_ref().expect("a catch-all");
    let kept = || catch_all.buckets.as_ref().map(|buckets| buckets.len());
    let is_allowed = |source: &str| {
        let status = gates.take_token(source);
        status.is_some_and(|status| status.is_allowed)
    };
    let allowed = (0..100_000)
        .filter(|number| is_allowed(&format!("s{number}")))
        .count();
    assert_eq!(kept(), Some(MAX_NAMES));
    assert_eq!(allowed, MAX_NAMES + 1, "all other names share one bucket");
    assert!(!is_allowed("s0"), "a name keeps its bucket");
    clock.advance(Duration::from_secs(2));
    gates.forget_full_buckets();
    assert_eq!(kept(), Some(0));
    assert!(is_allowed("s99999"));
}

#[test]
fn a_rejected_request_is_logged_once_a_minute_and_source() {
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(0)));
    let gates = catch_all(&clock);
    let may_warn = |source: &str| {
        let verification = gates.verification(source).expect("a catch-all");
        assert_eq!(verification.label(), "*", "no label from strangers");
        verification.may_warn(gates.seconds())
    };
    assert_eq!((may_warn("a"), may_warn("b")), (true, false));
    clock.advance(Duration::from_secs(59));
    assert!(!may_warn("a"));
    clock.advance(Duration::from_secs(1));
    assert!(may_warn("b"));
}
