//! `[sources.….verify]`: how a provider's signature is checked before an event is let in.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::rules::{
    Checked, bad, bad_secret, not_a_reference, quoted, resolved, signing_secrets, timeout,
};
use super::{Secret, is_header_name, units};

/// How a source's events are verified.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Verify {
    /// As the Standard Webhooks specification has it.
    StandardWebhooks(StandardWebhooks),
    /// Any other HMAC of the body.
    Hmac(HmacScheme),
}

/// `webhook-id`, `webhook-timestamp` and `webhook-signature`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StandardWebhooks {
    /// `whsec_…` secrets; any of them will do, so that they can be rotated.
    pub secrets: Vec<Secret>,
    /// An environment variable that holds more secrets, comma-separated.
    pub secrets_env: Option<String>,
    /// A file that holds more secrets, one a line.
    pub secrets_file: Option<PathBuf>,
    /// How far a signature's time may be from ours.
    #[serde(deserialize_with = "units::duration")]
    pub tolerance: Duration,
}

/// Where the signature is, and what is signed.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HmacScheme {
    /// The header that holds the signature.
    pub header: String,
    /// The hash.
    pub algorithm: Algorithm,
    /// How the signature is written.
    pub encoding: Encoding,
    /// What the header looks like, such as `sha256={signature}` or `t={timestamp},v1={signature}`.
    pub format: SignatureFormat,
    /// The header that holds the timestamp, when it isn't in `format`.
    pub timestamp_header: Option<String>,
    /// What is signed, such as `{body}`, `{timestamp}.{body}` or `v0:{timestamp}:{body}`. Any other
    /// name in braces is a header's.
    pub signed: SignedContent,
    /// How far a signature's time may be from ours.
    #[serde(deserialize_with = "units::duration")]
    pub tolerance: Duration,
    /// The secrets, as the provider shows them; any of them will do, so that they can be rotated.
    pub secrets: Vec<Secret>,
    /// An environment variable that holds more secrets, comma-separated.
    pub secrets_env: Option<String>,
    /// A file that holds more secrets, one a line.
    pub secrets_file: Option<PathBuf>,
}

/// The tolerance of the Standard Webhooks specification's reference libraries.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);

impl Default for StandardWebhooks {
    fn default() -> Self {
        Self {
            secrets: Vec::new(),
            secrets_env: None,
            secrets_file: None,
            tolerance: TOLERANCE,
        }
    }
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
    /// HMAC-SHA-1: sound as an HMAC, and what some providers have.
    Sha1,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

/// How a signature is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Hexadecimal, of either case.
    Hex,
    /// Base64, of either alphabet, padded or not.
    Base64,
}

/// The layout of a signature header: fields, each a fixed text and then a value.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SignatureFormat {
    /// What separates the fields; white space does so too.
    pub separator: Option<char>,
    /// What comes before a signature.
    pub signature: String,
    /// What comes before the timestamp, if it is here.
    pub timestamp: Option<String>,
}

impl SignatureFormat {
    /// The signature is all there is.
    fn whole() -> Self {
        Self {
            separator: None,
            signature: String::new(),
            timestamp: None,
        }
    }
}

impl SignatureFormat {
    /// Whether a field could be taken for another, or be cut in two: no signature would be found.
    fn is_ambiguous(&self) -> bool {
        let Some(timestamp) = &self.timestamp else {
            return false;
        };
        let signature = &self.signature;
        // The timestamp's is tried first.
        signature.starts_with(timestamp.as_str())
            || self.separator.is_some_and(|separator| {
                timestamp.contains(separator) || signature.contains(separator)
            })
    }
}

impl TryFrom<String> for SignatureFormat {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?}: expected fields such as \"sha256={{signature}}\" or \"t={{timestamp}},v1={{signature}}\""
            )
        };
        let mut format = Self::whole();
        let mut signature = None;
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (before, tail) = rest.split_once('{').ok_or_else(wrong)?;
            let (name, tail) = tail.split_once('}').ok_or_else(wrong)?;
            let field = match name {
                "signature" => &mut signature,
                "timestamp" => &mut format.timestamp,
                _ => return Err(wrong()),
            };
            if before.contains(char::is_whitespace) || field.replace(before.to_owned()).is_some() {
                return Err(wrong());
            }
            rest = match tail.chars().next() {
                None => "",
                Some(separator) if ",;&".contains(separator) && tail.len() > 1 => {
                    format.separator = Some(separator);
                    &tail[1..]
                }
                Some(_) => return Err(wrong()),
            };
        }
        format.signature = signature.ok_or_else(wrong)?;
        if format.is_ambiguous() {
            return Err(format!(
                "{text:?}: expected each field to begin with a text of its own, such as \"t={{timestamp}},v1={{signature}}\""
            ));
        }
        Ok(format)
    }
}

