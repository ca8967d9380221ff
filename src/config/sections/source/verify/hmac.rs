//! `[sources.NAME.verify.hmac]`: an HMAC of the body, of a header and of fixed texts.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::config::rules::{
    Checked, bad, bad_secret, is_header_name, not_a_reference, quoted, resolved, timeout,
};
use crate::config::secrets::{Secret, SecretList};
use crate::config::sections::source::templates::{SignatureFormat, SignedContent, SignedPart};
use crate::config::sections::source::verify::common::{TOLERANCE, check_some_secret};
use crate::config::units;

/// The place of the signature, and the content that is signed.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HmacScheme {
    /// The header that holds the signature.
    pub header: String,
    /// The hash. Default: SHA-256.
    pub algorithm: Algorithm,
    /// The encoding of the signature. Default: hexadecimal.
    pub encoding: Encoding,
    /// The layout of the header, such as `sha256={signature}` or `t={timestamp},v1={signature}`.
    /// Default: the signature and nothing else.
    pub format: SignatureFormat,
    /// The header that holds the timestamp, if `format` has none.
    pub timestamp_header: Option<String>,
    /// The content that is signed, such as `{timestamp}.{body}` or `v0:{timestamp}:{body}`. Any
    /// other name in braces is a header's. Default: `{body}`.
    pub signed: SignedContent,
    /// The largest difference between the signature's time and relay's. Default: 5 min.
    #[serde(deserialize_with = "units::duration")]
    pub tolerance: Duration,
    /// The secrets as the provider shows them; a signature by any of them verifies, so that they
    /// can be rotated.
    pub secrets: Vec<Secret>,
    /// An environment variable that holds more secrets, comma-separated.
    pub secrets_env: Option<String>,
    /// A file that holds more secrets, one a line.
    pub secrets_file: Option<PathBuf>,
}

impl Default for HmacScheme {
    fn default() -> Self {
        Self {
            header: String::new(),
            algorithm: Algorithm::Sha256,
            encoding: Encoding::Hex,
            format: SignatureFormat::whole(),
            timestamp_header: None,
            signed: SignedContent::body(),
            tolerance: TOLERANCE,
            secrets: Vec::new(),
            secrets_env: None,
            secrets_file: None,
        }
    }
}

/// The hash of an HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// HMAC-SHA-1: sound as an HMAC, and still used by some providers.
    Sha1,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

/// The encoding of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Hexadecimal, of either case.
    Hex,
    /// Base64, of either alphabet, padded or not.
    Base64,
}

impl HmacScheme {
    pub(super) fn secret_list(&mut self, key: &str) -> SecretList<'_> {
        SecretList {
            key: format!("{key}.secrets"),
            secrets: &mut self.secrets,
            variable: &mut self.secrets_env,
            file: &mut self.secrets_file,
        }
    }

    pub(super) fn check(&self, key: &str) -> Checked {
        let secrets = format!("{key}.secrets");
        resolved(
            &secrets,
            self.secrets_env.is_some(),
            self.secrets_file.is_some(),
        )?;
        check_some_secret(&secrets, &self.secrets)?;
        for (at, secret) in self.secrets.iter().enumerate() {
            if secret.reveal().trim().is_empty() {
                return bad_secret(&secrets, at, "a secret that isn't blank");
            }
            not_a_reference(&secrets, at, secret)?;
        }
        for (name, header) in [
            ("header", Some(&self.header)),
            ("timestamp_header", self.timestamp_header.as_ref()),
        ] {
            if let Some(header) = header
                && !is_header_name(header)
            {
                return bad(
                    &format!("{key}.{name}"),
                    quoted(header),
                    "the name of an HTTP header",
                );
            }
        }
        self.check_timestamp(key)?;
        timeout(&format!("{key}.tolerance"), self.tolerance)
    }

    /// A timestamp that is signed stands in one place, and a timestamp that stands somewhere is
    /// signed.
    fn check_timestamp(&self, key: &str) -> Checked {
        let places =
            u8::from(self.format.timestamp.is_some()) + u8::from(self.timestamp_header.is_some());
        let is_signed = self.signed.0.contains(&SignedPart::Timestamp);
        let (name, problem) = match (places, is_signed) {
            (0, false) | (1, true) => return Ok(()),
            (0, true) => (
                "signed",
                "holds {timestamp}, but neither format nor timestamp_header says where it is",
            ),
            (1, false) => (
                "signed",
                "leaves out {timestamp}: expected it there, since a time that isn't signed proves \
                 nothing",
            ),
            _ => (
                "timestamp_header",
                "contradicts format, which has {timestamp} too",
            ),
        };
        Err((format!("{key}.{name}"), problem.to_owned()))
    }
}
