//! The headers of an event that are stored and sent to its destinations.

use std::borrow::Cow;

use ::http::{HeaderName, HeaderValue};

/// A header's name as receivers read it that put headers into variables: there an underscore can't
/// be told from a hyphen (RFC 3875, 4.1.18).
pub fn without_underscores(name: &HeaderName) -> Cow<'_, str> {
    let name = name.as_str();
    if name.contains('_') {
        name.replace('_', "-").into()
    } else {
        name.into()
    }
}

/// Parses headers as they are stored: `name: value\r\n` each, values byte for byte. None if they
/// are damaged.
pub fn stored_headers(block: &[u8]) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let mut headers = Vec::new();
    let mut rest = block;
    let split = |text: &[u8], at: &[u8; 2]| text.windows(2).position(|pair| pair == at);
    while !rest.is_empty() {
        let end = split(rest, b"\r\n")?;
        let line = &rest[..end];
        let colon = split(line, b": ")?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(&line[colon + 2..]).ok()?;
        headers.push((name, value));
        rest = &rest[end + 2..];
    }
    Some(headers)
}

/// Whether a header is for the destinations. Others are meant for one hop (RFC 9110, 7.6.1), tell
/// about this server rather than the event, are a secret of this hop (`Cookie`, keys), or are set
/// by relay itself: a sender must not be able to forge these, by whatever spelling.
pub fn is_forwarded(name: &HeaderName) -> bool {
    // A provider's own `webhook-id` is kept under another name, or stays beside relay's.
    let read_as = without_underscores(name);
    let is_lookalike = read_as != name.as_str()
        && matches!(
            &*read_as,
            "webhook-id" | "webhook-timestamp" | "webhook-signature"
        );
    let is_of_relay = is_lookalike || read_as.starts_with("relay-");
    !is_of_this_hop(name) && !is_of_relay
}

/// Whether a header is meant for one hop, tells about this server, or is a secret of this hop.
pub fn is_of_this_hop(name: &HeaderName) -> bool {
    is_of_connection(name)
        || matches!(
            &*without_underscores(name),
            // A destination answers relay, which decodes the answer; the provider never sees it.
            "accept-encoding" | "cookie" | "x-api-key"
        )
}

/// Whether a header belongs to one connection, or tells about the program at one of its ends: the
/// HTTP client sets it, and no operator and no sender.
pub fn is_of_connection(name: &HeaderName) -> bool {
    matches!(
        &*without_underscores(name),
        "connection"
            | "content-length"
            | "expect"
            | "host"
            | "keep-alive"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "user-agent"
    )
}
