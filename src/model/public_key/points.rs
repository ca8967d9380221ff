//! Points of elliptic curves. ring reads a public key only while it verifies a signature: with a key
//! that is no point none would ever verify.

use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::rand::SystemRandom;

/// Whether the bytes are an uncompressed point of P-256: an agreement, unlike a signature, takes
/// any peer's key, and refuses one that is not on the curve.
pub(super) fn is_p256_point(bytes: &[u8]) -> bool {
    let own = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new());
    let peer = UnparsedPublicKey::new(&ECDH_P256, bytes);
    own.is_ok_and(|own| agree_ephemeral(own, &peer, |_| ()).is_ok())
}

/// Whether the bytes may be a point of Ed25519: their y is below the modulus, 2^255 - 19 (RFC 8032,
/// 5.1.3). Half of such numbers are the y of no point, which takes arithmetic of the curve to tell.
pub(super) fn may_be_ed25519_point(bytes: &[u8]) -> bool {
    let Some((low, rest)) = bytes.split_first() else {
        return false;
    };
    let Some((high, middle)) = rest.split_last() else {
        return false;
    };
    // The highest bit is the sign of x.
    let is_beyond = high | 0x80 == 0xff && *low >= 0xed && middle.iter().all(|byte| *byte == 0xff);
    bytes.len() == 32 && !is_beyond
}
