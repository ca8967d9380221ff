//! Decodes compressed bodies, for sources whose provider signs what was compressed.

use hyper::header::{CONTENT_ENCODING, HeaderMap};

use crate::config::Decode;
use crate::http::api_error::ApiError;
use crate::model::request::{Undecodable, gunzip, is_gzip};

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
    if is_gzip(coding) {
        Ok(true)
    } else if coding.is_empty() || coding.eq_ignore_ascii_case(b"identity") {
        Ok(false)
    } else {
        Err(ApiError::content_encoding())
    }
}

/// The decoded body, of at most `limit` bytes.
pub(super) fn decoded(body: &[u8], limit: u64) -> Result<Vec<u8>, ApiError> {
    gunzip(body, limit).map_err(|error| match error {
        Undecodable::TooLarge => ApiError::too_large(limit),
        Undecodable::Damaged => ApiError::malformed(
            "the body can't be decoded: expected gzip in one member, with the right checksum and \
             nothing after it",
        ),
    })
}
