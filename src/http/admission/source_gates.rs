//! The gates of webhook sources: what an event must pass before it is accepted.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::clock::Clock as _;

use crate::clock::Clock;
use crate::config::{RateLimit, Resolved, SourcePolicy};
use crate::http::admission::rate_limits::{KeyedTokenBuckets, RateLimitStatus, TokenBucket};
use crate::http::admission::signatures::{self, Verifier};
use crate::limiter::Monotonic;

/// How often a rejected signature is logged. Anybody can send one, and must not fill the disk.
const WARN_EVERY_SECONDS: u64 = 60;

/// The gates of all sources.
pub(in crate::http) struct SourceGates {
    declared: HashMap<String, SourceGate<TokenBucket>>,
    /// For sources that are not declared, each with a bucket of its own.
    catch_all: SourceGate<KeyedTokenBuckets>,
    /// When the next rejected signature may be logged: seconds of the monotonic clock.
    next_warning: AtomicU64,
    clock: Monotonic,
}

/// The rate limit and the signature check of a source, if it has them.
struct SourceGate<B> {
    buckets: Option<B>,
    verifier: Option<Arc<dyn Verifier>>,
}

impl<B> SourceGate<B> {
    fn new(source: Option<&SourcePolicy>, buckets: impl FnOnce(RateLimit) -> B) -> Self {
        let limit = source.and_then(|source| source.rate_limit);
        let verify = source.and_then(|source| source.verify.as_ref());
        Self {
            buckets: limit.map(buckets),
            verifier: verify.map(signatures::verifier),
        }
    }
}

impl SourceGates {
    pub fn new(config: &Resolved, clock: &Arc<dyn Clock>) -> Self {
        let clock = Monotonic(Arc::clone(clock));
        let declared = config.sources.iter().filter(|(name, _)| *name != "*");
        let declared = declared.map(|(name, source)| {
            let bucket = |limit| TokenBucket::new(limit, clock.clone());
            (name.clone(), SourceGate::new(Some(source.as_ref()), bucket))
        });
        Self {
            declared: declared.collect(),
            catch_all: SourceGate::new(config.sources.get("*").map(AsRef::as_ref), |limit| {
                KeyedTokenBuckets::new(limit, clock.clone())
            }),
            next_warning: AtomicU64::new(0),
            clock,
        }
    }

    /// Takes a token of a source's bucket. `None` if the source has no rate limit.
    pub fn take_token(&self, source: &str) -> Option<RateLimitStatus> {
        if let Some(gate) = self.declared.get(source) {
            return gate.buckets.as_ref().map(TokenBucket::take);
        }
        let buckets = self.catch_all.buckets.as_ref();
        buckets.map(|buckets| buckets.take(source))
    }

    /// The verifier of a source's events. `None` if they are not verified.
    pub fn verifier(&self, source: &str) -> Option<&Arc<dyn Verifier>> {
        match self.declared.get(source) {
            Some(gate) => gate.verifier.as_ref(),
            None => self.catch_all.verifier.as_ref(),
        }
    }

    /// Whether a rejected signature is logged now: once in [`WARN_EVERY_SECONDS`].
    pub fn may_warn(&self) -> bool {
        let now = self.clock.now().as_secs();
        let next = self.next_warning.load(Ordering::Relaxed);
        let later = now + WARN_EVERY_SECONDS;
        now >= next
            && self
                .next_warning
                .compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Frees the buckets of undeclared sources that are full again.
    pub fn forget_full_buckets(&self) {
        if let Some(buckets) = &self.catch_all.buckets {
            buckets.forget_full();
        }
    }
}

#[cfg(test)]
mod tests;
