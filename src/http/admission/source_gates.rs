//! The gates of webhook sources: what an event must pass before it is accepted.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::clock::Clock as _;
use ipnet::IpNet;

use crate::clock::Clock;
use crate::config::{Resolved, SourcePolicy};
use crate::http::admission::addresses::AllowedAddresses;
use crate::http::admission::certificates::Certificates;
use crate::http::admission::handshakes::UNSIGNED_RATE;
use crate::http::admission::learned_secrets::LearnedSecrets;
use crate::http::admission::rate_limits::{
    Buckets, KeyedTokenBuckets, RateLimitStatus, TokenBucket,
};
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
    learned: Arc<LearnedSecrets>,
    duplicates: Arc<LoggedDuplicates>,
    clock: Monotonic,
}

/// Duplicates with other bytes that were logged in a minute.
#[derive(Default)]
struct LoggedDuplicates {
    count: AtomicU64,
    /// The end of the minute, in seconds of the monotonic clock.
    until: AtomicU64,
}

/// The gates of one source.
struct SourceGate<B> {
    /// None if the source has no rate limit.
    buckets: Option<Arc<B>>,
    verification: Arc<SourceVerification>,
    /// For unsigned handshakes.
    handshake_buckets: Arc<B>,
}

/// The parts that the gates of all sources share.
struct Shared<'a> {
    trusted_proxies: Arc<[IpNet]>,
    certificates: Arc<Certificates>,
    learned: &'a Arc<LearnedSecrets>,
    clock: Monotonic,
    metrics: &'a Metrics,
}

impl<B: Buckets> SourceGate<B> {
    /// `before` is the gate of the configuration before: its token buckets go on.
    fn new(label: &str, source: &SourcePolicy, shared: &Shared<'_>, before: Option<&Self>) -> Self {
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
        if let Some(before) = before {
            verification.take_over(&before.verification);
        }
        let fresh = |limit| Arc::new(B::new(limit, shared.clock.clone()));
        let buckets = source.rate_limit.map(|limit| {
            let known = before.and_then(|before| before.buckets.as_ref());
            known.map_or_else(|| fresh(limit), |known| known.with_limit(limit))
        });
        let handshake_buckets = before.map(|before| Arc::clone(&before.handshake_buckets));
        Self {
            handshake_buckets: handshake_buckets.unwrap_or_else(|| fresh(UNSIGNED_RATE)),
            buckets,
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
        let none = Self {
            declared: HashMap::new(),
            catch_all: None,
            certificates: Arc::new(Certificates::new(fetch, Arc::clone(clock))),
            learned: Arc::clone(learned),
            duplicates: Arc::default(),
            clock: Monotonic(Arc::clone(clock)),
        };
        none.reloaded(config, metrics)
    }

    /// The gates of a reload. Token buckets, fetched certificates and learned secrets go on.
    pub fn reloaded(&self, config: &Resolved, metrics: &Metrics) -> Self {
        let shared = Shared {
            trusted_proxies: config.server.trusted_proxies.as_slice().into(),
            certificates: Arc::clone(&self.certificates),
            learned: &self.learned,
            clock: self.clock.clone(),
            metrics,
        };
        let declared = config.sources.iter().filter(|(name, _)| *name != "*");
        let declared = declared.map(|(name, source)| {
            let before = self.declared.get(name);
            let gate = SourceGate::new(name, source, &shared, before);
            (name.clone(), gate)
        });
        let before = self.catch_all.as_ref();
        let catch_all = config.sources.get("*");
        let catch_all = catch_all.map(|source| SourceGate::new("*", source, &shared, before));
        Self {
            declared: declared.collect(),
            catch_all,
            certificates: Arc::clone(&self.certificates),
            learned: Arc::clone(&self.learned),
            duplicates: Arc::clone(&self.duplicates),
            clock: self.clock.clone(),
        }
    }

    /// Takes a token of a source's bucket. `None` if the source has no rate limit.
    pub fn take_token(&self, source: &str) -> Option<RateLimitStatus> {
        if let Some(gate) = self.declared.get(source) {
            return gate.buckets.as_ref().map(|bucket| bucket.take());
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

    /// Fetches a provider's certificate for a request to the source of this label, so that the
    /// next verification has it. False if that wasn't tried.
    pub async fn fetch_certificate(&self, label: &str, url: String) -> bool {
        if !self.certificates.take_fetch(label, &url) {
            return false;
        }
        let certificates = Arc::clone(&self.certificates);
        // An error means that the work panicked, and the certificate stays unknown.
        let _ = tokio::task::spawn_blocking(move || certificates.fetch(&url)).await;
        true
    }

    /// Whether a duplicate with other bytes is logged now: ten a minute, of all sources together.
    pub fn may_warn_of_duplicate(&self) -> bool {
        let (now, logged) = (self.seconds(), &self.duplicates);
        if now >= logged.until.load(Ordering::Relaxed) {
            logged.until.store(now + 60, Ordering::Relaxed);
            logged.count.store(0, Ordering::Relaxed);
        }
        logged.count.fetch_add(1, Ordering::Relaxed) < MAX_DUPLICATES_LOGGED
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
