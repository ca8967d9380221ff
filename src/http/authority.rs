//! The authority of a request: a host, and perhaps a port (RFC 9112, 3.2).

use std::net::Ipv6Addr;

/// The host of an authority. None if that is no host, or no port follows it.
pub(super) fn host_of(authority: &str) -> Option<&str> {
    let end = match authority.rfind(']') {
        Some(bracket) => bracket + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(end);
    let is_port = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some("") => true,
        Some(digits) => digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok(),
    };
    (is_port && is_host(host)).then_some(host)
}

/// Whether a text is a name or a literal address. A name may have more characters by RFC 3986; a
/// comma, say, may join the values of two headers.
fn is_host(text: &str) -> bool {
    if let Some(literal) = text.strip_prefix('[') {
        let address = literal.strip_suffix(']');
        return address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~%".contains(&b);
    text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_a_host_and_perhaps_a_port() {
        for (authority, host) in [
            ("hooks.example.com", "hooks.example.com"),
            ("my_relay:8080", "my_relay"),
            ("localhost.:", "localhost."),
            ("127.0.0.1:65535", "127.0.0.1"),
            ("[::1]:80", "[::1]"),
            ("[2001:db8::1]", "[2001:db8::1]"),
            ("", ""),
        ] {
            assert_eq!(host_of(authority), Some(host), "{authority}");
        }
        for authority in [
            "a b",
            "x,y",
            "http://x",
            "x/..",
            "x@y",
            "x:99999",
            "x:80:80",
            "x:+80",
            "x:a",
            "[::1",
            "::1",
            "[::1]x",
            "[x]",
            "x]",
            "\u{fc}.example",
        ] {
            assert_eq!(host_of(authority), None, "{authority}");
        }
    }
}
