//! The verification of a source's requests, and the conditions that verified ones must meet.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use hyper::header::HeaderMap;
use hyper::http::request::Parts;

use crate::clock::Timestamp;
use crate::config::SourcePolicy;
use crate::http::admission::addresses::AllowedAddresses;
use crate::http::admission::certificates::Certificates;
use crate::http::admission::handshakes::Handshakes;
use crate::http::admission::signatures::{self, Key, Rejection, Verified, Verifier};
use crate::model::request::{Conditions, RequestView};
use crate::ops::metrics::{Metrics, VerificationCounters, VerificationResult};

/// How often a source's rejected requests are logged as a warning. Anybody can send one, and must
/// not fill the disk.
const WARN_EVERY_SECONDS: u64 = 60;

/// Verifies the requests of one source, or of all that the catch-all stands for.
pub(in crate::http) struct SourceVerification {
    /// The source's label: its name, or `*` for the catch-all.
    label: String,
    /// None if every address may send.
    addresses: Option<AllowedAddresses>,
    verifier: Option<Box<dyn Verifier>>,
    /// The conditions of verified requests.
    require: Conditions,
    public_url: Option<String>,
    params: BTreeMap<String, String>,
    /// Keys that a handshake gave the source.
    learned: RwLock<Arc<[Key]>>,
    /// None if the source has no handshakes.
    handshakes: Option<Arc<Handshakes>>,
    counters: VerificationCounters,
    /// When the next rejection may be logged as a warning: seconds of the monotonic clock.
    next_warning: AtomicU64,
}

impl SourceVerification {
    /// `label` is `*` for the catch-all.
    pub(super) fn new(
        label: &str,
        source: &SourcePolicy,
        addresses: Option<AllowedAddresses>,
        certificates: &Arc<Certificates>,
        metrics: &Metrics,
    ) -> Self {
        let verify = source.verify.as_ref();
        Self {
            label: label.to_owned(),
            addresses,
            verifier: verify.map(|settings| signatures::verifier(settings, certificates)),
            require: source.require.clone(),
            public_url: source.public_url.clone(),
            params: source.params.clone(),
            learned: RwLock::new(Arc::from([])),
            handshakes: Handshakes::new(source),
            counters: metrics.verification_counters(label),
            next_warning: AtomicU64::new(0),
        }
    }

    /// The source's label in logs and metrics.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether a request's sender may send. `peer` is the other end of its connection.
    pub fn allows(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        let addresses = self.addresses.as_ref();
        addresses.is_none_or(|addresses| addresses.allow(peer, headers))
    }

    /// The handshakes of the source, if it has some.
    pub fn handshakes(&self) -> Option<&Arc<Handshakes>> {
        self.handshakes.as_ref()
    }

    /// Whether requests are verified.
    pub fn has_verifier(&self) -> bool {
        self.verifier.is_some()
    }

    /// A request as templates and conditions see it.
    pub fn view<'a>(&'a self, head: &'a Parts, body: &'a [u8]) -> RequestView<'a> {
        RequestView {
            method: head.method.as_str(),
            path: head.uri.path(),
            query: head.uri.query(),
            public_url: self.public_url.as_deref(),
            headers: &head.headers,
            body,
            params: &self.params,
        }
    }

    /// Checks what doesn't depend on the body. A source without a scheme accepts every request.
    pub fn check_head(&self, head: &Parts, now: Timestamp) -> Result<(), Rejection> {
        match &self.verifier {
            Some(verifier) => verifier.check_head(&self.view(head, &[]), now),
            None => Ok(()),
        }
    }

    /// Verifies a request. A source without a scheme accepts every request.
    pub fn verify(&self, head: &Parts, body: &[u8], now: Timestamp) -> Result<Verified, Rejection> {
        match &self.verifier {
            Some(verifier) => {
                let learned = self.learned();
                verifier.verify(&self.view(head, body), now, &learned)
            }
            None => Ok(Verified::default()),
        }
    }

    /// The first condition of verified requests that a request doesn't meet.
    pub fn unmet_requirement(&self, head: &Parts, body: &[u8]) -> Option<String> {
        self.require.first_mismatch(&self.view(head, body))
    }

    /// Replaces the keys that handshakes gave the source.
    #[allow(dead_code, reason = "for handshakes")]
    pub fn learn(&self, keys: Vec<Key>) {
        *self.learned.write().expect(NO_PANIC) = keys.into();
    }

    fn learned(&self) -> Arc<[Key]> {
        Arc::clone(&self.learned.read().expect(NO_PANIC))
    }

    /// Counts a verified request.
    pub fn count_verified(&self) {
        if self.has_verifier() {
            self.counters.count(VerificationResult::Ok);
        }
    }

    /// Counts a rejection. Returns whether it is logged as a warning, at the given second of the
    /// monotonic clock.
    pub fn count_rejection(&self, rejection: &Rejection, now: u64) -> bool {
        self.counters.count(rejection.result());
        self.may_warn(now)
    }

    /// Whether a warning about the source is logged now: once in [`WARN_EVERY_SECONDS`].
    pub fn may_warn(&self, now: u64) -> bool {
        let next = self.next_warning.load(Ordering::Relaxed);
        let later = now + WARN_EVERY_SECONDS;
        now >= next
            && self
                .next_warning
                .compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

const NO_PANIC: &str = "nobody panics while holding this lock";
