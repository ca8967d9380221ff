//! Public keys of providers, and the signatures that they verify.

use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ED25519,
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use rustls_pki_types::pem::{PemObject as _, SectionKind};
use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm,
    SubjectPublicKeyInfoDer, alg_id,
};
use serde::Deserialize;
use webpki::{EndEntityCert, RawPublicKeyEntity};

/// Fetches the certificate at an `https` URL, in PEM. It blocks. `None` if it can't be fetched.
///
/// The address of the host is a public one, the port is 443, no redirect is followed, and the
/// answer has at most 64 KiB.
pub type FetchCertificate = Arc<dyn Fn(&str) -> Option<Vec<u8>> + Send + Sync>;

/// The algorithm of a public key and of its signatures. It comes from the configuration, never from
/// a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PublicKeyAlgorithm {
    /// Ed25519. Keys and signatures with points of small order are refused.
    Ed25519,
    /// ECDSA on the curve P-256, with SHA-256; signatures in ASN.1 or as two numbers of 32 bytes.
    EcdsaP256Sha256,
    /// RSA (PKCS #1, version 1.5) with SHA-256, and at least 2 048 bits.
    RsaSha256,
    /// RSA with SHA-1, which some providers still use, and at least 2 048 bits.
    RsaSha1,
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: PublicKeyAlgorithm,
    /// The raw key: a point, or for RSA the modulus and the exponent in DER.
    bytes: Vec<u8>,
}

/// The sizes of an RSA key's modulus and of its exponent that ring takes, in bits.
const MODULUS_BITS: RangeInclusive<usize> = 2048..=8192;
const EXPONENT_BITS: RangeInclusive<usize> = 2..=33;

impl PublicKeyAlgorithm {
    /// The form that a key is expected to have, for errors.
    pub fn expected(self) -> &'static str {
        match self {
            Self::Ed25519 => "an Ed25519 public key, in hex, base64 or PEM",
            Self::EcdsaP256Sha256 => "a P-256 public key, in base64 or PEM",
            Self::RsaSha256 | Self::RsaSha1 => {
                "an RSA public key of at least 2048 bits, in base64 or PEM"
            }
        }
    }

    fn identifier(self) -> AlgorithmIdentifier {
        match self {
            Self::Ed25519 => alg_id::ED25519,
            Self::EcdsaP256Sha256 => alg_id::ECDSA_P256,
            Self::RsaSha256 | Self::RsaSha1 => alg_id::RSA_ENCRYPTION,
        }
    }
}

impl PublicKey {
    /// Reads a key: in PEM, or in hexadecimal or base64 of its raw bytes or of its
    /// `SubjectPublicKeyInfo`. None if it is no key of this algorithm, or a weak one.
    pub fn parse(text: &str, algorithm: PublicKeyAlgorithm) -> Option<Self> {
        let text = text.trim();
        // PKCS #1, for which `rustls_pki_types` has no kind.
        let pkcs1 = text.strip_prefix("-----BEGIN RSA PUBLIC KEY-----");
        let pkcs1 = pkcs1.and_then(|rest| rest.strip_suffix("-----END RSA PUBLIC KEY-----"));
        if pkcs1.is_none() && text.contains("-----BEGIN ") {
            return Self::from_pem(text, algorithm);
        }
        let text = pkcs1.unwrap_or(text);
        let compact: String = text.split_ascii_whitespace().collect();
        let bytes = hex::decode(&compact).ok().or_else(|| base64(&compact))?;
        Self::from_bytes(&bytes, algorithm)
    }

    /// Reads the key of a `whpk_…` text of the Standard Webhooks specification.
    pub fn parse_standard(text: &str) -> Option<Self> {
        let bytes = base64(text.trim().strip_prefix("whpk_")?)?;
        Self::new(PublicKeyAlgorithm::Ed25519, bytes)
    }

    /// Reads the key of a certificate in PEM.
    pub fn of_certificate(pem: &[u8], algorithm: PublicKeyAlgorithm) -> Option<Self> {
        let certificate = CertificateDer::from_pem_slice(pem).ok()?;
        let certificate = EndEntityCert::try_from(&certificate).ok()?;
        Self::of_spki(&certificate.subject_public_key_info(), algorithm)
    }

    fn from_pem(text: &str, algorithm: PublicKeyAlgorithm) -> Option<Self> {
        let (kind, bytes): (SectionKind, Vec<u8>) =
            <(SectionKind, Vec<u8>)>::from_pem_slice(text.as_bytes()).ok()?;
        match kind {
            SectionKind::PublicKey => {
                Self::of_spki(&SubjectPublicKeyInfoDer::from(bytes), algorithm)
            }
            SectionKind::Certificate => Self::of_certificate(text.as_bytes(), algorithm),
            _ => None,
        }
    }

    fn from_bytes(bytes: &[u8], algorithm: PublicKeyAlgorithm) -> Option<Self> {
        let is_raw = match algorithm {
            PublicKeyAlgorithm::Ed25519 => bytes.len() == 32,
            PublicKeyAlgorithm::EcdsaP256Sha256 => bytes.len() == 65,
            PublicKeyAlgorithm::RsaSha256 | PublicKeyAlgorithm::RsaSha1 => {
                rsa_numbers(bytes).is_some()
            }
        };
        if is_raw {
            return Self::new(algorithm, bytes.to_vec());
        }
        Self::of_spki(&SubjectPublicKeyInfoDer::from(bytes), algorithm)
    }

