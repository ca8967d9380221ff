//! A certificate's issuer and dates, for error messages and for the check of a pinned certificate:
//! rustls checks these fields and exposes none of them. Reads only the fields before the key
//! (RFC 5280, 4.1).

use jiff::civil::DateTime;

use crate::clock::Timestamp;

/// Characters of a name that are shown.
const MAX_NAME: usize = 100;

/// DER's types (X.690, 8).
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const BMP_STRING: u8 = 0x1e;
pub(super) const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// The version, which version 1 omits.
pub(super) const VERSION: u8 = 0xa0;

/// The common name and the organisation (2.5.4.3 and 2.5.4.10).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANISATION: &[u8] = &[0x55, 0x04, 0x0a];

/// The fields of a certificate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The name of the signer.
    pub issuer: String,
    /// Whether the subject signed it.
    pub is_self_signed: bool,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

/// Reads the fields of a certificate; none if they can't be read.
pub(crate) fn facts(der: &[u8]) -> Option<Facts> {
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

/// The content of a value of this type, and the bytes after it.
pub(super) fn take(der: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
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

/// The content of a value of this type with no bytes after it.
pub(super) fn only(der: &[u8], wanted: u8) -> Option<&[u8]> {
    take(der, wanted).and_then(|(content, rest)| rest.is_empty().then_some(content))
}

/// The short form of a distinguished name: its common name, or else its organisation.
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

/// A time (RFC 5280, 4.1.2.5), and the bytes after it.
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
mod tests;
