//! The framing of requests: what hyper accepts, and two servers could read differently.

use hyper::header::{HOST, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{Method, Version};

use crate::http::api_error::ApiError;
use crate::http::own_authorities::OwnAuthorities;

/// Refuses requests that hyper accepts and that two servers could read differently (RFC 9112, 3.2
/// and 6.1).
pub(super) fn check_framing(own: &OwnAuthorities, head: &Parts) -> Result<(), ApiError> {
    let is_elsewhere = head.uri.scheme().is_some() && !own.has(&head.uri);
    if is_elsewhere {
        return Err(ApiError::no_proxy());
    }
    check_target_and_encoding(head)?;
    let hosts = head.headers.get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && head.version != Version::HTTP_10) {
        return Err(ApiError::invalid(
            "Host",
            "expected exactly one Host header",
        ));
    }
    Ok(())
}

/// The part of it that holds for both listeners: a target with a path, and a body whose end is
/// beyond doubt.
pub(super) fn check_target_and_encoding(head: &Parts) -> Result<(), ApiError> {
    if head.method == Method::CONNECT {
        return Err(ApiError::no_proxy());
    }
    let mut encodings = head.headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(encoding) = encodings.next()
        && (!encoding.as_bytes().eq_ignore_ascii_case(b"chunked") || encodings.next().is_some())
    {
        return Err(ApiError::invalid(
            "Transfer-Encoding",
            "expected chunked, once, or none",
        ));
    }
    Ok(())
}