    fn of_spki(info: &SubjectPublicKeyInfoDer<'_>, algorithm: PublicKeyAlgorithm) -> Option<Self> {
        let entity = RawPublicKeyEntity::try_from(info).ok()?;
        let reader = KeyReader {
            identifier: algorithm.identifier(),
            key: OnceLock::new(),
        };
        entity.verify_signature(&reader, b"", b"").ok()?;
        Self::new(algorithm, reader.key.into_inner()?)
    }

    fn new(algorithm: PublicKeyAlgorithm, bytes: Vec<u8>) -> Option<Self> {
        let is_strong = match algorithm {
            PublicKeyAlgorithm::Ed25519 => may_be_ed25519_point(&bytes) && !has_small_order(&bytes),
            PublicKeyAlgorithm::EcdsaP256Sha256 => bytes.len() == 65 && bytes[0] == 4,
            PublicKeyAlgorithm::RsaSha256 | PublicKeyAlgorithm::RsaSha1 => rsa_numbers(&bytes)
                .is_some_and(|(modulus, exponent)| {
                    is_odd_of(modulus, &MODULUS_BITS) && is_odd_of(exponent, &EXPONENT_BITS)
                }),
        };
        is_strong.then_some(Self { algorithm, bytes })
    }

    /// Whether the signature is this key's, of this message.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let verifies = |by: &'static dyn VerificationAlgorithm| {
            let key = UnparsedPublicKey::new(by, &self.bytes);
            key.verify(message, signature).is_ok()
        };
        match self.algorithm {
            PublicKeyAlgorithm::Ed25519 => {
                // A signature begins with a point.
                let is_strict = signature.get(..32).is_some_and(|r| !has_small_order(r));
                is_strict && verifies(&ED25519)
            }
            PublicKeyAlgorithm::EcdsaP256Sha256 => {
                verifies(&ECDSA_P256_SHA256_ASN1) || verifies(&ECDSA_P256_SHA256_FIXED)
            }
            PublicKeyAlgorithm::RsaSha256 => verifies(&RSA_PKCS1_2048_8192_SHA256),
            PublicKeyAlgorithm::RsaSha1 => verifies(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY),
        }
    }
}

/// Whether a text is a certificate in PEM.
pub fn is_certificate(pem: &[u8]) -> bool {
    let certificate = CertificateDer::from_pem_slice(pem);
    certificate.is_ok_and(|certificate| EndEntityCert::try_from(&certificate).is_ok())
}

/// Takes the key out of a `SubjectPublicKeyInfo` that `webpki` parses, if it is of this algorithm.
#[derive(Debug)]
struct KeyReader {
    identifier: AlgorithmIdentifier,
    key: OnceLock<Vec<u8>>,
}

impl SignatureVerificationAlgorithm for KeyReader {
    fn verify_signature(
        &self,
        public_key: &[u8],
        _message: &[u8],
        _signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        self.key
            .set(public_key.to_vec())
            .map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.identifier
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.identifier
    }
}

/// The y coordinates, little-endian, of the points of Ed25519 whose order divides 8, with the two
/// that are not reduced. Such a key verifies signatures that anybody can make.
const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

fn has_small_order(point: &[u8]) -> bool {
    let mut y = point.to_vec();
    if let Some(last) = y.last_mut() {
        // The highest bit is the sign of x.
        *last &= 0x7f;
    }
    let y = hex::encode(y);
    SMALL_ORDER.contains(&y.as_str())
}

/// Whether the bytes may be a point of Ed25519: their y is below the modulus, 2^255 - 19 (RFC 8032,
/// 5.1.3). Half of such numbers are the y of no point, which takes arithmetic of the curve to tell.
fn may_be_ed25519_point(bytes: &[u8]) -> bool {
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

/// The modulus and the exponent of an RSA key (PKCS #1).
fn rsa_numbers(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (numbers, after) = der_element(0x30, key)?;
    let (modulus, rest) = der_element(0x02, numbers)?;
    let (exponent, rest) = der_element(0x02, rest)?;
    (after.is_empty() && rest.is_empty()).then_some((modulus, exponent))
}

/// Whether a number is odd, positive, and of a size. The public numbers of RSA are.
fn is_odd_of(number: &[u8], sizes: &RangeInclusive<usize>) -> bool {
    let is_positive = number.first().is_some_and(|first| first >> 7 == 0);
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    let Some(first) = number.get(zeros) else {
        return false;
    };
    // The zeros of one byte are at most eight.
    let bits = (number.len() - zeros) * 8 - first.leading_zeros() as usize;
    let is_odd = number.last().is_some_and(|last| last & 1 == 1);
    is_positive && is_odd && sizes.contains(&bits)
}

/// The content of the first element of a DER text, if it has this tag, and the text after it.
fn der_element(tag: u8, text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = text.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // Up to 65 535 bytes: the largest RSA key has 1 KiB.
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => {
            let bytes = rest.first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*bytes)), &rest[2..])
        }
        _ => return None,
    };
    let element = rest.split_at_checked(length);
    element.filter(|_| found == tag)
}

/// Decodes base64 of either alphabet, padded or not.
pub fn base64(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if text.contains(['-', '_']) {
        &URL_SAFE
    } else {
        &STANDARD
    };
    GeneralPurpose::new(alphabet, LENIENT).decode(text).ok()
}

#[cfg(test)]
mod tests;
