//! Which certificates a destination may show, and what is said of the others.
//!
//! A certificate in `ca_file` is trusted in two ways: as an authority for others, and, if the
//! destination shows that very certificate, by itself. So a self-signed one works, although it may
//! be marked as an authority's, which rustls would refuse.

mod certificate;

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use thiserror::Error as ThisError;

use crate::clock::Timestamp;
use certificate::{Facts, facts};

/// Names of a certificate that an error shows.
const SHOWN_NAMES: usize = 5;

/// The certificates that a destination's own is checked against.
pub(super) enum Trust {
    /// The usual authorities; `may_have_file` if a `ca_file` could name others.
    Public { may_have_file: bool },
    /// The certificates of the destination's `ca_file`, and no others.
    File(Vec<CertificateDer<'static>>),
}

/// A client that trusts so.
pub(super) fn client(trust: Trust) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    let (pinned, advice) = match trust {
        Trust::Public { may_have_file } => {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            let advice = if may_have_file {
                "; to trust it, name it in the destination's ca_file"
            } else {
                ""
            };
            (Vec::new(), advice)
        }
        Trust::File(certificates) => {
            // One that can't be an authority may still be shown by itself.
            roots.add_parsable_certificates(certificates.iter().cloned());
            (certificates, "; the destination's ca_file names others")
        }
    };
    let authorities = if roots.is_empty() {
        None
    } else {
        let builder =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        Some(builder.build().map_err(|error| error.to_string())?)
    };
    let verifier = Verifier {
        provider: Arc::clone(&provider),
        authorities,
        pinned,
        advice,
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The certificates of a PEM file.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        found.push(certificate.map_err(|error| error.to_string())?);
    }
    if found.is_empty() {
        return Err("expected a PEM file of certificates".to_owned());
    }
    Ok(found)
}

/// Why a certificate isn't accepted, in plain words.
#[derive(Debug, ThisError)]
#[error("{0}")]
struct Refused(String);

#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// None if there is no certificate that could be an authority's.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    /// Certificates that are accepted by themselves.
    pinned: Vec<CertificateDer<'static>>,
    /// Completes the error of a certificate that isn't trusted: the way to trust it.
    advice: &'static str,
}

