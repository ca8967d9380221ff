//! Who may come in, and how fast: API keys, signatures and token buckets.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::RateLimiter;
use governor::clock::Clock as _;
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use hyper::Method;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::clock::Clock;
use crate::config::{Config, RateLimit, Source};
use crate::http::admission::bounded_buckets::BoundedStates;
use crate::http::admission::signatures::hmac::Verifier;
use crate::limiter::{Monotonic, period, quota, whole_seconds};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

type Bucket = RateLimiter<NotKeyed, InMemoryState, Monotonic, StateInformationMiddleware>;
type Buckets = RateLimiter<String, BoundedStates, Monotonic, StateInformationMiddleware>;

/// How often a signature that doesn't verify is worth a line in the log.
const COMPLAIN_EVERY_SECONDS: u64 = 60;

pub(in crate::http) struct Ingress {
    keys: Vec<Key>,
    post: RateLimit,
    get: RateLimit,
    sources: HashMap<String, Gate<Bucket>>,
    /// For sources that aren't declared, each with a bucket of its own.
    catch_all: Gate<Buckets>,
    /// When it may be said again that a signature didn't verify: seconds of the monotonic clock.
    next_complaint: AtomicU64,
    clock: Monotonic,
}

/// What a source's events have to pass.
struct Gate<B> {
    limit: Option<(RateLimit, B)>,
    verifier: Option<Arc<Verifier>>,
}

impl<B> Gate<B> {
    fn of(source: Option<&Source>, buckets: impl FnOnce(&RateLimit) -> B) -> Self {
        Self {
            limit: source
                .and_then(|source| source.rate_limit)
                .map(|limit| (limit, buckets(&limit))),
            verifier: source
                .and_then(|source| source.verify.as_ref())
                .map(|verify| Arc::new(Verifier::new(verify))),
        }
    }
}

/// A configured API key with its buckets: unknown keys don't get any.
pub(in crate::http) struct Key {
    text: String,
    digest: [u8; 32],
    post: Bucket,
    get: Bucket,
}

impl Key {
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// What a token bucket says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct Standing {
    /// Whether it may pass.
    pub passes: bool,
    limit: u32,
    remaining: u32,
    /// Whole seconds until there is a token; 0 while there are some.
    pub reset: u64,
}

impl Standing {
    pub fn write_to(self, headers: &mut HeaderMap) {
        headers.insert(LIMIT, HeaderValue::from(self.limit));
        headers.insert(REMAINING, HeaderValue::from(self.remaining));
        headers.insert(RESET, HeaderValue::from(self.reset));
    }
}

impl Ingress {
    pub fn new(config: &Config, clock: &Arc<dyn Clock>) -> Self {
        let clock = Monotonic(Arc::clone(clock));
        let bucket = |limit: &RateLimit| -> Bucket {
            Bucket::new(quota(limit), InMemoryState::default(), clock.clone())
        };
        let limits = config.api.rate_limit.clone();
        Self {
            keys: config
                .api
                .keys
                .iter()
                .map(|key| Key {
                    text: key.reveal().to_owned(),
                    digest: Sha256::digest(key.reveal()).into(),
                    post: bucket(&limits.post),
                    get: bucket(&limits.get),
                })
                .collect(),
            sources: config
                .sources
                .iter()
                .filter(|(name, _)| *name != "*")
                .map(|(name, source)| (name.clone(), Gate::of(Some(source), bucket)))
                .collect(),
            catch_all: Gate::of(config.sources.get("*"), |limit| {
                let states = BoundedStates::default();
                Buckets::new(quota(limit), states, clock.clone())
            }),
            next_complaint: AtomicU64::new(0),
            post: limits.post,
            get: limits.get,
            clock,
        }
    }

    /// The configured key that the request carries. All are compared, each in constant time, so
    /// that an answer's time tells nothing about how nearly a guess was right.
    pub fn authenticate(&self, headers: &HeaderMap) -> Option<&Key> {
        let mut values = headers.get_all(API_KEY).iter();
        let (Some(given), None) = (values.next(), values.next()) else {
            return None;
        };
        let given: [u8; 32] = Sha256::digest(given.as_bytes()).into();
        let mut found = None;
        for key in &self.keys {
            if bool::from(key.digest.ct_eq(&given)) {
                found = Some(key);
            }
        }
        found
    }

    /// Takes a token of the key's bucket for `method`.
    pub fn spend(&self, key: &Key, method: &Method) -> Standing {
        let (limit, bucket) = if *method == Method::POST {
            (&self.post, &key.post)
        } else {
            (&self.get, &key.get)
        };
        self.standing(limit, bucket.check())
    }

    /// Takes a token of a source's bucket; none if it has no limit.
    pub fn spend_of_source(&self, source: &str) -> Option<Standing> {
        let (limit, result) = if let Some(gate) = self.sources.get(source) {
            let (limit, bucket) = gate.limit.as_ref()?;
            (limit, bucket.check())
        } else {
            let (limit, buckets) = self.catch_all.limit.as_ref()?;
            (limit, buckets.check_key(&source.to_owned()))
        };
        Some(self.standing(limit, result))
    }