/// What a signature is made of, in order.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SignedContent(pub Vec<SignedPart>);

/// A part of what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedPart {
    /// A fixed text.
    Text(String),
    /// The timestamp, as it was sent.
    Timestamp,
    /// A header's value, as it was sent.
    Header(String),
    /// The body's bytes.
    Body,
}

impl SignedContent {
    fn body() -> Self {
        Self(vec![SignedPart::Body])
    }
}

impl TryFrom<String> for SignedContent {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?}: expected something such as \"{{timestamp}}.{{body}}\", with the body once"
            )
        };
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (before, tail) = rest.split_once('{').unwrap_or((rest, ""));
            if !before.is_empty() {
                parts.push(SignedPart::Text(before.to_owned()));
            }
            if before.len() == rest.len() {
                break;
            }
            let (name, tail) = tail.split_once('}').ok_or_else(wrong)?;
            parts.push(match name {
                "body" => SignedPart::Body,
                "timestamp" => SignedPart::Timestamp,
                header if is_header_name(header) => SignedPart::Header(header.to_owned()),
                _ => return Err(wrong()),
            });
            rest = tail;
        }
        let bodies = parts.iter().filter(|part| **part == SignedPart::Body);
        if bodies.count() == 1 {
            Ok(Self(parts))
        } else {
            Err(wrong())
        }
    }
}

impl Verify {
    /// The secrets and the references to them, to be resolved.
    pub(super) fn secrets_mut(
        &mut self,
    ) -> (
        &'static str,
        &mut Vec<Secret>,
        &mut Option<String>,
        &mut Option<PathBuf>,
    ) {
        match self {
            Self::StandardWebhooks(scheme) => (
                "standard_webhooks",
                &mut scheme.secrets,
                &mut scheme.secrets_env,
                &mut scheme.secrets_file,
            ),
            Self::Hmac(scheme) => (
                "hmac",
                &mut scheme.secrets,
                &mut scheme.secrets_env,
                &mut scheme.secrets_file,
            ),
        }
    }

    pub(super) fn check(&self, key: &str) -> Checked {
        match self {
            Self::StandardWebhooks(scheme) => {
                let key = &format!("{key}.standard_webhooks");
                let secrets = format!("{key}.secrets");
                resolved(
                    &secrets,
                    scheme.secrets_env.is_some(),
                    scheme.secrets_file.is_some(),
                )?;
                some_secret(&secrets, &scheme.secrets)?;
                signing_secrets(&secrets, &scheme.secrets)?;
                timeout(&format!("{key}.tolerance"), scheme.tolerance)
            }
            Self::Hmac(scheme) => scheme.check(&format!("{key}.hmac")),
        }
    }
}

impl HmacScheme {
    fn check(&self, key: &str) -> Checked {
        let secrets = format!("{key}.secrets");
        resolved(
            &secrets,
            self.secrets_env.is_some(),
            self.secrets_file.is_some(),
        )?;
        some_secret(&secrets, &self.secrets)?;
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
        let places =
            u8::from(self.format.timestamp.is_some()) + u8::from(self.timestamp_header.is_some());
        let is_signed = self.signed.0.contains(&SignedPart::Timestamp);
        let signed = format!("{key}.signed");
        match (places, is_signed) {
            (0, false) | (1, true) => {}
            (0, true) => {
                return Err((
                    signed,
                    "holds {timestamp}, but neither format nor timestamp_header says where it is"
                        .to_owned(),
                ));
            }
            (1, false) => {
                return Err((signed, "leaves out {timestamp}: expected it there, since a time that isn't signed proves nothing".to_owned()));
            }
            _ => {
                return Err((
                    format!("{key}.timestamp_header"),
                    "contradicts format, which has {timestamp} too".to_owned(),
                ));
            }
        }
        timeout(&format!("{key}.tolerance"), self.tolerance)
    }
}

/// Without a secret nothing could be verified, and nobody should believe that something is.
fn some_secret(key: &str, secrets: &[Secret]) -> Checked {
    if secrets.is_empty() {
        return bad(key, "[]", "at least one secret");
    }
    Ok(())
}
