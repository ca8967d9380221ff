//! Token buckets, and the response headers that report them.

use std::time::Duration;

use governor::clock::Clock as _;
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use governor::state::{InMemoryState, NotKeyed};
use governor::{NotUntil, RateLimiter};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::config::RateLimit;
use crate::http::admission::bounded_buckets::BoundedStates;
use crate::limiter::{Monotonic, period, quota, whole_seconds};

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// A token bucket.
pub(super) struct TokenBucket {
    limit: RateLimit,
    limiter: RateLimiter<NotKeyed, InMemoryState, Monotonic, StateInformationMiddleware>,
}

/// A token bucket for each name, of a bounded number of names.
pub(super) struct KeyedTokenBuckets {
    limit: RateLimit,
    limiter: RateLimiter<String, BoundedStates, Monotonic, StateInformationMiddleware>,
}

/// A token bucket as a request found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct RateLimitStatus {
    /// Whether there was a token, which was taken.
    pub is_allowed: bool,
    limit: u32,
    pub(super) remaining: u32,
    /// Whole seconds until there is a token; 0 while there are some.
    pub reset: u64,
}

impl TokenBucket {
    pub fn new(limit: RateLimit, clock: Monotonic) -> Self {
        let limiter = RateLimiter::new(quota(&limit), InMemoryState::default(), clock);
        Self { limit, limiter }
    }

    /// Takes a token if there is one.
    pub fn take(&self) -> RateLimitStatus {
        RateLimitStatus::new(&self.limit, self.limiter.check(), self.limiter.clock())
    }
}

impl KeyedTokenBuckets {
    pub fn new(limit: RateLimit, clock: Monotonic) -> Self {
        let limiter = RateLimiter::new(quota(&limit), BoundedStates::default(), clock);
        Self { limit, limiter }
    }

    /// Takes a token of the bucket of this name if there is one.
    pub fn take(&self, name: &str) -> RateLimitStatus {
        let result = self.limiter.check_key(&name.to_owned());
        RateLimitStatus::new(&self.limit, result, self.limiter.clock())
    }

    /// Frees the buckets that are full again: a new bucket of the name would be the same.
    pub fn forget_full(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.limiter.len()
    }
}

impl RateLimitStatus {
    fn new(
        limit: &RateLimit,
        result: Result<StateSnapshot, NotUntil<Duration>>,
        clock: &Monotonic,
    ) -> Self {
        let (is_allowed, remaining, reset) = match result {
            Ok(state) => match state.remaining_burst_capacity() {
                0 => (true, 0, whole_seconds(period(limit))),
                remaining => (true, remaining, 0),
            },
            Err(until) => (false, 0, whole_seconds(until.wait_time_from(clock.now()))),
        };
        Self {
            is_allowed,
            limit: limit.burst,
            remaining,
            reset,
        }
    }

    /// Writes the `RateLimit-…` headers.
    pub fn write_to(self, headers: &mut HeaderMap) {
        headers.insert(LIMIT, HeaderValue::from(self.limit));
        headers.insert(REMAINING, HeaderValue::from(self.remaining));
        headers.insert(RESET, HeaderValue::from(self.reset));
    }
}
