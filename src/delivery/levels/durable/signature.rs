//! Signatures of the Standard Webhooks specification.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::config::Secret;

/// One `v1,<base64 HMAC-SHA256 of "{id}.{seconds}.{body}">` for each secret, separated by spaces,
/// so that a receiver can rotate secrets.
pub(in crate::delivery::levels) fn sign(
    secrets: &[Secret],
    id: &str,
    seconds: i64,
    body: &[u8],
) -> String {
    let mut all = String::new();
    for secret in secrets {
        let key = secret
            .signing_key()
            .expect("a checked configuration's secrets are whsec_…");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes a key of any length");
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body);
        if !all.is_empty() {
            all.push(' ');
        }
        all.push_str("v1,");
        all.push_str(&STANDARD.encode(mac.finalize().into_bytes()));
    }
    all
}

#[cfg(test)]
mod tests;
