//! Signatures of the Standard Webhooks specification.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::config::{Algorithm, Secret};

/// One `v1,<base64 HMAC-SHA256 of "{id}.{seconds}.{body}">` for each secret, separated by spaces,
/// so that a receiver can rotate secrets.
pub(in crate::delivery::levels) fn sign(
    secrets: &[Secret],
    id: &str,
    seconds: i64,
    body: &[u8],
) -> String {
    let head = format!("{id}.{seconds}.");
    let mut all = String::new();
    for secret in secrets {
        let key = secret
            .signing_key()
            .expect("a checked configuration's secrets are whsec_…");
        let mac = Algorithm::Sha256.hmac(&key, &[head.as_bytes(), body]);
        if !all.is_empty() {
            all.push(' ');
        }
        all.push_str("v1,");
        all.push_str(&STANDARD.encode(mac));
    }
    all
}

#[cfg(test)]
mod tests;
