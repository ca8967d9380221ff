use proptest::prelude::*;
use ring::rand as entropy;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _,
};

use super::PublicKeyAlgorithm::{EcdsaP256Sha256, Ed25519, RsaSha1, RsaSha256};
use super::*;

/// RFC 8032, 7.1, test 3.
const ED25519_KEY: &str = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025";
const ED25519_SIGNATURE: &str = "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
                                 18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a";
const ED25519_MESSAGE: &[u8] = &[0xaf, 0x82];

fn ed25519_signature() -> Vec<u8> {
    hex::decode(ED25519_SIGNATURE).expect("hexadecimal")
}

#[test]
fn an_ed25519_key_is_read_in_every_form() {
    let raw = hex::decode(ED25519_KEY).expect("hexadecimal");
    let spki = [
        &hex::decode("302a300506032b6570032100").expect("hexadecimal")[..],
        &raw,
    ]
    .concat();
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        encode(&spki)
    );
    for text in [
        ED25519_KEY,
        &ED25519_KEY.to_uppercase(),
        &encode(&raw),
        encode(&raw).trim_end_matches('='),
        &encode(&spki),
        &hex::encode(&spki),
        &pem,
    ] {
        let key = PublicKey::parse(text, Ed25519).expect(text);
        assert!(
            key.verifies(ED25519_MESSAGE, &ed25519_signature()),
            "{text}"
        );
        assert!(!key.verifies(b"other", &ed25519_signature()));
        for algorithm in [EcdsaP256Sha256, RsaSha256, RsaSha1] {
            assert_eq!(PublicKey::parse(text, algorithm), None, "{algorithm:?}");
        }
    }
    let standard = format!("whpk_{}", encode(&raw));
    let key = PublicKey::parse_standard(&standard).expect("a key");
    assert!(key.verifies(ED25519_MESSAGE, &ed25519_signature()));
    assert_eq!(PublicKey::parse_standard(ED25519_KEY), None);
}

#[test]
fn ed25519_is_strict() {
    for point in SMALL_ORDER {
        assert_eq!(PublicKey::parse(point, Ed25519), None, "{point}");
        let mut negative = hex::decode(point).expect("hexadecimal");
        negative[31] |= 0x80;
        assert_eq!(PublicKey::parse(&hex::encode(negative), Ed25519), None);
    }
    let key = PublicKey::parse(ED25519_KEY, Ed25519).expect("a key");
    let mut signature = ed25519_signature();
    // s + L, the same number modulo the order of the group.
    let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
        .expect("hexadecimal");
    let mut carry = 0_u16;
    for (byte, add) in signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert!(!key.verifies(ED25519_MESSAGE, &signature));
    assert!(!key.verifies(ED25519_MESSAGE, &ed25519_signature()[..63]));
    assert!(!key.verifies(ED25519_MESSAGE, b""));
}

