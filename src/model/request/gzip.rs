//! Bodies that are compressed with gzip.

use std::io::{BufRead as _, Read as _};

use flate2::bufread::GzDecoder;

/// A body that can't be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecodable {
    /// Decoded, it would be larger than the limit.
    TooLarge,
    /// It is no gzip in one member, its checksum is wrong, or something follows.
    Damaged,
}

/// Whether a content coding is gzip. RFC 9110, 8.4.1.3: the two names are the same coding.
pub fn is_gzip(coding: &[u8]) -> bool {
    coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip")
}

/// The decoded body, of at most `limit` bytes: one member, whose checksum is right, and nothing
/// after it.
pub fn gunzip(body: &[u8], limit: u64) -> Result<Vec<u8>, Undecodable> {
    let mut member = GzDecoder::new(body);
    let mut decoded = Vec::new();
    // One byte more shows that it is too large; the checksum is compared at the end.
    let read = member
        .by_ref()
        .take(limit.saturating_add(1))
        .read_to_end(&mut decoded);
    if decoded.len() as u64 > limit {
        return Err(Undecodable::TooLarge);
    }
    let is_whole = read.is_ok() && member.get_mut().fill_buf().is_ok_and(<[u8]>::is_empty);
    if is_whole {
        Ok(decoded)
    } else {
        Err(Undecodable::Damaged)
    }
}
