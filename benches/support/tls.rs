//! A certificate authority, and the TLS of hosts that it signs for.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, StoresServerSessions};
use tokio_rustls::TlsAcceptor;

use super::host;
use super::servers::Acceptors;

/// The sessions that a server remembers: more than a benchmark has connections.
const SESSIONS: usize = 65_536;

/// A certificate authority.
pub struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// Whether a server lets its clients resume a session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Resumption {
    Offered,
    None,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    /// Writes its certificate to a file for `ca_file`.
    pub fn write(&self, directory: &Path) -> PathBuf {
        let path = directory.join("authority.pem");
        std::fs::write(&path, self.certificate.pem()).expect("room");
        path
    }

    /// The TLS 1.3 of the first `count` hosts, each with a certificate of its own.
    pub fn hosts(&self, count: usize, resumption: Resumption) -> Acceptors {
        let key = KeyPair::generate().expect("a key");
        let sessions: Arc<dyn StoresServerSessions> = match resumption {
            Resumption::Offered => ServerSessionMemoryCache::new(SESSIONS),
            Resumption::None => Arc::new(NoServerSessionStorage {}),
        };
        let hosts = (0..count).map(host);
        let acceptors = hosts.map(|host| {
            let mut server = self.server(host, &key);
            server.session_storage = Arc::clone(&sessions);
            if resumption == Resumption::None {
                server.send_tls13_tickets = 0;
            }
            (IpAddr::V4(host), TlsAcceptor::from(Arc::new(server)))
        });
        acceptors.collect()
    }

    fn server(&self, host: Ipv4Addr, key: &KeyPair) -> ServerConfig {
        let params = CertificateParams::new(vec![host.to_string()]).expect("an address");
        let certificate = params.signed_by(key, &self.issuer).expect("a certificate");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring has ciphers for it")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate and its key")
    }
}