impl Verifier {
    /// Whether the certificate is one that was named itself, and may be used now for this name. The
    /// handshake shows that the other side has its key.
    fn check_pinned(
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let facts = facts(certificate).ok_or(CertificateError::BadEncoding)?;
        let now = millis(now);
        if now > facts.not_after {
            return Err(CertificateError::Expired.into());
        }
        if now < facts.not_before {
            return Err(CertificateError::NotValidYet.into());
        }
        match verify_server_name(&ParsedCertificate::try_from(certificate)?, name) {
            // Old tools write no names but the subject's, which isn't looked at any more (RFC 9525,
            // 2): there is nothing to compare, and it is this very certificate that was named.
            Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                presented,
                ..
            })) if presented.is_empty() => Ok(()),
            result => result,
        }
    }

    /// The same error in plain words.
    fn explained(&self, error: Error, certificate: &CertificateDer<'_>, now: UnixTime) -> Error {
        let Error::InvalidCertificate(error) = error else {
            return error;
        };
        let facts = facts(certificate);
        let why = self.why(&error, facts.as_ref(), millis(now));
        let refused = Refused(format!("the certificate {why}"));
        CertificateError::Other(OtherError(Arc::new(refused))).into()
    }

    fn why(&self, error: &CertificateError, facts: Option<&Facts>, now: Timestamp) -> String {
        let advice = self.advice;
        match (error, facts) {
            (CertificateError::Expired | CertificateError::ExpiredContext { .. }, facts) => {
                // An authority's own certificate may be the one.
                match facts.filter(|facts| facts.not_after < now) {
                    Some(facts) => format!("expired on {}", facts.not_after),
                    None => "of its issuer has expired".to_owned(),
                }
            }
            (
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
                facts,
            ) => match facts.filter(|facts| facts.not_before > now) {
                Some(facts) => format!("is not valid before {}", facts.not_before),
                None => "of its issuer is not valid yet".to_owned(),
            },
            (
                CertificateError::NotValidForNameContext {
                    expected,
                    presented,
                },
                _,
            ) => {
                format!(
                    "is not for this host: the name {} is not in it (it holds {})",
                    expected.to_str(),
                    names(presented)
                )
            }
            (CertificateError::NotValidForName, _) => {
                "is not for this host: its name is not in it".to_owned()
            }
            (_, Some(facts)) if facts.is_self_signed && is_about_trust(error) => {
                format!(
                    "is self-signed (by \"{}\") and not trusted{advice}",
                    facts.issuer
                )
            }
            (CertificateError::UnknownIssuer, Some(facts)) => {
                format!(
                    "is not trusted: its issuer \"{}\" is unknown{advice}",
                    facts.issuer
                )
            }
            // Two authorities may have the same name, a new one and the one before it.
            (CertificateError::BadSignature, Some(facts)) => format!(
                "is not trusted: its issuer \"{}\" has another key than the one known by that \
                 name{advice}",
                facts.issuer
            ),
            (CertificateError::Revoked, _) => "was revoked".to_owned(),
            (CertificateError::BadEncoding, _) => "can't be read".to_owned(),
            (
                CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
                _,
            ) => "is not for servers".to_owned(),
            (CertificateError::Other(_), _) if is_about_trust(error) => {
                format!("is an authority's own, and not a server's{advice}")
            }
            (other, _) => format!("is not accepted: {other}"),
        }
    }
}

/// Whether nobody who is trusted vouches for the certificate. An authority's own that is shown by a
/// server has no name in rustls.
fn is_about_trust(error: &CertificateError) -> bool {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => true,
        CertificateError::Other(other) => format!("{other:?}").contains("CaUsedAsEndEntity"),
        _ => false,
    }
}

/// A certificate's names. rustls has them as it prints them: `DnsName("a.example")`.
fn names(presented: &[String]) -> String {
    let plain = |name: &String| {
        let inner = name
            .split_once('(')
            .and_then(|(_, rest)| rest.strip_suffix(')'));
        inner.unwrap_or(name).trim_matches('"').to_owned()
    };
    let mut shown: Vec<_> = presented.iter().take(SHOWN_NAMES).map(plain).collect();
    match presented.len().saturating_sub(SHOWN_NAMES) {
        _ if shown.is_empty() => return "no names".to_owned(),
        0 => {}
        more => shown.push(format!("{more} more")),
    }
    shown.join(", ")
}

fn millis(time: UnixTime) -> Timestamp {
    let millis = i64::try_from(time.as_secs())
        .unwrap_or(i64::MAX)
        .saturating_mul(1000);
    Timestamp::from_millis(millis)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let result = if self.pinned.contains(end_entity) {
            Self::check_pinned(end_entity, server_name, now)
                .map(|()| ServerCertVerified::assertion())
        } else if let Some(authorities) = &self.authorities {
            authorities.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            )
        } else {
            Err(CertificateError::UnknownIssuer.into())
        };
        result.map_err(|error| self.explained(error, end_entity, now))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// An error of TLS in plain words.
pub(super) fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::Other(other))
            if other.0.downcast_ref::<Refused>().is_some() =>
        {
            other.0.to_string()
        }
        Error::InvalidMessage(_) => {
            format!("the answer is not TLS: does the port speak plain HTTP? ({error})")
        }
        Error::AlertReceived(alert) => {
            format!("the destination ended the TLS handshake: {alert:?}")
        }
        Error::PeerIncompatible(why) => {
            format!("no common TLS version or cipher: {why:?}")
        }
        other => other.to_string(),
    }
}
