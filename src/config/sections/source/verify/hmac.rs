//! `[sources.NAME.verify.hmac]`: an HMAC of parts of the request.

use std::path::PathBuf;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use crate::config::rules::{Checked, bad_secret};
use crate::config::secrets::{Reference, Secret, VariableNames};
use crate::config::sections::source::verify::common::{
    TOLERANCE, has_secrets, has_signed_request, secret_list,
};
use crate::config::sections::source::verify::context::SourceContext;
use crate::config::sections::source::verify::signed_request::{
    Encoding, HeaderNames, SignedRequest, TimestampFormat,
};
use crate::config::units;
use crate::model::base64;
use crate::model::request::{SignatureFormat, Template};

/// The place of the signature, and the content that is signed.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct HmacScheme {
    /// The header that holds the signature, or a list of headers.
    pub header: HeaderNames,
    /// The place of the signature, if it is in no header of its own, such as `{json./signature}`.
    pub signature: Option<Template>,
    /// The hash. Default: SHA-256.
    pub algorithm: Algorithm,
    /// The encoding of the signature. Default: hexadecimal.
    pub encoding: Encoding,
    /// The layout of the header, such as `sha256={signature}` or `t={timestamp},v1={signature}`.
    /// Default: the signature and nothing else.
    pub format: SignatureFormat,
    /// The header that holds the timestamp.
    pub timestamp_header: Option<String>,
    /// The place of the timestamp, if it is in no header of its own, such as `{json./time}`.
    pub timestamp: Option<Template>,
    /// The format of the timestamp. Default: seconds.
    pub timestamp_format: TimestampFormat,
    /// The content that is signed, such as `{timestamp}.{body}` or `v0:{timestamp}:{body}`. A name
    /// in braces that is no part is a header's. Default: `{body}`.
    pub signed: Template,
    /// The largest difference between the signature's time and relay's. Default: 5 min.
    #[serde(deserialize_with = "units::duration")]
    #[cfg_attr(test, schemars(with = "units::DurationText"))]
    pub tolerance: Duration,
    /// The bytes that a secret's text stands for. Default: those of the text.
    pub secret_encoding: SecretEncoding,
    /// The secrets as the provider shows them; a signature by any of them verifies, so that they
    /// can be rotated.
    pub secrets: Vec<Secret>,
    /// Environment variables that hold one secret each.
    pub secrets_env: Option<VariableNames>,
    /// A file that holds more secrets, one a line.
    pub secrets_file: Option<PathBuf>,
}

impl Default for HmacScheme {
    fn default() -> Self {
        Self {
            header: HeaderNames::default(),
            signature: None,
            algorithm: Algorithm::Sha256,
            encoding: Encoding::Hex,
            format: SignatureFormat::whole(),
            timestamp_header: None,
            timestamp: None,
            timestamp_format: TimestampFormat::Seconds,
            signed: Template::body(),
            tolerance: TOLERANCE,
            secret_encoding: SecretEncoding::Text,
            secrets: Vec::new(),
            secrets_env: None,
            secrets_file: None,
        }
    }
}

/// The hash of an HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// HMAC-SHA-1: sound as an HMAC, and still used by some providers.
    Sha1,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

impl Algorithm {
    /// The HMAC of a content in pieces.
    pub(crate) fn hmac(self, key: &[u8], content: &[impl AsRef<[u8]>]) -> Vec<u8> {
        match self {
            Self::Sha1 => mac::<Hmac<Sha1>>(key, content),
            Self::Sha256 => mac::<Hmac<Sha256>>(key, content),
            Self::Sha512 => mac::<Hmac<Sha512>>(key, content),
        }
    }
}

fn mac<M: Mac + KeyInit>(key: &[u8], content: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    for piece in content {
        mac.update(piece.as_ref());
    }
    mac.finalize().into_bytes().to_vec()
}

/// The bytes that a secret's text stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum SecretEncoding {
    /// The bytes of the text.
    #[default]
    Text,
    /// Base64, of either alphabet, padded or not.
    Base64,
    /// Hexadecimal.
    Hex,
}

impl SecretEncoding {
    /// The key of a secret. None if it isn't encoded so, or is empty.
    pub fn key(self, secret: &Secret) -> Option<Vec<u8>> {
        let text = secret.reveal();
        let key = match self {
            Self::Text => Some(text.as_bytes().to_vec()),
            Self::Base64 => base64(text),
            Self::Hex => hex::decode(text).ok(),
        };
        key.filter(|key| !key.is_empty())
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Text => "a secret that isn't blank",
            Self::Base64 => "base64 of at least one byte, by secret_encoding",
            Self::Hex => "hexadecimal of at least one byte, by secret_encoding",
        }
    }
}

has_secrets!(HmacScheme, hmac_secrets);
has_signed_request!(HmacScheme);

impl HmacScheme {
    pub(super) fn references(&mut self, key: &str) -> Vec<Reference<'_>> {
        let (variables, file) = (&mut self.secrets_env, &mut self.secrets_file);
        vec![secret_list(key, &mut self.secrets, variables, file)]
    }

    pub(super) fn check(&self, key: &str, source: &SourceContext<'_>) -> Checked {
        let (secrets_key, secrets) = self.checked_secrets(key, source)?;
        for (at, secret) in secrets.iter().enumerate() {
            if self.secret_encoding.key(secret).is_none() {
                return bad_secret(&secrets_key, at, self.secret_encoding.expected());
            }
        }
        self.signed_request().check(key, source)
    }
}
