//! The name by which an authority knows a certificate: its serial number, and the key that signed
//! it (RFC 5280, 4.1.2.2 and 4.2.1.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::tls::certificate::{INTEGER, OBJECT_ID, SEQUENCE, VERSION, only, take};

/// DER's types (X.690, 8), and those that the certificate's own grammar numbers.
const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
const EXTENSIONS: u8 = 0xa3;
const KEY_IDENTIFIER: u8 = 0x80;
/// The identifiers of issuer and subject, which nobody uses.
const UNIQUE_IDS: [u8; 2] = [0x81, 0x82];
/// 2.5.29.35.
const AUTHORITY_KEY: &[u8] = &[0x55, 0x1d, 0x23];

/// The parts of that name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Issued<'a> {
    pub authority_key: &'a [u8],
    /// As it is encoded, with the zero before a high bit.
    pub serial: &'a [u8],
}

/// Reads it from a certificate; none if it can't be read, or doesn't name its authority's key.
pub(crate) fn issued(der: &[u8]) -> Option<Issued<'_>> {
    let certificate = only(der, SEQUENCE)?;
    let (body, _) = take(certificate, SEQUENCE)?;
    let body = take(body, VERSION).map_or(body, |(_, rest)| rest);
    let (serial, mut body) = take(body, INTEGER)?;
    // Algorithm, issuer, dates, subject and key.
    for _ in 0..5 {
        (_, body) = take(body, SEQUENCE)?;
    }
    for id in UNIQUE_IDS {
        body = take(body, id).map_or(body, |(_, rest)| rest);
    }
    let mut extensions = only(only(body, EXTENSIONS)?, SEQUENCE)?;
    while let Some((extension, rest)) = take(extensions, SEQUENCE) {
        extensions = rest;
        let (id, value) = take(extension, OBJECT_ID)?;
        if id == AUTHORITY_KEY {
            let value = take(value, BOOLEAN).map_or(value, |(_, rest)| rest);
            let fields = only(only(value, OCTET_STRING)?, SEQUENCE)?;
            let (authority_key, _) = take(fields, KEY_IDENTIFIER)?;
            return Some(Issued {
                authority_key,
                serial,
            });
        }
    }
    None
}

/// Bytes as text in the alphabet for URLs, without padding.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests;
