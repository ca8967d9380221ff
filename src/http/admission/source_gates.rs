//! The gates of webhook sources: what an event must pass before it is accepted.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::clock::Clock as _;
use ipnet::IpNet;

use crate::clock::Clock;
use crate::config::{RateLimit, Resolved, SourcePolicy};
use crate::http::admission::addresses::AllowedAddresses;
use crate::http::admission::certificates::Certificates;
use crate::http::admission::handshakes::UNSIGNED_RATE;
use crate::http::admission::learned_secrets::LearnedSecrets;
use crate::http::admission::rate_limits::{KeyedTokenBuckets, RateLimitStatus, TokenBucket};
use crate::http::admission::verification::SourceVerification;
use crate::limiter::Monotonic;
use crate::model::FetchCertificate;
use crate::ops::metrics::Metrics;

/// Duplicates with other bytes that are logged in a minute. Anybody can send one.
const MAX_DUPLICATES_LOGGED: u64 = 10;

/// The gates of all sources.
pub(in crate::http) struct SourceGates {
    declared: HashMap<String, SourceGate<TokenBucket>>,
    /// For sources that are not declared, each with a bucket of its own. None if there is no
    /// catch-all source.
    catch_all: Option<SourceGate<KeyedTokenBuckets>>,
    certificates: Arc<Certificates>,
    /// Duplicates with other bytes that were logged in the minute that ends at `next_duplicates`,
    /// in seconds of the monotonic clock.
    duplicates: AtomicU64,
    next_duplicates: AtomicU64,
    clock: Monotonic,
}

/// The gates of one source.
struct SourceGate<B> {
    /// None if the source has no rate limit.
    buckets: Option<B>,
    verification: Arc<SourceVerification>,
    /// For unsigned handshakes.
    handshake_buckets: B,
}

/// The parts that the gates of all sources share.
struct Shared<'a> {
    trusted_proxies: Arc<[IpNet]>,
    certificates: Arc<Certificates>,
    learned: &'a Arc<LearnedSecrets>,
    metrics: &'a Metrics,
}

impl<B> SourceGate<B> {
    fn new(
        label: &str,
        source: &SourcePolicy,
        shared: &Shared<'_>,
        buckets: impl Fn(RateLimit) -> B,
    ) -> Self {
        let addresses = AllowedAddresses::new(&source.allow_ips, &shared.trusted_proxies);
        let Shared {
            certificates,
            learned,
            metrics,
            ..
        } = shared;
        if source.routes.is_some() {
            metrics.unrouted(label, 0);
        }
        let verification =
            SourceVerification::new(label, source, addresses, certificates, learned, metrics);
        Self {
            handshake_buckets: buckets(UNSIGNED_RATE),
            buckets: source.rate_limit.map(buckets),
            verification: Arc::new(verification),
        }
    }
}

impl SourceGates {
    pub fn new(
        config: &Resolved,
        clock: &Arc<dyn Clock>,
        metrics: &Metrics,
        fetch: FetchCertificate,
        learned: &Arc<LearnedSecrets>,
    ) -> Self {
        let certificates = Arc::new(Certificates::new(fetch, Arc::clone(clock)));
        let shared = Shared {
            trusted_proxies: config.server.trusted_proxies.as_slice().into(),
            certificates: Arc::clone(&certificates),
            learned,
            metrics,
        };
        let clock = Monotonic(Arc::clone(clock));
        let declared = config.sources.iter().filter(|(name, _)| *name != "*");
        let declared = declared.map(|(name, source)| {
            let bucket = |limit| TokenBucket::new(limit, clock.clone());
            (name.clone(), SourceGate::new(name, source, &shared, bucket))
        });
        let buckets = |limit| KeyedTokenBuckets::new(limit, clock.clone());
        let catch_all = config.sources.get("*");
        Self {
            declared: declared.collect(),
            catch_all: catch_all.map(|source| SourceGate::new("*", source, &shared, buckets)),
            certificates,
            duplicates: AtomicU64::new(0),
            next_duplicates: AtomicU64::new(0),
            clock,
        }
    }

    /// Takes a token of a source's bucket. `None` if the source has no rate limit.
    pub fn take_token(&self, source: &str) -> Option<RateLimitStatus> {
        if let Some(gate) = self.declared.get(source) {
            return gate.buckets.as_ref().map(TokenBucket::take);
        }
        let buckets = self.catch_all.as_ref()?.buckets.as_ref();
        buckets.map(|buckets| buckets.take(source))
    }

    /// Takes a token of a source's bucket of unsigned handshakes.
    pub fn take_handshake_token(&self, source: &str) -> Option<RateLimitStatus> {
        match self.declared.get(source) {
            Some(gate) => Some(gate.handshake_buckets.take()),
            None => Some(self.catch_all.as_ref()?.handshake_buckets.take(source)),
        }
    }

    /// The verification of a source's requests. `None` if there is no such source.
    pub fn verification(&self, source: &str) -> Option<&Arc<SourceVerification>> {
        match self.declared.get(source) {
            Some(gate) => Some(&gate.verification),
            None => self.catch_all.as_ref().map(|gate| &gate.verification),
        }
    }

    /// Seconds of the monotonic clock, for the rates of warnings.
    pub fn seconds(&self) -> u64 {
        self.clock.now().as_secs()
    }

    /// Fetches a provider's certificate, so that the next verification has it.
    pub async fn fetch_certificate(&self, url: String) {
        let certificates = Arc::clone(&self.certificates);
        // An error means that the work panicked, and the certificate stays unknown.
        let _ = tokio::task::spawn_blocking(move || certificates.fetch(&url)).await;
    }

    /// Whether a duplicate with other bytes is logged now: ten a minute, of all sources together.
    pub fn may_warn_of_duplicate(&self) -> bool {
        let now = self.seconds();
        if now >= self.next_duplicates.load(Ordering::Relaxed) {
            self.next_duplicates.store(now + 60, Ordering::Relaxed);
            self.duplicates.store(0, Ordering::Relaxed);
        }
        self.duplicates.fetch_add(1, Ordering::Relaxed) < MAX_DUPLICATES_LOGGED
    }

    /// Frees the buckets of undeclared sources that are full again.
    pub fn forget_full_buckets(&self) {
        let Some(gate) = &self.catch_all else { return };
        gate.handshake_buckets.forget_full();
        if let Some(buckets) = &gate.buckets {
            buckets.forget_full();
        }
    }
}

#[cfg(test)]
mod tests;
