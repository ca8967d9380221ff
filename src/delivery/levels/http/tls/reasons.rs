//! The reasons why a certificate or a handshake isn't accepted, in plain words.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{AlertDescription, CertificateError, Error, OtherError, PeerIncompatible};
use thiserror::Error as ThisError;

use crate::clock::Timestamp;
use crate::tls::{Facts, facts};

/// Names of a certificate that an error lists.
const SHOWN_NAMES: usize = 5;

/// The reason why a certificate isn't accepted, in plain words.
#[derive(Debug, ThisError)]
#[error("{0}")]
struct Refused(String);

/// The error about a certificate in plain words. `advice` says how to trust it.
pub(super) fn explained(
    error: Error,
    certificate: &CertificateDer<'_>,
    now: Timestamp,
    advice: &str,
) -> Error {
    let Error::InvalidCertificate(error) = error else {
        return error;
    };
    let facts = facts(certificate);
    let reason = reason(&error, facts.as_ref(), now, advice);
    let refused = Refused(format!("the certificate {reason}"));
    CertificateError::Other(OtherError(Arc::new(refused))).into()
}

fn reason(error: &CertificateError, facts: Option<&Facts>, now: Timestamp, advice: &str) -> String {
    if let Some(reason) = date_reason(error, facts, now) {
        return reason;
    }
    match (error, facts) {
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
            let issuer = &facts.issuer;
            format!("is self-signed (by \"{issuer}\") and not trusted{advice}")
        }
        (CertificateError::UnknownIssuer, Some(facts)) => {
            let issuer = &facts.issuer;
            format!("is not trusted: its issuer \"{issuer}\" is unknown{advice}")
        }
        // Two authorities may have the same name, a new one and the one before it.
        (CertificateError::BadSignature, Some(facts)) => format!(
            "is not trusted: its issuer \"{}\" has another key than the one known by that \
             name{advice}",
            facts.issuer
        ),
        (CertificateError::Revoked, _) => "was revoked".to_owned(),
        (CertificateError::BadEncoding, _) => "can't be read".to_owned(),
        (CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. }, _) => {
            "is not for servers".to_owned()
        }
        (CertificateError::Other(_), _) if is_about_trust(error) => {
            format!("is an authority's own, and not a server's{advice}")
        }
        (other, _) => format!("is not accepted: {other}"),
    }
}

/// The reason, if it is one of the dates. The date may be that of an authority's certificate.
fn date_reason(error: &CertificateError, facts: Option<&Facts>, now: Timestamp) -> Option<String> {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            let own = facts.filter(|facts| facts.not_after < now);
            Some(match own {
                Some(facts) => format!("expired on {}", facts.not_after),
                None => "of its issuer has expired".to_owned(),
            })
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            let own = facts.filter(|facts| facts.not_before > now);
            Some(match own {
                Some(facts) => format!("is not valid before {}", facts.not_before),
                None => "of its issuer is not valid yet".to_owned(),
            })
        }
        _ => None,
    }
}

/// Whether no trusted authority vouches for the certificate. rustls has no name for the error about
/// an authority's own certificate that a server presents.
fn is_about_trust(error: &CertificateError) -> bool {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => true,
        CertificateError::Other(other) => format!("{other:?}").contains("CaUsedAsEndEntity"),
        _ => false,
    }
}

/// A certificate's names. rustls gives them as it prints them: `DnsName("a.example")`.
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

/// An error of TLS in plain words. `presents_one`: whether a client certificate is configured.
pub(in crate::delivery::levels::http) fn explain(error: &Error, presents_one: bool) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::Other(other))
            if other.0.downcast_ref::<Refused>().is_some() =>
        {
            other.0.to_string()
        }
        Error::InvalidMessage(_) => {
            format!("the answer is not TLS: does the port speak plain HTTP? ({error})")
        }
        Error::AlertReceived(alert) => of_alert(*alert, presents_one),
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled,
        ) => OTHER_VERSION.to_owned(),
        Error::PeerIncompatible(why) => {
            format!("no common TLS version or cipher: {why:?}")
        }
        other => other.to_string(),
    }
}

const OTHER_VERSION: &str = "the destination speaks another version of TLS: expected 1.2 or 1.3";

/// The reason of the other side to end TLS. Before TLS 1.3 no alert said that a client certificate
/// is missing, so servers chose one of two others.
fn of_alert(alert: AlertDescription, presents_one: bool) -> String {
    use AlertDescription as Alert;
    const SET: &str = "client_cert_file and client_key_file name one";
    let refused = match alert {
        Alert::ProtocolVersion => return OTHER_VERSION.to_owned(),
        Alert::CertificateRequired if presents_one => {
            return "the destination requires a client certificate, and relay's is not of a kind \
                    that it asks for"
                .to_owned();
        }
        Alert::CertificateRequired => {
            return format!("the destination requires a client certificate: {SET}");
        }
        Alert::UnrecognisedName => {
            return "the destination does not serve the host's name (UnrecognisedName)".to_owned();
        }
        Alert::HandshakeFailure | Alert::BadCertificate if !presents_one => {
            return format!(
                "the destination ended the TLS handshake ({alert:?}): no common cipher, or it \
                 requires a client certificate ({SET})"
            );
        }
        Alert::UnknownCA => "its issuer is not trusted there",
        Alert::CertificateExpired => "it has expired, or is not valid yet",
        Alert::CertificateRevoked => "it was revoked",
        Alert::UnsupportedCertificate => "it is not of a kind that is taken there",
        Alert::AccessDenied => "its owner has no access there",
        Alert::DecryptError => "its signature does not verify there",
        Alert::BadCertificate | Alert::CertificateUnknown => "it is not accepted there",
        _ => return format!("the destination ended the TLS handshake: {alert:?}"),
    };
    if presents_one {
        format!("the destination refuses the client certificate: {refused} ({alert:?})")
    } else {
        format!("the destination ended the TLS handshake: {alert:?}")
    }
}
