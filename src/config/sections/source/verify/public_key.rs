//! `[sources.NAME.verify.public_key]`: a signature that a public key verifies.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::config::rules::{Checked, bad, bad_public_key, quoted, resolved};
use crate::config::secrets::{PublicKeyList, Reference};
use crate::config::sections::source::verify::common::{TOLERANCE, has_signed_request};
use crate::config::sections::source::verify::context::{SourceContext, check_template};
use crate::config::sections::source::verify::signed_request::{
    Encoding, HeaderNames, SignedRequest, TimestampFormat,
};
use crate::config::units;
use crate::model::request::{SignatureFormat, Template};
use crate::model::{Level, PublicKey, PublicKeyAlgorithm};

/// The place of the signature, the content that is signed, and the keys.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PublicKeyScheme {
    /// The algorithm of the keys and of the signature.
    pub algorithm: PublicKeyAlgorithm,
    /// The header that holds the signature, or a list of headers.
    #[serde(default)]
    pub header: HeaderNames,
    /// The place of the signature, if it is in no header of its own, such as `{json./Signature}`.
    #[serde(default)]
    pub signature: Option<Template>,
    /// The encoding of the signature. Default: hexadecimal.
    #[serde(default = "hexadecimal")]
    pub encoding: Encoding,
    /// The layout of the header. Default: the signature and nothing else.
    #[serde(default = "SignatureFormat::whole")]
    pub format: SignatureFormat,
    /// The header that holds the timestamp.
    #[serde(default)]
    pub timestamp_header: Option<String>,
    /// The place of the timestamp, if it is in no header of its own.
    #[serde(default)]
    pub timestamp: Option<Template>,
    /// The format of the timestamp. Default: seconds.
    #[serde(default)]
    pub timestamp_format: TimestampFormat,
    /// The content that is signed. Default: `{body}`.
    #[serde(default = "Template::body")]
    pub signed: Template,
    /// The largest difference between the signature's time and relay's. Default: 5 min.
    #[serde(default = "default_tolerance", deserialize_with = "units::duration")]
    #[cfg_attr(test, schemars(with = "units::DurationText"))]
    pub tolerance: Duration,
    /// The keys, in hexadecimal, base64 or PEM; a signature by any of them verifies.
    #[serde(default)]
    pub public_keys: Vec<String>,
    /// A file that holds more keys, one a line or in PEM.
    #[serde(default)]
    pub public_keys_file: Option<PathBuf>,
    /// The URL of the certificate that holds the key, such as `{json./SigningCertURL}`.
    #[serde(default)]
    pub certificate_url: Option<Template>,
    /// The hosts that certificates are fetched from. A `*` stands for one label.
    #[serde(default)]
    pub certificate_hosts: Vec<CertificateHost>,
}

fn hexadecimal() -> Encoding {
    Encoding::Hex
}

fn default_tolerance() -> Duration {
    TOLERANCE
}

/// The name of a host, of which labels may be `*`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct CertificateHost(pub String);

impl CertificateHost {
    /// Whether a host's name matches. `*` stands for one label of at least three characters that
    /// doesn't begin with `s3`: `sns.s3.amazonaws.com` would be anybody's bucket.
    pub fn matches(&self, host: &str) -> bool {
        let (mut pattern, mut host) = (self.0.split('.'), host.split('.'));
        loop {
            match (pattern.next(), host.next()) {
                (None, None) => return true,
                (Some("*"), Some(label)) if is_wildcard_label(label) => {}
                (Some(expected), Some(label)) if expected == label => {}
                _ => return false,
            }
        }
    }

    /// Whether the pattern is a host's name whose last two labels are fixed.
    fn is_valid(&self) -> bool {
        let labels: Vec<&str> = self.0.split('.').collect();
        let is_fixed = |label: &&str| is_label(label);
        let fixed = labels.len().saturating_sub(2);
        labels.len() >= 2
            && labels[..fixed]
                .iter()
                .all(|label| *label == "*" || is_label(label))
            && labels[fixed..].iter().all(is_fixed)
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_wildcard_label(label: &str) -> bool {
    is_label(label) && label.len() >= 3 && !label.starts_with("s3")
}

has_signed_request!(PublicKeyScheme);

impl PublicKeyScheme {
    pub(super) fn references(&mut self, key: &str) -> Vec<Reference<'_>> {
        vec![Reference::PublicKeys(PublicKeyList {
            key: format!("{key}.public_keys"),
            public_keys: &mut self.public_keys,
            file: &mut self.public_keys_file,
        })]
    }

    pub(super) fn check(&self, key: &str, source: &SourceContext<'_>) -> Checked {
        resolved(
            &format!("{key}.public_keys"),
            false,
            self.public_keys_file.is_some(),
        )?;
        self.check_keys(key, source)?;
        self.signed_request().check(key, source)
    }

    fn check_keys(&self, key: &str, source: &SourceContext<'_>) -> Checked {
        let (keys_key, keys) = source.public_keys(key, &self.public_keys)?;
        let Some(url) = &self.certificate_url else {
            if keys.is_empty() {
                return bad(&keys_key, "[]", "at least one public key");
            }
            for (at, text) in keys.iter().enumerate() {
                if PublicKey::parse(text, self.algorithm).is_none() {
                    return bad_public_key(&keys_key, at, text, self.algorithm.expected());
                }
            }
            return Ok(());
        };
        let url_key = format!("{key}.certificate_url");
        if source.compiled < Level::Http {
            let expected = "a build that delivers (--features delivery): this one contacts nobody";
            return bad(&url_key, quoted(url.as_str()), expected);
        }
        if !keys.is_empty() {
            return Err((
                url_key,
                format!("contradicts {keys_key}: expected one of them"),
            ));
        }
        check_template(&url_key, url, false, source)?;
        let hosts = format!("{key}.certificate_hosts");
        if self.certificate_hosts.is_empty() {
            return bad(&hosts, "[]", "the hosts that certificates are fetched from");
        }
        for host in &self.certificate_hosts {
            if !host.is_valid() {
                let expected = "a host in lower case such as \"sns.*.amazonaws.com\"";
                return bad(&hosts, quoted(&host.0), expected);
            }
        }
        Ok(())
    }
}
