//! An HMAC of the body, and of what else the provider signs, in a header. The header may hold
//! several signatures, of which each secret may have made one.

use std::time::Duration;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use hyper::header::{HeaderMap, HeaderName};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq as _;

use crate::clock::Timestamp;
use crate::config::{
    Algorithm, Encoding, HmacScheme, Secret, SignatureFormat, SignedContent, SignedPart,
};
use crate::http::admission::signatures::{SignatureClaim, Verifier};

/// Signatures compared in one request. A provider sends one for each of its secrets, and has two
/// secrets while it rotates them.
pub(super) const MAX_SIGNATURES: usize = 16;

pub(super) const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// Verifies one source's HMACs.
pub(super) struct HmacVerifier {
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) algorithm: Algorithm,
    pub(super) encoding: Encoding,
    /// The header that holds the signatures.
    pub(super) header: HeaderName,
    pub(super) format: SignatureFormat,
    /// The header that holds the timestamp, if `format` doesn't.
    pub(super) timestamp_header: Option<HeaderName>,
    pub(super) signed: SignedContent,
    pub(super) tolerance: Duration,
}

impl HmacVerifier {
    /// The verifier of a checked setting.
    pub fn new(scheme: &HmacScheme) -> Self {
        let keys = scheme.secrets.iter().map(Secret::reveal).map(Vec::from);
        Self {
            keys: keys.collect(),
            algorithm: scheme.algorithm,
            encoding: scheme.encoding,
            header: header_name(&scheme.header),
            format: scheme.format.clone(),
            timestamp_header: scheme.timestamp_header.as_deref().map(header_name),
            signed: scheme.signed.clone(),
            tolerance: scheme.tolerance,
        }
    }

    /// The signatures that can be decoded, and the timestamp if there is one. `None` if a header is
    /// missing, doubled or no text, or if there are several timestamps.
    fn read_signatures<'a>(
        &self,
        headers: &'a HeaderMap,
    ) -> Option<(Vec<Vec<u8>>, Option<&'a str>)> {
        let mut signatures = Vec::new();
        let mut timestamp = match &self.timestamp_header {
            Some(name) => Some(single(headers, name)?),
            None => None,
        };
        for value in headers.get_all(&self.header) {
            let is_separator = |c: char| c.is_whitespace() || Some(c) == self.format.separator;
            for field in value.to_str().ok()?.split(is_separator) {
                if let Some(prefix) = &self.format.timestamp
                    && let Some(text) = field.strip_prefix(prefix.as_str())
                {
                    if timestamp.replace(text).is_some() {
                        return None;
                    }
                } else if let Some(text) = field.strip_prefix(self.format.signature.as_str())
                    && signatures.len() < MAX_SIGNATURES
                {
                    // A signature that can't be decoded may stand beside one that can.
                    signatures.extend(self.decode(text));
                }
            }
        }
        Some((signatures, timestamp))
    }

    fn decode(&self, text: &str) -> Option<Vec<u8>> {
        match self.encoding {
            Encoding::Hex => hex::decode(text).ok(),
            Encoding::Base64 => {
                let alphabet = if text.contains(['-', '_']) {
                    &URL_SAFE
                } else {
                    &STANDARD
                };
                GeneralPurpose::new(alphabet, LENIENT).decode(text).ok()
            }
        }
        .filter(|bytes| !bytes.is_empty())
    }

    /// The signed bytes before the body, and those after it.
    fn signed_around_body(
        &self,
        headers: &HeaderMap,
        timestamp: Option<&str>,
    ) -> Option<(Vec<u8>, Vec<u8>)> {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let mut signed = &mut before;
        for part in &self.signed.0 {
            match part {
                SignedPart::Text(text) => signed.extend_from_slice(text.as_bytes()),
                SignedPart::Timestamp => signed.extend_from_slice(timestamp?.as_bytes()),
                SignedPart::Header(name) => {
                    let value = single(headers, &header_name(name))?;
                    signed.extend_from_slice(value.as_bytes());
                }
                SignedPart::Body => signed = &mut after,
            }
        }
        Some((before, after))
    }

    /// Whether a timestamp, in whole seconds since the epoch, is within the tolerance of `now` on
    /// either side.
    fn is_recent(&self, text: &str, now: Timestamp) -> bool {
        let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let Some(seconds) = text.parse::<i64>().ok().filter(|_| is_number) else {
            return false;
        };
        let signed_at = Timestamp::from_millis(seconds.saturating_mul(1000));
        // The timestamp is truncated to the second, so that the request may have been signed at any
        // time up to the end of that second.
        let latest = signed_at.plus(Duration::from_millis(999));
        now.since(latest) <= self.tolerance && signed_at.since(now) <= self.tolerance
    }
}

impl Verifier for HmacVerifier {
    fn read_headers(&self, headers: &HeaderMap, now: Timestamp) -> Option<SignatureClaim> {
        let (signatures, timestamp) = self.read_signatures(headers)?;
        if signatures.is_empty() {
            return None;
        }
        if let Some(text) = timestamp
            && !self.is_recent(text, now)
        {
            return None;
        }
        let (before_body, after_body) = self.signed_around_body(headers, timestamp)?;
        Some(SignatureClaim {
            signatures,
            before_body,
            after_body,
        })
    }

    /// Compares every signature with every key's, each in constant time.
    fn verifies(&self, claim: &SignatureClaim, body: &[u8]) -> bool {
        let parts = [&claim.before_body, body, &claim.after_body];
        let mut verifies = false;
        for key in &self.keys {
            let expected = match self.algorithm {
                Algorithm::Sha1 => mac::<Hmac<Sha1>>(key, parts),
                Algorithm::Sha256 => mac::<Hmac<Sha256>>(key, parts),
                Algorithm::Sha512 => mac::<Hmac<Sha512>>(key, parts),
            };
            for signature in &claim.signatures {
                verifies |= bool::from(expected.ct_eq(signature));
            }
        }
        verifies
    }
}

fn header_name(text: &str) -> HeaderName {
    HeaderName::try_from(text).expect("a checked configuration's header names are valid")
}

/// The value of a header that the request has exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn mac<M: Mac + KeyInit>(key: &[u8], parts: [&[u8]; 3]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}
