//! The Standard Webhooks specification: an id, a timestamp and signatures, of `v1` by a secret or
//! of `v1a` by a public key, in headers that begin with `webhook-` or with `svix-`.

use std::borrow::Cow;
use std::time::Duration;

use hyper::header::HeaderName;

use crate::clock::Timestamp;
use crate::config::{Algorithm, Encoding, StandardWebhooks, TimestampFormat};
use crate::http::admission::signatures::contract::{Key, Rejection, SignedId, Verified, Verifier};
use crate::http::admission::signatures::hmac::matching_key;
use crate::http::admission::signatures::signed_request::{
    MAX_SIGNATURES, check_time, decode, text_header,
};
use crate::model::PublicKey;
use crate::model::request::RequestView;

/// Verifies one source's signatures.
pub(super) struct StandardWebhooksVerifier {
    keys: Vec<Key>,
    public_keys: Vec<PublicKey>,
    tolerance: Duration,
}

/// The headers of one name.
struct Headers {
    id: HeaderName,
    timestamp: HeaderName,
    signature: HeaderName,
}

/// The two names: that of the specification, and that of the service which it comes from.
static FAMILIES: [Headers; 2] = [
    Headers {
        id: HeaderName::from_static("webhook-id"),
        timestamp: HeaderName::from_static("webhook-timestamp"),
        signature: HeaderName::from_static("webhook-signature"),
    },
    Headers {
        id: HeaderName::from_static("svix-id"),
        timestamp: HeaderName::from_static("svix-timestamp"),
        signature: HeaderName::from_static("svix-signature"),
    },
];

/// The claim that a request's headers make.
struct HeaderClaim<'a> {
    id: &'a str,
    id_header: SignedId,
    timestamp: &'a str,
    /// Signatures by a secret.
    v1: Vec<Vec<u8>>,
    /// Signatures by a private key.
    v1a: Vec<Vec<u8>>,
}

impl StandardWebhooksVerifier {
    /// The verifier of a checked setting.
    pub fn new(scheme: &StandardWebhooks) -> Self {
        let keys = scheme.secrets.iter().map(|secret| {
            let key = secret.signing_key();
            Key::from(key.expect("a checked configuration's secrets are whsec_…"))
        });
        let public_keys = scheme.public_keys.iter().map(|text| {
            PublicKey::parse_standard(text).expect("a checked configuration's keys are whpk_…")
        });
        Self {
            keys: keys.collect(),
            public_keys: public_keys.collect(),
            tolerance: scheme.tolerance,
        }
    }

    fn read<'a>(
        &self,
        request: &RequestView<'a>,
        now: Timestamp,
    ) -> Result<HeaderClaim<'a>, Rejection> {
        let [standard, svix] = &FAMILIES;
        let has = |headers: &Headers| request.headers.contains_key(&headers.signature);
        let (headers, other) = match (has(standard), has(svix)) {
            // Nothing says which of two signed requests is meant.
            (true, true) => {
                let both = format!("{} or {}", standard.signature, svix.signature);
                return Err(Rejection::Unreadable(both));
            }
            (false, true) => (svix, standard),
            _ => (standard, svix),
        };
        let mut claim = HeaderClaim {
            id: text_header(request, &headers.id)?,
            id_header: SignedId {
                signed: headers.id.as_str(),
                unsigned: other.id.as_str(),
            },
            timestamp: text_header(request, &headers.timestamp)?,
            v1: Vec::new(),
            v1a: Vec::new(),
        };
        claim.read_signatures(request, &headers.signature)?;
        if claim.v1.is_empty() && claim.v1a.is_empty() {
            return Err(Rejection::Unreadable(headers.signature.to_string()));
        }
        let format = TimestampFormat::Seconds;
        check_time(claim.timestamp, format, self.tolerance, now)?;
        Ok(claim)
    }
}

impl HeaderClaim<'_> {
    fn read_signatures(
        &mut self,
        request: &RequestView<'_>,
        name: &HeaderName,
    ) -> Result<(), Rejection> {
        let mut is_there = false;
        for value in request.headers.get_all(name) {
            is_there = true;
            let value = value.to_str();
            let value = value.map_err(|_| Rejection::Unreadable(name.to_string()))?;
            for field in value.split_ascii_whitespace() {
                let (signatures, text) = match field.split_once(',') {
                    Some(("v1", text)) => (&mut self.v1, text),
                    Some(("v1a", text)) => (&mut self.v1a, text),
                    _ => continue,
                };
                if signatures.len() < MAX_SIGNATURES {
                    signatures.extend(decode(text, Encoding::Base64));
                }
            }
        }
        if is_there {
            Ok(())
        } else {
            Err(Rejection::NoHeader(name.to_string()))
        }
    }
}

impl Verifier for StandardWebhooksVerifier {
    fn check_head(&self, request: &RequestView<'_>, now: Timestamp) -> Result<(), Rejection> {
        self.read(request, now).map(|_| ())
    }

    fn verify(
        &self,
        request: &RequestView<'_>,
        now: Timestamp,
        learned: &[Key],
    ) -> Result<Verified, Rejection> {
        let claim = self.read(request, now)?;
        let head = format!("{}.{}.", claim.id, claim.timestamp);
        let content = [Cow::Borrowed(head.as_bytes()), Cow::Borrowed(request.body)];
        let keys = self.keys.iter().chain(learned);
        let id = Some(claim.id_header);
        let key = matching_key(Algorithm::Sha256, keys, &content, &claim.v1);
        if key.is_some() {
            return Ok(Verified { key, id });
        }
        if !self.public_keys.is_empty() && !claim.v1a.is_empty() {
            let message = content.concat();
            let verifies = |key: &PublicKey| {
                let mut signatures = claim.v1a.iter();
                signatures.any(|signature| key.verifies(&message, signature))
            };
            if self.public_keys.iter().any(verifies) {
                return Ok(Verified { key: None, id });
            }
        }
        let has_secrets = !self.keys.is_empty() || !learned.is_empty();
        match (has_secrets && !claim.v1.is_empty(), claim.v1a.is_empty()) {
            (true, _) => Err(Rejection::Mismatch),
            (false, false) if !self.public_keys.is_empty() => Err(Rejection::Mismatch),
            (false, false) => Err(unknown("v1a", "public_keys")),
            (false, true) => Err(unknown("v1", "secrets")),
        }
    }
}

fn unknown(version: &str, setting: &str) -> Rejection {
    Rejection::UnknownKey(format!(
        "it is signed as {version}, and there are no {setting}"
    ))
}
