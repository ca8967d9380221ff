//! The TLS of one listener.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::ServerConfig;
use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;

use crate::http::server::tls::identity::{Identity, challenge, is_challenge, without_certificate};
use crate::ops::metrics::{HandshakeCounters, HandshakeResult, Metrics};

/// The TLS of one listener; clones share it. A certificate is replaced while connections go on:
/// those that are open keep the one of their handshake.
#[derive(Clone)]
pub(crate) struct ListenerTls(Arc<Inner>);

struct Inner {
    /// None until there is a first certificate.
    identity: ArcSwapOption<Identity>,
    without_certificate: Arc<ServerConfig>,
    /// The challenges of an order that is under way, by name: as many as a certificate has names.
    challenges: ArcSwap<HashMap<String, Arc<ServerConfig>>>,
    counters: HandshakeCounters,
}

impl ListenerTls {
    /// The TLS of `server` or `admin`, the listener's label in the metrics.
    pub fn new(listener: &'static str, identity: Option<Identity>, metrics: &Metrics) -> Self {
        Self(Arc::new(Inner {
            identity: ArcSwapOption::from_pointee(identity),
            without_certificate: without_certificate(),
            challenges: ArcSwap::default(),
            counters: metrics.handshake_counters(listener),
        }))
    }

    /// The certificate in use.
    pub fn identity(&self) -> Option<Arc<Identity>> {
        self.0.identity.load_full()
    }

    /// Presents another certificate from the next handshake on.
    pub fn replace(&self, identity: Identity) {
        self.0.identity.store(Some(Arc::new(identity)));
    }

    pub(super) fn counters(&self) -> &HandshakeCounters {
        &self.0.counters
    }

    /// Answers an authority that asks for this name with a certificate of the challenge.
    pub fn show_challenge(&self, name: &str, pair: Arc<CertifiedKey>) {
        let settings = challenge(pair);
        self.0.challenges.rcu(|shown| {
            let mut shown = HashMap::clone(shown);
            shown.insert(name.to_owned(), Arc::clone(&settings));
            shown
        });
    }

    /// Answers no challenge any more.
    pub fn forget_challenges(&self) {
        self.0.challenges.store(Arc::default());
    }

    /// The settings of a handshake that begins so, and its result if it goes well.
    pub(super) fn settings(&self, hello: &ClientHello<'_>) -> (Arc<ServerConfig>, HandshakeResult) {
        if is_challenge(hello)
            && let Some(name) = hello.server_name()
            && let Some(settings) = self.0.challenges.load().get(name)
        {
            return (Arc::clone(settings), HandshakeResult::Challenge);
        }
        if let Some(identity) = &*self.0.identity.load() {
            return (Arc::clone(&identity.config), HandshakeResult::Ok);
        }
        let settings = Arc::clone(&self.0.without_certificate);
        (settings, HandshakeResult::NoCertificate)
    }
}
