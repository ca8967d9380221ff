//! The headers of an event that are stored and sent to its destinations.

use ::http::HeaderName;

/// Whether a header is for the destinations. Others are meant for one hop (RFC 9110, 7.6.1), tell
/// about this server rather than the event, are a secret of this hop (`Cookie`, keys), or are set
/// by relay itself.
pub fn is_forwarded(name: &HeaderName) -> bool {
    let is_of_this_hop = matches!(
        name.as_str(),
        // A destination answers relay, which decodes the answer; the provider never sees it.
        "accept-encoding"
            | "connection"
            | "content-length"
            | "cookie"
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
            | "x-api-key"
    );
    // Set by relay: a sender must not be able to forge them.
    !is_of_this_hop && !name.as_str().starts_with("relay-")
}
