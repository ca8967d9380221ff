//! The TLS of one listener.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;

use crate::http::server::tls::identity::{Identity, without_certificate};
use crate::ops::metrics::{HandshakeCounters, Metrics};

/// The TLS of one listener; clones share it. A certificate is replaced while connections go on:
/// those that are open keep the one of their handshake.
#[derive(Clone)]
pub(crate) struct ListenerTls(Arc<Inner>);

struct Inner {
    /// None until there is a first certificate.
    identity: ArcSwapOption<Identity>,
    without_certificate: Arc<ServerConfig>,
    counters: HandshakeCounters,
}

impl ListenerTls {
    /// The TLS of `server` or `admin`, the listener's label in the metrics.
    pub fn new(listener: &'static str, identity: Option<Identity>, metrics: &Metrics) -> Self {
        Self(Arc::new(Inner {
            identity: ArcSwapOption::from_pointee(identity),
            without_certificate: without_certificate(),
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

    /// The settings of a handshake that begins now; whether there is a certificate.
    pub(super) fn settings(&self) -> (Arc<ServerConfig>, bool) {
        match &*self.0.identity.load() {
            Some(identity) => (Arc::clone(&identity.config), true),
            None => (Arc::clone(&self.0.without_certificate), false),
        }
    }
}
