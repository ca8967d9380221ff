//! The scheme by which a source's requests are verified.

use serde::Deserialize;

use crate::config::rules::Checked;
use crate::config::secrets::{Reference, Secret};
use crate::config::sections::source::verify::basic::BasicScheme;
use crate::config::sections::source::verify::context::SourceContext;
use crate::config::sections::source::verify::hmac::HmacScheme;
use crate::config::sections::source::verify::public_key::PublicKeyScheme;
use crate::config::sections::source::verify::signed_request::SignedRequest;
use crate::config::sections::source::verify::standard_webhooks::StandardWebhooks;
use crate::config::sections::source::verify::token::TokenScheme;

/// The scheme by which a source's requests are verified.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Verify {
    /// The Standard Webhooks specification.
    StandardWebhooks(StandardWebhooks),
    /// Any other HMAC.
    Hmac(HmacScheme),
    /// A secret in a header, or elsewhere in the request.
    Token(TokenScheme),
    /// A user and a password (RFC 7617).
    Basic(BasicScheme),
    /// A signature that a public key verifies.
    PublicKey(PublicKeyScheme),
}

impl Verify {
    /// The schemes, as errors list them.
    pub(in crate::config) const NAMES: &str = "standard_webhooks, hmac, token, basic, public_key";

    /// The references of the scheme at this key, to be resolved.
    pub(in crate::config::sections::source) fn references(
        &mut self,
        key: &str,
    ) -> Vec<Reference<'_>> {
        let key = &format!("{key}.{}", self.name());
        match self {
            Self::StandardWebhooks(scheme) => scheme.references(key),
            Self::Hmac(scheme) => scheme.references(key),
            Self::Token(scheme) => scheme.references(key),
            Self::Basic(scheme) => scheme.references(key),
            Self::PublicKey(scheme) => scheme.references(key),
        }
    }

    pub(in crate::config::sections::source) fn check(
        &self,
        key: &str,
        source: &SourceContext<'_>,
    ) -> Checked {
        let key = &format!("{key}.{}", self.name());
        match self {
            Self::StandardWebhooks(scheme) => scheme.check(key, source),
            Self::Hmac(scheme) => scheme.check(key, source),
            Self::Token(scheme) => scheme.check(key, source),
            Self::Basic(scheme) => scheme.check(key, source),
            Self::PublicKey(scheme) => scheme.check(key, source),
        }
    }

    /// The scheme's key below `verify`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::StandardWebhooks(_) => "standard_webhooks",
            Self::Hmac(_) => "hmac",
            Self::Token(_) => "token",
            Self::Basic(_) => "basic",
            Self::PublicKey(_) => "public_key",
        }
    }

    /// The scheme's own secrets.
    pub fn secrets(&self) -> &[Secret] {
        match self {
            Self::StandardWebhooks(scheme) => &scheme.secrets,
            Self::Hmac(scheme) => &scheme.secrets,
            Self::Token(scheme) => &scheme.secrets,
            Self::Basic(scheme) => &scheme.secrets,
            Self::PublicKey(_) => &[],
        }
    }

    /// The key of an HMAC that a secret stands for. None if the scheme is no HMAC, or if the secret
    /// is not in the form that the scheme expects.
    pub fn hmac_key(&self, secret: &Secret) -> Option<Vec<u8>> {
        match self {
            Self::StandardWebhooks(_) => secret.signing_key(),
            Self::Hmac(scheme) => scheme.secret_encoding.key(secret),
            Self::Token(_) | Self::Basic(_) | Self::PublicKey(_) => None,
        }
    }

    /// Whether the scheme is an HMAC, whose secrets a handshake can bring.
    pub fn is_hmac(&self) -> bool {
        matches!(self, Self::StandardWebhooks(_) | Self::Hmac(_))
    }

    /// The common settings of the schemes whose signature has a configured place.
    pub fn signed_request(&self) -> Option<SignedRequest> {
        match self {
            Self::Hmac(scheme) => Some(scheme.signed_request()),
            Self::PublicKey(scheme) => Some(scheme.signed_request()),
            Self::StandardWebhooks(_) | Self::Token(_) | Self::Basic(_) => None,
        }
    }

    /// The scheme with the source's secrets and public keys, where it has none of its own.
    pub(in crate::config) fn with_shared(mut self, secrets: &[Secret], keys: &[String]) -> Self {
        let (own_secrets, own_keys) = match &mut self {
            Self::StandardWebhooks(scheme) => {
                (Some(&mut scheme.secrets), Some(&mut scheme.public_keys))
            }
            Self::Hmac(scheme) => (Some(&mut scheme.secrets), None),
            Self::Token(scheme) => (Some(&mut scheme.secrets), None),
            Self::Basic(scheme) => (Some(&mut scheme.secrets), None),
            Self::PublicKey(scheme) => (None, Some(&mut scheme.public_keys)),
        };
        if let Some(own) = own_secrets
            && own.is_empty()
        {
            own.extend_from_slice(secrets);
        }
        if let Some(own) = own_keys
            && own.is_empty()
        {
            own.extend_from_slice(keys);
        }
        self
    }
}
