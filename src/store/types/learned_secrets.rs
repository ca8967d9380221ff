//! Secrets that providers give to sources by a handshake.

use super::ids::LearnedSecretId;
use crate::clock::Timestamp;
use crate::config::Secret;

/// Secrets that a source can have learned. Each costs one more HMAC for a request that nothing
/// verifies, and a sender has one for each of its webhooks.
pub(crate) const MAX_LEARNED_SECRETS: usize = 32;

/// A secret that a source has learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LearnedSecret {
    pub id: LearnedSecretId,
    /// The source's name.
    pub source: String,
    pub secret: Secret,
    pub learned_at: Timestamp,
}

/// A source that learns the next secret that comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SecretExpectation {
    /// The source's name.
    pub source: String,
    /// Past this time nothing is learned.
    pub until: Timestamp,
}

/// The outcome of making a source expect a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExpectOutcome {
    /// It expects one until this time.
    Until(Timestamp),
    /// It has this many already, and the new one was not to be added to them.
    HasSecrets(usize),
    /// It has [`MAX_LEARNED_SECRETS`].
    HasMost,
}
