//! Decodes compressed bodies, for sources whose provider signs what was compressed.

use std::io::{BufRead as _, Read as _};

use flate2::bufread::GzDecoder;
use hyper::header::{CONTENT_ENCODING, HeaderMap};

use crate::config::Decode;
use crate::http::api_error::ApiError;

/// Whether a body is compressed. Any coding that isn't decoded is refused before the body is read.
pub(super) fn is_compressed(decode: Option<Decode>, headers: &HeaderMap) -> Result<bool, ApiError> {
    let Some(Decode::Gzip) = decode else {
        return Ok(false);
    };
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    let coding = match (codings.next(), codings.next()) {
        (None, _) => return Ok(false),
        (Some(coding), None) => coding.as_bytes().trim_ascii(),
        (Some(_), Some(_)) => return Err(ApiError::content_encoding()),
    };
    // RFC 9110, 8.4.1.3: the two names are the same coding.
    if coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip") {
        Ok(true)
    } else if coding.is_empty() || coding.eq_ignore_ascii_case(b"identity") {
        Ok(false)
    } else {
        Err(ApiError::content_encoding())
    }
}

/// The decoded body, of at most `limit` bytes: one member, whose checksum is right, and nothing
/// after it.
pub(super) fn gunzip(body: &[u8], limit: u64) -> Result<Vec<u8>, ApiError> {
    let mut member = GzDecoder::new(body);
    let mut decoded = Vec::new();
    // One byte more shows that it is too large; the checksum is compared at the end.
    let read = member
        .by_ref()
        .take(limit.saturating_add(1))
        .read_to_end(&mut decoded);
    if decoded.len() as u64 > limit {
        return Err(ApiError::too_large(limit));
    }
    let is_whole = read.is_ok() && member.get_mut().fill_buf().is_ok_and(<[u8]>::is_empty);
    if !is_whole {
        return Err(ApiError::malformed(
            "the body can't be decoded: expected gzip in one member, with the right checksum and \
             nothing after it",
        ));
    }
    Ok(decoded)
}
