//! The files of a destination's TLS: the certificates to trust, relay's certificate and its key.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, Error, InconsistentKeys};

use crate::config::{ClientCertificate, NetworkPolicy};
use crate::delivery::levels::http::tls::certificate::facts;
use crate::delivery::levels::http::tls::verifier::{Roots, client};

/// A key of a destination's section, and the problem of its value.
type Problem = (&'static str, String);

/// A client for the TLS of a destination.
pub(in crate::delivery::levels::http) fn client_of(
    network: &NetworkPolicy,
) -> Result<Arc<ClientConfig>, Problem> {
    let of_authorities = |problem: String| match &network.ca_file {
        Some(path) => of_file("ca_file", path, &problem),
        None => ("url", problem),
    };
    let roots = match &network.ca_file {
        None => Roots::Public {
            may_have_file: true,
        },
        Some(path) => Roots::File(certificates(path).map_err(of_authorities)?),
    };
    let identity = network.client_certificate.as_ref().map(identity);
    client(roots, identity.transpose()?).map_err(of_authorities)
}

/// A client certificate, with the key that belongs to it.
fn identity(files: &ClientCertificate) -> Result<Arc<CertifiedKey>, Problem> {
    let of_certificate = |problem: &str| of_file("client_cert_file", &files.certificate, problem);
    let of_key = |problem: &str| of_file("client_key_file", &files.key, problem);
    let chain = certificates(&files.certificate).map_err(|problem| of_certificate(&problem))?;
    let private = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| match error {
        PemError::NoItemsFound => of_key("expected a PEM file of a private key (PKCS#8 or SEC1)"),
        error => of_key(&error.to_string()),
    })?;
    let pair = CertifiedKey::from_der(chain, private, &ring::default_provider());
    pair.map(Arc::new).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => of_key(&format!(
            "expected the private key of client_cert_file (\"{}\"): it belongs to another \
             certificate",
            files.certificate.display()
        )),
        Error::InvalidCertificate(_) => of_certificate("expected a certificate that can be read"),
        error => of_key(&format!(
            "expected an RSA, ECDSA (P-256 or P-384) or Ed25519 key: {error}"
        )),
    })
}

/// The certificates of a PEM file.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        if facts(&certificate).is_none() {
            return Err("expected certificates: one of them can't be read".to_owned());
        }
        found.push(certificate);
    }
    if found.is_empty() {
        return Err("expected a PEM file of certificates".to_owned());
    }
    Ok(found)
}

fn of_file(key: &'static str, path: &Path, problem: &str) -> Problem {
    (key, format!("\"{}\": {problem}", path.display()))
}