    /// What verifies a source's events, if they have to be.
    pub fn verifier(&self, source: &str) -> Option<&Arc<Verifier>> {
        match self.sources.get(source) {
            Some(gate) => gate.verifier.as_ref(),
            None => self.catch_all.verifier.as_ref(),
        }
    }

    /// Whether to say that a signature didn't verify: now and then.
    pub fn may_complain(&self) -> bool {
        let now = self.clock.now().as_secs();
        let next = self.next_complaint.load(Ordering::Relaxed);
        let later = now + COMPLAIN_EVERY_SECONDS;
        now >= next
            && self
                .next_complaint
                .compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// A bucket that is full again is as good as none.
    pub fn forget_full_buckets(&self) {
        if let Some((_, buckets)) = &self.catch_all.limit {
            buckets.retain_recent();
            buckets.shrink_to_fit();
        }
    }

    fn standing(
        &self,
        limit: &RateLimit,
        result: Result<
            governor::middleware::StateSnapshot,
            governor::NotUntil<std::time::Duration>,
        >,
    ) -> Standing {
        let (passes, remaining, reset) = match result {
            Ok(state) => match state.remaining_burst_capacity() {
                0 => (true, 0, whole_seconds(period(limit))),
                remaining => (true, remaining, 0),
            },
            Err(until) => (
                false,
                0,
                whole_seconds(until.wait_time_from(self.clock.now())),
            ),
        };
        Standing {
            passes,
            limit: limit.burst,
            remaining,
            reset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{FakeClock, Timestamp};
    use crate::config::Secret;
    use crate::http::admission::bounded_buckets::MAX_NAMES;
    use std::time::Duration;

    fn ingress(clock: &Arc<FakeClock>, per_second: f64, burst: u32) -> Ingress {
        let mut config = Config::default();
        config.api.keys = vec![Secret::new("a"), Secret::new("b")];
        config.api.rate_limit.post = RateLimit { per_second, burst };
        let mut any = Source::to(["x"]);
        any.rate_limit = Some(RateLimit { per_second, burst });
        config.sources.insert("*".to_owned(), any);
        let clock: Arc<dyn Clock> = Arc::<FakeClock>::clone(clock);
        Ingress::new(&config, &clock)
    }

    fn headers(keys: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for key in keys {
            headers.append(API_KEY, HeaderValue::from_static(key));
        }
        headers
    }

    #[test]
    fn only_one_known_key_comes_in() {
        let clock = Arc::new(FakeClock::at(Timestamp::from_millis(0)));
        let ingress = ingress(&clock, 1.0, 1);
        let name = |keys: &[&'static str]| {
            ingress
                .authenticate(&headers(keys))
                .map(|key| key.text().to_owned())
        };
        assert_eq!(name(&["b"]), Some("b".to_owned()));
        for keys in [&[][..], &[""], &["c"], &["ab"], &["a", "b"], &["a", "a"]] {
            assert_eq!(name(keys), None, "{keys:?}");
        }
    }

    #[test]
    fn waiting_as_long_as_told_succeeds_and_not_much_less_would() {
        let clock = Arc::new(FakeClock::at(Timestamp::from_millis(0)));
        let ingress = ingress(&clock, 0.1, 2);
        let key = ingress.authenticate(&headers(&["a"])).expect("a known key");
        let spend = || ingress.spend(key, &Method::POST);
        assert_eq!((spend().remaining, spend().remaining), (1, 0));
        let refused = spend();
        assert_eq!((refused.passes, refused.reset), (false, 10));
        clock.advance(Duration::from_secs(9));
        assert!(!spend().passes);
        clock.advance(Duration::from_secs(spend().reset));
        assert!(spend().passes);
        // Another key, and the other group, have buckets of their own.
        let other = ingress.authenticate(&headers(&["b"])).expect("a known key");
        assert!(ingress.spend(other, &Method::POST).passes);
        assert!(ingress.spend(key, &Method::GET).passes);
    }

    #[test]
    fn buckets_of_made_up_sources_are_few_and_forgotten() {
        let clock = Arc::new(FakeClock::at(Timestamp::from_millis(0)));
        let ingress = ingress(&clock, 1.0, 1);
        let held = || {
            ingress
                .catch_all
                .limit
                .as_ref()
                .map(|(_, buckets)| buckets.len())
        };
        let passes = |source: &str| {
            ingress
                .spend_of_source(source)
                .is_some_and(|standing| standing.passes)
        };
        let count = (0..100_000)
            .filter(|number| passes(&format!("s{number}")))
            .count();
        assert_eq!(held(), Some(MAX_NAMES));
        assert_eq!(count, MAX_NAMES + 1, "the others share one bucket");
        assert!(!passes("s0"), "those that have one keep it");
        clock.advance(Duration::from_secs(2));
        ingress.forget_full_buckets();
        assert_eq!(held(), Some(0));
        assert!(passes("s99999"));
    }

    #[test]
    fn a_wrong_signature_is_worth_a_line_a_minute() {
        let clock = Arc::new(FakeClock::at(Timestamp::from_millis(0)));
        let ingress = ingress(&clock, 1.0, 1);
        assert_eq!(
            (ingress.may_complain(), ingress.may_complain()),
            (true, false)
        );
        clock.advance(Duration::from_secs(59));
        assert!(!ingress.may_complain());
        clock.advance(Duration::from_secs(1));
        assert!(ingress.may_complain());
    }
}
