//! The certificate that a listener presents, with rustls's settings.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::tls::{Facts, facts};

/// The one protocol that relay's listeners speak (ALPN). A client that offers others alone is
/// refused by the handshake.
const HTTP_1_1: &[u8] = b"http/1.1";
/// The protocol of an authority that checks a name (RFC 8737, 6.2).
const ACME_TLS_1: &[u8] = b"acme-tls/1";

/// A certificate with its chain and its key, ready for handshakes.
pub(crate) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    pub(super) config: Arc<ServerConfig>,
    /// The issuer and the dates of the certificate itself.
    pub facts: Facts,
}

impl Identity {
    /// None if the certificate can't be read.
    pub fn new(pair: Arc<CertifiedKey>) -> Option<Self> {
        Some(Self {
            chain: pair.cert.clone(),
            facts: facts(pair.cert.first()?)?,
            config: server_config(Arc::new(SingleCertAndKey::from(pair)), HTTP_1_1),
        })
    }

    /// The certificate itself, without its chain.
    pub fn certificate(&self) -> &[u8] {
        self.chain.first().map_or(&[], |certificate| certificate)
    }

    /// Whether both present the same certificates. Then their keys are the same, too: a pair was
    /// checked for that.
    pub fn is_same(&self, other: &Self) -> bool {
        self.chain == other.chain
    }
}

/// The settings of a listener that has no certificate yet: each handshake is refused by an alert.
pub(super) fn without_certificate() -> Arc<ServerConfig> {
    server_config(Arc::new(NoCertificate), HTTP_1_1)
}

/// The settings that answer an authority's check.
pub(super) fn challenge(pair: Arc<CertifiedKey>) -> Arc<ServerConfig> {
    server_config(Arc::new(SingleCertAndKey::from(pair)), ACME_TLS_1)
}

/// Whether a client is an authority that checks a name: it offers that protocol and no other.
pub(super) fn is_challenge(hello: &ClientHello<'_>) -> bool {
    let mut protocols = hello.alpn().into_iter().flatten();
    protocols.next() == Some(ACME_TLS_1) && protocols.next().is_none()
}

/// TLS 1.2 and 1.3, no client certificates, no early data: rustls's defaults. Sessions are resumed
/// from a cache of 256; a new certificate begins a new one.
fn server_config(certificate: Arc<dyn ResolvesServerCert>, protocol: &[u8]) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for both versions")
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(config)
}

#[derive(Debug)]
struct NoCertificate;

impl ResolvesServerCert for NoCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}
