use proptest::prelude::*;
use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

use super::*;

fn params() -> CertificateParams {
    let mut params = CertificateParams::new(vec!["a.example".to_owned()]).expect("a name");
    params.not_before = date_time_ymd(1999, 12, 31);
    params.not_after = date_time_ymd(2051, 2, 3);
    params.distinguished_name.push(DnType::CommonName, "Grüße");
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Acme");
    params
}

#[test]
fn a_certificates_issuer_and_dates_are_read() {
    let key = KeyPair::generate().expect("a key");
    let own = params().self_signed(&key).expect("a certificate");
    let facts = facts(own.der()).expect("it can be read");
    let time = |text: &str| {
        let time: jiff::Timestamp = text.parse().expect("a time");
        Timestamp::from_millis(time.as_millisecond())
    };
    assert_eq!(facts.issuer, "Grüße");
    assert!(facts.is_self_signed);
    assert_eq!(facts.not_before, time("1999-12-31T00:00:00Z"));
    assert_eq!(facts.not_after, time("2051-02-03T00:00:00Z"));
}

proptest! {
    #[test]
    fn no_bytes_panic(
        at in 0usize..600,
        byte: u8,
        bytes in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let _ = facts(&bytes);
        let key = KeyPair::generate().expect("a key");
        let mut der = params().self_signed(&key).expect("a certificate").der().to_vec();
        let at = at % der.len();
        der[at] = byte;
        let _ = facts(&der);
        let _ = facts(&der[..at]);
    }
}