#[test]
fn p256_signatures_verify_in_both_forms() {
    let random = entropy::SystemRandom::new();
    for signing in [
        &ECDSA_P256_SHA256_ASN1_SIGNING,
        &ECDSA_P256_SHA256_FIXED_SIGNING,
    ] {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(signing, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(signing, pkcs8.as_ref(), &random).expect("a key");
        let signature = pair.sign(&random, b"message").expect("a signature");
        let text = hex::encode(pair.public_key());
        let key = PublicKey::parse(&text, EcdsaP256Sha256).expect("a key");
        assert!(key.verifies(b"message", signature.as_ref()));
        assert!(!key.verifies(b"massage", signature.as_ref()));
        assert_eq!(PublicKey::parse(&text, Ed25519), None);
    }
}

/// The numbers of an RSA key of so many bytes, as PKCS #1 has them. They are no products of primes,
/// which nobody checks.
fn rsa(bytes: usize, last: u8, exponent: &[u8]) -> Vec<u8> {
    let mut modulus = vec![0xff; bytes + 1];
    modulus[0] = 0;
    modulus[bytes] = last;
    der(0x30, &[der(2, &modulus), der(2, exponent)].concat())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("short").to_be_bytes();
    [&[tag, 0x82][..], &length, content].concat()
}

fn rsa_spki(numbers: &[u8]) -> String {
    let key = der(3, &[&[0][..], numbers].concat());
    let rsa = hex::decode("300d06092a864886f70d0101010500").expect("hexadecimal");
    hex::encode(der(0x30, &[rsa, key].concat()))
}

#[test]
fn an_rsa_key_has_at_least_2048_bits() {
    let spki = |bytes: usize| rsa_spki(&rsa(bytes, 0xff, &[1, 0, 1]));
    assert!(PublicKey::parse(&spki(256), RsaSha256).is_some());
    assert!(PublicKey::parse(&spki(256), RsaSha1).is_some());
    assert_eq!(PublicKey::parse(&spki(255), RsaSha256), None);
    assert_eq!(PublicKey::parse(&spki(127), RsaSha256), None);
    assert_eq!(PublicKey::parse(&spki(256), Ed25519), None);
}

#[test]
fn an_rsa_key_whose_numbers_cannot_be_one_is_refused() {
    for numbers in [
        rsa(256, 0xfe, &[1, 0, 1]),
        rsa(1025, 0xff, &[1, 0, 1]),
        rsa(256, 0xff, &[1]),
        rsa(256, 0xff, &[1, 0, 0]),
        rsa(256, 0xff, &[4, 0, 0, 0, 1]),
        rsa(256, 0xff, &[0x83]),
        [&rsa(256, 0xff, &[3])[..], &[0]].concat(),
    ] {
        let spki = rsa_spki(&numbers);
        assert_eq!(PublicKey::parse(&spki, RsaSha256), None, "{spki}");
    }
}

#[test]
fn an_rsa_key_may_be_in_pkcs1() {
    let numbers = rsa(256, 0xff, &[1, 0, 1]);
    let expected = PublicKey::parse(&rsa_spki(&numbers), RsaSha256).expect("a key");
    let text = base64::engine::general_purpose::STANDARD.encode(&numbers);
    let (first, second) = text.split_at(64);
    let pem = format!(
        "-----BEGIN RSA PUBLIC KEY-----\n{first}\n{second}\n-----END RSA PUBLIC KEY-----\n"
    );
    for text in [&pem, &text, &hex::encode(&numbers)] {
        assert_eq!(PublicKey::parse(text, RsaSha256).as_ref(), Some(&expected));
        assert_eq!(PublicKey::parse(text, EcdsaP256Sha256), None, "{text}");
        assert_eq!(PublicKey::parse(text, Ed25519), None, "{text}");
    }
}

#[test]
fn a_key_beyond_the_modulus_of_ed25519_is_refused() {
    let modulus = format!("ed{}7f", "ff".repeat(30));
    let beyond = format!("f0{}ff", "ff".repeat(30));
    for text in ["ff".repeat(32), modulus, beyond] {
        assert_eq!(PublicKey::parse(&text, Ed25519), None, "{text}");
        let standard = base64::engine::general_purpose::STANDARD
            .encode(hex::decode(&text).expect("hexadecimal"));
        assert_eq!(PublicKey::parse_standard(&format!("whpk_{standard}")), None);
    }
}

#[test]
fn every_key_of_a_key_pair_of_ed25519_is_taken() {
    for seed in 0..20 {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a seed");
        let text = hex::encode(pair.public_key());
        assert!(PublicKey::parse(&text, Ed25519).is_some(), "{text}");
    }
}

#[test]
fn the_key_of_a_certificate_is_read() {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    let names = vec!["sns.example".to_owned()];
    let parameters = rcgen::CertificateParams::new(names).expect("a name");
    let certificate = parameters.self_signed(&pair).expect("a certificate");
    let pem = certificate.pem();
    let own = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pair.serialize_der()).expect("a key");
    let signature = own.sign(b"message");
    let key = PublicKey::of_certificate(pem.as_bytes(), Ed25519).expect("a key");
    assert!(key.verifies(b"message", signature.as_ref()));
    assert_eq!(PublicKey::of_certificate(pem.as_bytes(), RsaSha256), None);
    assert_eq!(PublicKey::parse(&pem, Ed25519), Some(key));
}

proptest! {
    #[test]
    fn no_text_panics(
        text in "(-----BEGIN (PUBLIC KEY|CERTIFICATE)-----|whpk_|)[A-Za-z0-9+/=\n -]{0,80}",
        bytes in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        for algorithm in [Ed25519, EcdsaP256Sha256, RsaSha256, RsaSha1] {
            let _ = PublicKey::parse(&text, algorithm);
            let _ = PublicKey::parse(&hex::encode(&bytes), algorithm);
            let _ = PublicKey::of_certificate(text.as_bytes(), algorithm);
        }
        let _ = PublicKey::parse_standard(&text);
        let _ = rsa_numbers(&bytes);
        let key = PublicKey::parse(ED25519_KEY, Ed25519).expect("a key");
        prop_assert!(!key.verifies(b"message", &bytes));
    }
}
