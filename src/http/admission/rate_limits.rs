//! Token buckets, and the response headers that report them.

use std::num::NonZeroU32;
use std::sync::Arc;
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
    /// Those of the limiter.
    states: BoundedStates,
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

/// Token buckets under one limit.
pub(super) trait Buckets: Sized {
    /// Full ones.
    fn new(limit: RateLimit, clock: Monotonic) -> Self;

    /// The buckets under a limit of a reload: the same ones, or ones at the same level if the limit
    /// is another.
    fn with_limit(self: &Arc<Self>, limit: RateLimit) -> Arc<Self>;
}

impl Buckets for TokenBucket {
    fn new(limit: RateLimit, clock: Monotonic) -> Self {
        let limiter = RateLimiter::new(quota(&limit), InMemoryState::default(), clock);
        Self { limit, limiter }
    }

    fn with_limit(self: &Arc<Self>, limit: RateLimit) -> Arc<Self> {
        if self.limit == limit {
            return Arc::clone(self);
        }
        let new = Self::new(limit, self.limiter.clock().clone());
        // Asking takes a token of a bucket that nobody asks again, but for requests in flight.
        let left = self.take().left();
        if let Some(spent) = spent(left, self.limit, limit) {
            let _ = new.limiter.check_n(spent);
        }
        Arc::new(new)
    }
}

impl TokenBucket {
    /// Takes a token if there is one.
    pub fn take(&self) -> RateLimitStatus {
        RateLimitStatus::new(&self.limit, self.limiter.check(), self.limiter.clock())
    }
}

impl Buckets for KeyedTokenBuckets {
    fn new(limit: RateLimit, clock: Monotonic) -> Self {
        let states = BoundedStates::default();
        let limiter = RateLimiter::new(quota(&limit), states.clone(), clock);
        Self {
            limit,
            states,
            limiter,
        }
    }

    fn with_limit(self: &Arc<Self>, limit: RateLimit) -> Arc<Self> {
        if self.limit == limit {
            return Arc::clone(self);
        }
        let new = Self::new(limit, self.limiter.clock().clone());
        for name in self.states.names() {
            let left = self.take(&name).left();
            if let Some(spent) = spent(left, self.limit, limit) {
                let _ = new.limiter.check_key_n(&name, spent);
            }
        }
        Arc::new(new)
    }
}

impl KeyedTokenBuckets {
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

/// The tokens of a new limit's bucket that are spent if `left` are left in the old one's. None if
/// the bucket is full.
fn spent(left: u32, old: RateLimit, new: RateLimit) -> Option<NonZeroU32> {
    let spent = u64::from(old.burst.saturating_sub(left)) * u64::from(new.burst);
    let spent = spent.div_ceil(u64::from(old.burst.max(1)));
    NonZeroU32::new(u32::try_from(spent).unwrap_or(new.burst))
}

impl RateLimitStatus {
    /// The tokens that were there before one was taken.
    fn left(self) -> u32 {
        self.remaining + u32::from(self.is_allowed)
    }

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
