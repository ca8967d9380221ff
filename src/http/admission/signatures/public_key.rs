//! A signature of parts of the request that a public key verifies: a configured key, or that of a
//! certificate.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::config::{CertificateHost, PublicKeyScheme};
use crate::http::admission::certificates::Certificates;
use crate::http::admission::signatures::contract::{Key, Rejection, Verified, Verifier};
use crate::http::admission::signatures::signed_request::SignedRequestReader;
use crate::model::request::{RequestView, Template};
use crate::model::{PublicKey, PublicKeyAlgorithm};

/// The longest URL of a certificate.
const MAX_URL: usize = 2048;

/// Verifies one source's signatures.
pub(super) struct PublicKeyVerifier {
    algorithm: PublicKeyAlgorithm,
    keys: Vec<PublicKey>,
    certificate: Option<CertificateSource>,
    reader: SignedRequestReader,
}

/// Where the certificates of a source come from.
struct CertificateSource {
    url: Template,
    hosts: Vec<CertificateHost>,
    certificates: Arc<Certificates>,
}

impl PublicKeyVerifier {
    /// The verifier of a checked setting.
    pub fn new(scheme: &PublicKeyScheme, certificates: &Arc<Certificates>) -> Self {
        let keys = scheme.public_keys.iter().map(|text| {
            let key = PublicKey::parse(text, scheme.algorithm);
            key.expect("a checked configuration's keys can be read")
        });
        let certificate = scheme
            .certificate_url
            .as_ref()
            .map(|url| CertificateSource {
                url: url.clone(),
                hosts: scheme.certificate_hosts.clone(),
                certificates: Arc::clone(certificates),
            });
        Self {
            algorithm: scheme.algorithm,
            keys: keys.collect(),
            certificate,
            reader: SignedRequestReader::new(scheme.signed_request()),
        }
    }
}

impl Verifier for PublicKeyVerifier {
    fn check_head(&self, request: &RequestView<'_>, now: Timestamp) -> Result<(), Rejection> {
        self.reader.check_head(request, now)
    }

    fn verify(
        &self,
        request: &RequestView<'_>,
        now: Timestamp,
        _learned: &[Key],
    ) -> Result<Verified, Rejection> {
        let claim = self.reader.read(request, now)?;
        let content = self.reader.content(request, &claim)?.concat();
        let verifies = |key: &PublicKey| {
            let mut signatures = claim.signatures.iter();
            signatures.any(|signature| key.verifies(&content, signature))
        };
        let is_verified = match &self.certificate {
            None => self.keys.iter().any(verifies),
            Some(source) => source.verifies(request, self.algorithm, verifies)?,
        };
        if is_verified {
            Ok(Verified::default())
        } else {
            Err(Rejection::Mismatch)
        }
    }
}

impl CertificateSource {
    /// Whether the key of the certificate that the request names verifies it.
    fn verifies(
        &self,
        request: &RequestView<'_>,
        algorithm: PublicKeyAlgorithm,
        verifies: impl Fn(&PublicKey) -> bool,
    ) -> Result<bool, Rejection> {
        let url = self.url(request)?;
        let is_verified = verifies(&self.key(&url, algorithm)?);
        if is_verified {
            self.certificates.prove(&url);
        }
        Ok(is_verified)
    }

    /// The URL that the request names, of a host that may be asked.
    fn url(&self, request: &RequestView<'_>) -> Result<String, Rejection> {
        let unreadable = || Rejection::Unreadable(self.url.as_str().to_owned());
        let url = String::from_utf8(self.url.evaluate(request)?).map_err(|_| unreadable())?;
        let host = host_of(&url).ok_or_else(unreadable)?;
        if !self.hosts.iter().any(|pattern| pattern.matches(host)) {
            let problem = format!("certificate_hosts has no pattern for {host}");
            return Err(Rejection::UnknownKey(problem));
        }
        Ok(url)
    }

    /// The key of the certificate at a URL, if it was fetched already.
    fn key(&self, url: &str, algorithm: PublicKeyAlgorithm) -> Result<PublicKey, Rejection> {
        let Some(certificate) = self.certificates.get(url) else {
            return Err(Rejection::NeedsCertificate(url.to_owned()));
        };
        let key = PublicKey::of_certificate(&certificate, algorithm);
        key.ok_or_else(|| {
            let expected = algorithm.expected();
            Rejection::UnknownKey(format!("the certificate at {url} does not hold {expected}"))
        })
    }
}

/// The host of an `https` URL of the default port, in lower case. None for any other text.
fn host_of(url: &str) -> Option<&str> {
    let is_plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'\\' | b'#' | b'@');
    if url.len() > MAX_URL || !url.bytes().all(is_plain) {
        return None;
    }
    let (host, _) = url.strip_prefix("https://")?.split_once('/')?;
    let is_host = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    (!host.is_empty() && host.bytes().all(is_host)).then_some(host)
}
