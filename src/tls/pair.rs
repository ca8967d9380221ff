//! A certificate with its chain, and the private key that belongs to it, from PEM files.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use crate::named_file;
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
    let private = private_key(files.key).map_err(|problem| of_key(&problem))?;
    let of_another_kind = |error: &Error| {
        let expected = "expected an RSA, ECDSA (P-256 or P-384) or Ed25519 key";
        of_key(&format!("{expected}: {error}"))
    };
    let loaded = ring::default_provider()
        .key_provider
        .load_private_key(private);
    let pair = CertifiedKey::new(chain, loaded.map_err(|error| of_another_kind(&error))?);
    match pair.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Arc::new(pair)),
        Err(Error::InconsistentKeys(_)) if is_of_a_later_one(&pair) => Err(of_certificate(
            "expected the certificate of the key first, and those of its authorities after it",
        )),
        Err(Error::InconsistentKeys(_)) => Err(of_key(&format!(
            "expected the private key of {} ({}): it belongs to another certificate",
            files.certificate_setting,
            named_file::quoted(files.certificate)
        ))),
        Err(Error::InvalidCertificate(_)) => Err(of_certificate(match pair.end_entity_cert() {
            Ok(first) if is_of_another_version(first) => {
                "expected a certificate of version 3 of X.509"
            }
            _ => "expected a certificate that can be read",
        })),
        Err(error) => Err(of_another_kind(&error)),
    }
}

/// Whether the key belongs to a certificate that is not the first.
fn is_of_a_later_one(pair: &CertifiedKey) -> bool {
    pair.cert.iter().skip(1).any(|certificate| {
        let alone = CertifiedKey::new(vec![certificate.clone()], Arc::clone(&pair.key));
        alone.keys_match().is_ok()
    })
}

/// Programs that sign without a file of extensions make version 1.
fn is_of_another_version(certificate: &CertificateDer<'_>) -> bool {
    let read = webpki::EndEntityCert::try_from(certificate);
    matches!(read, Err(webpki::Error::UnsupportedCertVersion))
}

/// The private key of a PEM file.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let pem = named_file::read(path).map_err(|error| error.to_string())?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match error {
        _ if is_encrypted(&pem) => "expected a private key without a passphrase".to_owned(),
        PemError::NoItemsFound => {
            "expected a PEM file of a private key (PKCS#8 or SEC1)".to_owned()
        }
        error => error.to_string(),
    })
}

/// PKCS#8 tells by its label, the older forms by a header.
fn is_encrypted(pem: &[u8]) -> bool {
    let pem = String::from_utf8_lossy(pem);
    pem.contains("BEGIN ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED")
}

/// The certificates of a PEM file.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut found = Vec::new();
    // Not as a text: the lines around a certificate may be in any encoding.
    let pem = named_file::read(path).map_err(|error| error.to_string())?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
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
    format!("{}: {problem}", named_file::quoted(path))
}

#[cfg(test)]
mod tests;
