//! The framing of requests: what hyper accepts, and two servers could read differently; and the
//! size of the line and the headers.

use hyper::header::{HOST, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{Method, Version};

use crate::config::Server;
use crate::http::api_error::ApiError;
use crate::http::authority::host_of;
use crate::http::own_authorities::OwnAuthorities;

/// Refuses requests that hyper accepts and that two servers could read differently (RFC 9112, 3.2
/// and 6.1).
pub(super) fn check_framing(
    own: &OwnAuthorities,
    server: &Server,
    head: &Parts,
) -> Result<(), ApiError> {
    let is_elsewhere = head.uri.scheme().is_some() && !own.has(&head.uri);
    if is_elsewhere {
        return Err(ApiError::no_proxy());
    }
    check_head(server, head)?;
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if head.version == Version::HTTP_10 => Ok(()),
        (Some(host), None) if host.to_str().is_ok_and(|host| host_of(host).is_some()) => Ok(()),
        (Some(_), None) => Err(ApiError::invalid(
            "Host",
            "Host: expected a name or an address, and perhaps a port",
        )),
        _ => Err(ApiError::invalid(
            "Host",
            "expected exactly one Host header",
        )),
    }
}

/// The part of it that holds for both listeners: a line and headers within the limit, a target with
/// a path, and a body whose end is beyond doubt.
pub(super) fn check_head(server: &Server, head: &Parts) -> Result<(), ApiError> {
    if head_bytes(head) > server.max_header_bytes {
        return Err(ApiError::head_too_large(
            server.max_header_bytes,
            server.max_headers,
        ));
    }
    if head.method == Method::CONNECT {
        return Err(ApiError::no_proxy());
    }
    let mut encodings = head.headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(encoding) = encodings.next()
        && (!encoding.as_bytes().eq_ignore_ascii_case(b"chunked") || encodings.next().is_some())
    {
        return Err(ApiError::invalid(
            "Transfer-Encoding",
            "Transfer-Encoding: expected chunked, once, or none",
        ));
    }
    Ok(())
}

/// The bytes of a request's line and headers, each header as `name: value`. hyper compares its
/// limit with the bytes that it buffers, and has no limit for a head that arrives in one piece.
fn head_bytes(head: &Parts) -> u64 {
    let target = &head.uri;
    let origin = match (target.scheme_str(), target.authority()) {
        (Some(scheme), Some(authority)) => scheme.len() + "://".len() + authority.as_str().len(),
        _ => 0,
    };
    let path = target
        .path_and_query()
        .map_or(0, |path| path.as_str().len());
    let line = head.method.as_str().len() + origin + path + "  HTTP/1.1\r\n".len();
    let headers = head.headers.iter();
    let headers = headers.map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    (line + headers.sum::<usize>() + "\r\n".len()) as u64
}
