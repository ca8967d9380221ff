//! The contract of a scheme.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::clock::Timestamp;
use crate::model::request::{MAX_FIELDS, MissingPart, Part, RequestView};
use crate::ops::metrics::VerificationResult;

/// The key of an HMAC.
pub(in crate::http) type Key = Arc<[u8]>;

/// Verifies that a request comes from its provider. It fails closed: a part of the request that is
/// missing, doubled or unreadable never verifies.
pub(in crate::http) trait Verifier: Send + Sync {
    /// Checks, before the body is read, what doesn't depend on it. An error means that no body
    /// could make the request verify at this time.
    fn check_head(&self, request: &RequestView<'_>, now: Timestamp) -> Result<(), Rejection>;

    /// Verifies the request with its body. `learned` are keys that a handshake gave the source.
    fn verify(
        &self,
        request: &RequestView<'_>,
        now: Timestamp,
        learned: &[Key],
    ) -> Result<Verified, Rejection>;
}

/// A request that was verified.
#[derive(Clone, Debug, Default)]
pub(in crate::http) struct Verified {
    /// The key by which it was, if the scheme is an HMAC.
    pub key: Option<Key>,
    /// The header of the event's id, if the scheme has two names for it.
    pub id: Option<SignedId>,
}

/// The header of an event's id, of the two that a scheme knows. Both are in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct SignedId {
    /// The one that is signed.
    pub signed: &'static str,
    /// The one that isn't: anybody may have added it.
    pub unsigned: &'static str,
}

impl SignedId {
    /// The header to read where the configuration names one of the two.
    pub fn header<'n>(&self, name: &'n str) -> &'n str {
        if name.eq_ignore_ascii_case(self.unsigned) {
            self.signed
        } else {
            name
        }
    }
}

/// The reason why a request is not verified: for the log. It holds no secret, and nothing that was
/// computed from one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(in crate::http) enum Rejection {
    /// The header of the signature, of the time or of the secret is missing.
    #[error("there is no {0}")]
    NoHeader(String),
    /// The header is there twice, or in another form than the configuration says.
    #[error("{0} can't be read: expected it once, in the configured form")]
    Unreadable(String),
    #[error("it matches none of the secrets or keys")]
    Mismatch,
    #[error("its time is {by:?} ago: expected at most {tolerance:?}")]
    TooOld { by: Duration, tolerance: Duration },
    #[error("its time is {by:?} ahead: expected at most {tolerance:?}")]
    TooEarly { by: Duration, tolerance: Duration },
    #[error("{}", missing(.0))]
    PartMissing(Part),
    /// No scheme of `verify_any` is for this request.
    #[error("no scheme of verify_any is for this request")]
    NoScheme,
    #[error("{0}")]
    UnknownKey(String),
    /// A handshake brings a secret, and the source expects none.
    #[error("it brings a secret, and none is expected: relay secrets expect SOURCE allows it")]
    UnexpectedSecret,
    /// The certificate at this URL has to be fetched first.
    #[error("the certificate at {0} could not be fetched")]
    NeedsCertificate(String),
    /// The certificate at this URL had to be fetched first, and was not tried.
    #[error(
        "the certificate at {0} was not tried: it was within the last minute, or too many others \
         were"
    )]
    CertificateNotTried(String),
}

/// How near a request came to being verified, the least near first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Nearness {
    /// No scheme is for it.
    Unclaimed,
    /// It has nothing of this scheme.
    Absent,
    /// It is of this scheme, and incomplete or of another form.
    Unreadable,
    /// It is complete, and its time is not now.
    Untimely,
    /// It is complete and in time.
    Mismatched,
    /// The certificate decides, once it is there.
    Undecided,
}

impl Rejection {
    /// How near the request came to being verified. Of two times the one that is less off is
    /// nearer: the other one may have been read in a unit that the provider doesn't use.
    pub(super) fn nearness(&self) -> (Nearness, Reverse<Duration>) {
        let nearness = match self {
            Self::NoScheme => Nearness::Unclaimed,
            Self::NoHeader(_) => Nearness::Absent,
            Self::Unreadable(_)
            | Self::PartMissing(_)
            | Self::UnknownKey(_)
            | Self::UnexpectedSecret => Nearness::Unreadable,
            Self::TooOld { by, .. } | Self::TooEarly { by, .. } => {
                return (Nearness::Untimely, Reverse(*by));
            }
            Self::Mismatch => Nearness::Mismatched,
            Self::NeedsCertificate(_) | Self::CertificateNotTried(_) => Nearness::Undecided,
        };
        (nearness, Reverse(Duration::ZERO))
    }

    /// The result's label in the metrics.
    pub fn result(&self) -> VerificationResult {
        match self {
            Self::NoHeader(_) => VerificationResult::NoHeader,
            Self::Unreadable(_) => VerificationResult::Unreadable,
            Self::Mismatch => VerificationResult::Mismatch,
            Self::TooOld { .. } => VerificationResult::TooOld,
            Self::TooEarly { .. } => VerificationResult::TooEarly,
            Self::PartMissing(_) | Self::NoScheme => VerificationResult::PartMissing,
            Self::UnknownKey(_)
            | Self::NeedsCertificate(_)
            | Self::CertificateNotTried(_)
            | Self::UnexpectedSecret => VerificationResult::UnknownKey,
        }
    }
}

/// Why a part has no value. Of a form or a query with too many fields none is read.
fn missing(part: &Part) -> String {
    match part {
        Part::FormSorted => {
            format!("the request has no {part}: expected a form of at most {MAX_FIELDS} fields")
        }
        Part::FormField(_) | Part::QueryField(_) => format!(
            "the request has no {part}, or has it twice, or has more than {MAX_FIELDS} fields"
        ),
        _ => format!("the request has no {part}, or has it twice"),
    }
}

impl From<MissingPart> for Rejection {
    fn from(missing: MissingPart) -> Self {
        Self::PartMissing(missing.0)
    }
}
