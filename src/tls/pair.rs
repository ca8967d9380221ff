//! A certificate with its chain, and the private key that belongs to it, from PEM files.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use crate::tls::certificate::facts;

/// The two files, and the names of their settings, for errors.
pub(crate) struct PairFiles<'a> {
    pub certificate: &'a Path,
    pub key: &'a Path,
    pub certificate_setting: &'static str,
    pub key_setting: &'static str,
}

/// Reads a pair. An error is the setting and the problem of its value. Blocks.
pub(crate) fn read_pair(
    files: &PairFiles<'_>,
) -> Result<Arc<CertifiedKey>, (&'static str, String)> {
    let of_certificate = |problem: &str| {
        let problem = of_file(files.certificate, problem);
        (files.certificate_setting, problem)
    };
    let of_key = |problem: &str| (files.key_setting, of_file(files.key, problem));
    let chain = certificates(files.certificate).map_err(|problem| of_certificate(&problem))?;
    let private = PrivateKeyDer::from_pem_file(files.key).map_err(|error| match error {
        PemError::NoItemsFound => of_key("expected a PEM file of a private key (PKCS#8 or SEC1)"),
        error => of_key(&error.to_string()),
    })?;
    let pair = CertifiedKey::from_der(chain, private, &ring::default_provider());
    pair.map(Arc::new).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => of_key(&format!(
            "expected the private key of {} (\"{}\"): it belongs to another certificate",
            files.certificate_setting,
            files.certificate.display()
        )),
        Error::InvalidCertificate(_) => of_certificate("expected a certificate that can be read"),
        error => of_key(&format!(
            "expected an RSA, ECDSA (P-256 or P-384) or Ed25519 key: {error}"
        )),
    })
}

/// The certificates of a PEM file.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
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

fn of_file(path: &Path, problem: &str) -> String {
    format!("\"{}\": {problem}", path.display())
}
