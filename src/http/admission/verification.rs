//! The verification of a source's requests, and the conditions that verified ones must meet.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::header::HeaderMap;
use hyper::http::request::Parts;

use crate::clock::Timestamp;
use crate::config::{Secret, SourcePolicy, SourceVerify, Verify};
use crate::http::admission::addresses::AllowedAddresses;
use crate::http::admission::certificates::Certificates;
use crate::http::admission::handshakes::Handshakes;
use crate::http::admission::learned_secrets::LearnedSecrets;
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
    /// None if no handshake brings the source secrets.
    learned: Option<LearnedKeys>,
    /// Whether the source's own answer has no body. Such a provider wants none of a 401 either:
    /// Xero tests it.
    answers_without_body: bool,
    /// None if the source has no handshakes.
    handshakes: Option<Arc<Handshakes>>,
    counters: VerificationCounters,
    /// When the next rejection may be logged as a warning: seconds of the monotonic clock.
    next_warning: AtomicU64,
}

/// The keys of the secrets that handshakes bring.
struct LearnedKeys {
    /// The source's name.
    source: String,
    /// The scheme that they are secrets of.
    scheme: Verify,
    secrets: Arc<LearnedSecrets>,
}

impl LearnedKeys {
    /// None if no handshake brings the source secrets.
    fn new(name: &str, source: &SourcePolicy, secrets: &Arc<LearnedSecrets>) -> Option<Self> {
        let schemes = source.verify.as_ref().map(SourceVerify::schemes);
        let scheme = schemes?.into_iter().find(|scheme| scheme.is_hmac())?;
        source.learns_secrets().then(|| Self {
            source: name.to_owned(),
            scheme: scheme.clone(),
            secrets: Arc::clone(secrets),
        })
    }

    fn all(&self) -> Vec<Key> {
        let secrets = self.secrets.of(&self.source);
        let keys = secrets.iter().flat_map(|secrets| secrets.iter());
        let keys = keys.filter_map(|secret| self.scheme.hmac_key(secret));
        keys.map(Key::from).collect()
    }
}

impl SourceVerification {
    /// `label` is `*` for the catch-all.
    pub(super) fn new(
        label: &str,
        source: &SourcePolicy,
        addresses: Option<AllowedAddresses>,
        certificates: &Arc<Certificates>,
        learned: &Arc<LearnedSecrets>,
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
            learned: LearnedKeys::new(label, source, learned),
            answers_without_body: source
                .answer
                .as_ref()
                .is_some_and(|answer| answer.body.is_empty()),
            handshakes: Handshakes::new(source),
            counters: metrics.verification_counters(label),
            next_warning: AtomicU64::new(0),
        }
    }

    /// Goes on with the rate of warnings of the verification before a reload.
    pub(super) fn take_over(&self, before: &Self) {
        let next = before.next_warning.load(Ordering::Relaxed);
        self.next_warning.store(next, Ordering::Relaxed);
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

    /// Whether a request that isn't verified is answered without a body.
    pub fn answers_without_body(&self) -> bool {
        self.answers_without_body
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
                let learned = self.learned.as_ref().map(LearnedKeys::all);
                verifier.verify(&self.view(head, body), now, &learned.unwrap_or_default())
            }
            None => Ok(Verified::default()),
        }
    }

    /// The first condition of verified requests that a request doesn't meet.
    pub fn unmet_requirement(&self, head: &Parts, body: &[u8]) -> Option<String> {
        self.require.first_mismatch(&self.view(head, body))
    }

    /// Whether a secret can be the source's: it is in the form that the scheme expects.
    pub fn can_learn(&self, secret: &Secret) -> bool {
        let learned = self.learned.as_ref();
        learned.is_some_and(|learned| learned.scheme.hmac_key(secret).is_some())
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
