use std::time::Duration;

use super::*;
use crate::clock::{FakeClock, Timestamp};
use crate::config::{Config, Source};
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
    SourceGates::new(&config.resolve(), &clock)
}

#[test]
fn buckets_of_undeclared_sources_are_bounded_and_freed_when_full() {
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(0)));
    let gates = catch_all(&clock);
    let kept = || gates.catch_all.buckets.as_ref().map(KeyedTokenBuckets::len);
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
fn a_rejected_signature_is_logged_once_a_minute() {
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(0)));
    let gates = catch_all(&clock);
    assert_eq!((gates.may_warn(), gates.may_warn()), (true, false));
    clock.advance(Duration::from_secs(59));
    assert!(!gates.may_warn());
    clock.advance(Duration::from_secs(1));
    assert!(gates.may_warn());
}
