//! A certificate's issuer and dates, for error messages and for the check of a pinned certificate:
//! rustls checks these fields and exposes none of them. Reads the few fields before the key
//! (RFC 5280, 4.1).

use jiff::civil::DateTime;

use crate::clock::Timestamp;

/// Characters of a name that are shown.
const MAX_NAME: usize = 100;

/// DER's types (X.690, 8).
const INTEGER: u8 = 0x02;
const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const BMP_STRING: u8 = 0x1e;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// The version, which is left out in version 1.
const VERSION: u8 = 0xa0;

/// The common name and the organisation (2.5.4.3 and 2.5.4.10).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANISATION: &[u8] = &[0x55, 0x04, 0x0a];

/// The fields.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// The name of its signer.
    pub issuer: String,
    /// Whether its subject signed it.
    pub is_self_signed: bool,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

/// The fields of a certificate; none if they can't be read.
pub(super) fn facts(der: &[u8]) -> Option<Facts> {
    let certificate = only(der, SEQUENCE)?;
    let (body, _) = take(certificate, SEQUENCE)?;
    let body = take(body, VERSION).map_or(body, |(_, rest)| rest);
    let (_serial, body) = take(body, INTEGER)?;
    let (_algorithm, body) = take(body, SEQUENCE)?;
    let (issuer, body) = take(body, SEQUENCE)?;
    let (validity, body) = take(body, SEQUENCE)?;
    let (subject, _) = take(body, SEQUENCE)?;
    let (not_before, validity) = time(validity)?;
    let (not_after, _) = time(validity)?;
    Some(Facts {
        issuer: name(issuer),
        is_self_signed: issuer == subject,
        not_before,
        not_after,
    })
}

/// The content of a value of this type, and what follows it.
fn take(der: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    if tag != wanted {
        return None;
    }
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        // Three bytes of length are 16 MiB.
        let bytes = usize::from(first & 0x7f);
        let (length, rest) = rest.split_at_checked(bytes).filter(|_| bytes <= 3)?;
        let length = length
            .iter()
            .fold(0, |all, &byte| all << 8 | usize::from(byte));
        (length, rest)
    };
    rest.split_at_checked(length)
}

/// The content of a value of this type that is all there is.
fn only(der: &[u8], wanted: u8) -> Option<&[u8]> {
    take(der, wanted).and_then(|(content, rest)| rest.is_empty().then_some(content))
}

/// A distinguished name in short: its common name, or else its organisation.
fn name(mut der: &[u8]) -> String {
    let (mut common, mut organisation) = (None, None);
    while let Some((set, rest)) = take(der, SET) {
        der = rest;
        let pair = take(set, SEQUENCE).and_then(|(pair, _)| take(pair, OBJECT_ID));
        match pair {
            Some((COMMON_NAME, value)) => common = text(value),
            Some((ORGANISATION, value)) => organisation = text(value),
            _ => {}
        }
    }
    common
        .or(organisation)
        .unwrap_or_else(|| "(without a name)".to_owned())
}

fn text(der: &[u8]) -> Option<String> {
    let (content, _) = take(der, *der.first()?)?;
    let text = if der[0] == BMP_STRING {
        let pairs = content.chunks_exact(2);
        let units: Vec<u16> = pairs
            .map(|two| u16::from_be_bytes([two[0], two[1]]))
            .collect();
        String::from_utf16_lossy(&units)
    } else {
        String::from_utf8_lossy(content).into_owned()
    };
    Some(text.chars().take(MAX_NAME).collect())
}

/// A time (RFC 5280, 4.1.2.5), and what follows it.
fn time(der: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (text, rest) = if let Some((short, rest)) = take(der, UTC_TIME) {
        let short = std::str::from_utf8(short).ok()?;
        // Two digits of a year stand for 1950 to 2049.
        let century = if short >= "50" { "19" } else { "20" };
        (format!("{century}{short}"), rest)
    } else {
        let (long, rest) = take(der, GENERALIZED_TIME)?;
        (std::str::from_utf8(long).ok()?.to_owned(), rest)
    };
    let time = DateTime::strptime("%Y%m%d%H%M%SZ", &text).ok()?;
    let time = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    let millis = time.timestamp().as_millisecond();
    Some((Timestamp::from_millis(millis), rest))
}

#[cfg(test)]
mod tests {
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
    fn a_certificate_tells_who_signed_it_and_when_it_is_valid() {
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
}
