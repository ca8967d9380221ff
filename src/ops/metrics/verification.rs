//! Counters of verified and refused requests, by source.

use metrics::{Counter, Key, Label};

/// The result of verifying a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VerificationResult {
    /// The request is the provider's.
    Ok,
    /// The header of the signature, of the time or of the secret is missing.
    NoHeader,
    /// The header is there, in a form that can't be read.
    Unreadable,
    /// No secret or key made the signature.
    Mismatch,
    /// The time is too long ago.
    TooOld,
    /// The time is too far ahead.
    TooEarly,
    /// A part of the request that is signed is missing.
    PartMissing,
    /// The request is signed in a way for which there is no key.
    UnknownKey,
}

impl VerificationResult {
    const ALL: [Self; 8] = [
        Self::Ok,
        Self::NoHeader,
        Self::Unreadable,
        Self::Mismatch,
        Self::TooOld,
        Self::TooEarly,
        Self::PartMissing,
        Self::UnknownKey,
    ];

    /// The name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NoHeader => "no_header",
            Self::Unreadable => "unreadable",
            Self::Mismatch => "mismatch",
            Self::TooOld => "too_old",
            Self::TooEarly => "too_early",
            Self::PartMissing => "part_missing",
            Self::UnknownKey => "unknown_key",
        }
    }
}

/// The counters of one source, one for each result.
pub(crate) struct VerificationCounters([Counter; 8]);

impl VerificationCounters {
    /// The counters of a source, at zero. `source` is its label: `*` for the catch-all, because
    /// strangers choose the names that it stands for.
    pub(super) fn new(source: &str, register: impl Fn(&Key) -> Counter) -> Self {
        Self(VerificationResult::ALL.map(|result| {
            let labels = vec![
                Label::new("source", source.to_owned()),
                Label::new("result", result.name()),
            ];
            register(&Key::from_parts("relay_verifications_total", labels))
        }))
    }

    /// A request was verified, or not.
    pub fn count(&self, result: VerificationResult) {
        self.0[result as usize].increment(1);
    }
}
