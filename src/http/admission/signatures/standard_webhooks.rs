//! The Standard Webhooks specification: `webhook-id`, `webhook-timestamp` and `webhook-signature`.

use hyper::header::HeaderName;

use crate::config::{
    Algorithm, Encoding, SignatureFormat, SignedContent, SignedPart, StandardWebhooks,
};
use crate::http::admission::signatures::hmac::HmacVerifier;

/// The verifier of a checked setting: an HMAC-SHA-256 of `{webhook-id}.{timestamp}.{body}`.
pub(super) fn verifier(scheme: &StandardWebhooks) -> HmacVerifier {
    let keys = scheme.secrets.iter().map(|secret| {
        secret
            .signing_key()
            .expect("a checked configuration's secrets are whsec_…")
    });
    HmacVerifier {
        keys: keys.collect(),
        algorithm: Algorithm::Sha256,
        encoding: Encoding::Base64,
        header: HeaderName::from_static("webhook-signature"),
        format: SignatureFormat {
            separator: None,
            signature: "v1,".to_owned(),
            timestamp: None,
        },
        timestamp_header: Some(HeaderName::from_static("webhook-timestamp")),
        signed: SignedContent(vec![
            SignedPart::Header("webhook-id".to_owned()),
            SignedPart::Text(".".to_owned()),
            SignedPart::Timestamp,
            SignedPart::Text(".".to_owned()),
            SignedPart::Body,
        ]),
        tolerance: scheme.tolerance,
    }
}
