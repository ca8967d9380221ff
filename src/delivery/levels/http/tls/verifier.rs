//! Checks the certificate that a destination presents.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use crate::clock::Timestamp;
use crate::delivery::levels::http::tls::reasons::explained;
use crate::ops::notices::Validity;
use crate::tls::facts;

/// The certificates that a destination's own is checked against.
pub(in crate::delivery::levels::http) enum Roots {
    /// The usual authorities; `may_have_file` if a `ca_file` could name others.
    Public { may_have_file: bool },
    /// The certificates of the destination's `ca_file`, and no others.
    File(Vec<CertificateDer<'static>>),
}

/// A client that trusts these certificates, and presents `identity` to those that ask for one.
pub(in crate::delivery::levels::http) fn client(
    roots: Roots,
    identity: Option<Arc<CertifiedKey>>,
) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let mut store = RootCertStore::empty();
    let (pinned, advice) = match roots {
        Roots::Public { may_have_file } => {
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            let advice = if may_have_file {
                "; to trust it, name it in the destination's ca_file"
            } else {
                ""
            };
            (Vec::new(), advice)
        }
        Roots::File(certificates) => {
            // A certificate that can't be an authority may still be presented by itself.
            store.add_parsable_certificates(certificates.iter().cloned());
            (certificates, "; the destination's ca_file names others")
        }
    };
    let authorities = if store.is_empty() {
        None
    } else {
        let builder =
            WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider));
        Some(builder.build().map_err(|error| error.to_string())?)
    };
    let verifier = Verifier {
        provider: Arc::clone(&provider),
        authorities,
        pinned,
        advice,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    Ok(Arc::new(match identity {
        None => builder.with_no_client_auth(),
        Some(pair) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair))),
    }))
}

#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// None if no certificate could be an authority's.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    /// Certificates that are trusted by themselves.
    pinned: Vec<CertificateDer<'static>>,
    /// Completes the error about a certificate that isn't trusted: how to trust it.
    advice: &'static str,
}

impl Verifier {
    /// Checks the dates and the name of a pinned certificate. The handshake proves that the other
    /// side has its key.
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
            // Old tools write no name but the subject's, which is no longer checked (RFC 9525, 2):
            // there is nothing to compare, and `ca_file` has this very certificate.
            Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                presented,
                ..
            })) if presented.is_empty() => Ok(()),
            result => result,
        }
    }
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
        result.map_err(|error| explained(error, end_entity, millis(now), self.advice))
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

/// The time for which a certificate is valid; none if it can't be read.
pub(in crate::delivery::levels::http) fn validity(der: &[u8]) -> Option<Validity> {
    facts(der).as_ref().map(Validity::from)
}
