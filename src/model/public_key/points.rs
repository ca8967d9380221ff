//! Points of elliptic curves. ring reads a public key only while it verifies a signature: a key that
//! is no point would be a signature that never verifies.

use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::rand::SystemRandom;

/// A number below 2^255: its upper and its lower 128 bits.
type Number = (u128, u128);

/// 2^255 - 19, the modulus of Ed25519.
const P: Number = (u128::MAX >> 1, u128::MAX - 18);
/// (P - 1) / 2.
const HALF: Number = (u128::MAX >> 2, u128::MAX - 9);
/// The constant d of the curve (RFC 8032, 5.1).
const D: Number = (
    0x5203_6cee_2b6f_fe73_8cc7_4079_7779_e898,
    0x0070_0a4d_4141_d8ab_75eb_4dca_1359_78a3,
);

/// Whether the bytes are an uncompressed point of P-256: an agreement, unlike a signature, takes
/// any peer's key, and refuses one that is not on the curve.
pub(super) fn is_p256_point(bytes: &[u8]) -> bool {
    let own = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new());
    let peer = UnparsedPublicKey::new(&ECDH_P256, bytes);
    own.is_ok_and(|own| agree_ephemeral(own, &peer, |_| ()).is_ok())
}

/// Whether the bytes are a point of Ed25519 (RFC 8032, 5.1.3): a y below the modulus, and the sign
/// of an x whose square is (y² - 1) / (d y² + 1).
pub(super) fn is_ed25519_point(bytes: &[u8]) -> bool {
    let Some((low, high)) = bytes.split_first_chunk::<16>() else {
        return false;
    };
    let Ok(high) = <[u8; 16]>::try_from(high) else {
        return false;
    };
    let y = (u128::from_le_bytes(high) & P.0, u128::from_le_bytes(*low));
    let square = product(y, y);
    let above = sum(square, (P.0, P.1 - 1));
    let below = sum(product(D, square), (0, 1));
    // Euler's criterion, of the product: it differs from the quotient by a square.
    y < P && power(product(above, below), HALF) <= (0, 1)
}

fn sum(a: Number, b: Number) -> Number {
    let (low, carry) = a.1.overflowing_add(b.1);
    let high = a.0 + b.0 + u128::from(carry);
    if (high, low) < P {
        return (high, low);
    }
    let (low, borrow) = low.overflowing_sub(P.1);
    (high - P.0 - u128::from(borrow), low)
}

fn product(a: Number, b: Number) -> Number {
    by_bits(b, (0, 0), a, sum)
}

fn power(a: Number, exponent: Number) -> Number {
    by_bits(exponent, (0, 1), a, product)
}

/// Repeats an operation with `a` as often as `times` says, by doubling.
fn by_bits(times: Number, none: Number, a: Number, op: fn(Number, Number) -> Number) -> Number {
    let mut result = none;
    for word in [times.0, times.1] {
        for at in (0..u128::BITS).rev() {
            result = op(result, result);
            if word >> at & 1 == 1 {
                result = op(result, a);
            }
        }
    }
    result
}
