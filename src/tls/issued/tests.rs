use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, CustomExtension, IsCa, Issuer, KeyIdMethod};
use rcgen::{KeyPair, SerialNumber};

use super::*;

/// A certificate of an authority with this identifier of its key.
fn certificate(key: &[u8], serial: &[u8]) -> Vec<u8> {
    let mut authority = CertificateParams::new(Vec::new()).expect("no name");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_identifier_method = KeyIdMethod::PreSpecified(key.to_vec());
    let issuer = Issuer::new(authority, KeyPair::generate().expect("a key"));
    let mut own = CertificateParams::new(vec!["a.example".to_owned()]).expect("a name");
    own.serial_number = Some(SerialNumber::from_slice(serial));
    own.use_authority_key_identifier_extension = true;
    // Another extension, which is critical.
    own.custom_extensions = vec![CustomExtension::new_acme_identifier(&[7; 32])];
    let key = KeyPair::generate().expect("a key");
    let own = own.signed_by(&key, &issuer).expect("a certificate");
    own.der().to_vec()
}

#[test]
fn the_example_of_rfc_9773_has_its_name() {
    // Section 4.1: the serial number begins with a high bit, and so has a zero before it.
    let key = [
        0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0, 0xae,
        0x2c, 0xde, 0x01, 0xc8, 0xd4,
    ];
    let der = certificate(&key, &[0x87, 0x65, 0x43, 0x21]);
    let found = issued(&der).expect("it names both");
    let name = [found.authority_key, found.serial].map(base64url).join(".");
    assert_eq!(name, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
}

#[test]
fn a_certificate_that_does_not_name_its_authoritys_key_has_no_name() {
    let own = CertificateParams::new(vec!["a.example".to_owned()]).expect("a name");
    let key = KeyPair::generate().expect("a key");
    let own = own.self_signed(&key).expect("a certificate");
    assert_eq!(issued(own.der()), None);
}

proptest! {
    #[test]
    fn no_bytes_panic(
        at in 0usize..600,
        byte: u8,
        bytes in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let _ = issued(&bytes);
        let mut der = certificate(&[1; 20], &[1]);
        let at = at % der.len();
        der[at] = byte;
        let _ = issued(&der);
        let _ = issued(&der[..at]);
    }
}
