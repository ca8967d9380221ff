use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use hyper::Uri;
use serde::de::{Deserialize, Deserializer, Error as _};
use thiserror::Error;

/// Where a delivery goes: an absolute http or https URL, kept as it was written.
#[derive(Clone, PartialEq, Eq)]
pub struct TargetUrl {
    text: String,
    origin: String,
    host: String,
    port: u16,
}

/// Why a text can't be a destination's URL. Completes a sentence that begins with its name.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum InvalidUrl {
    /// Over [`TargetUrl::MAX_LEN`].
    #[error("must have at most 2048 characters")]
    TooLong,
    /// Relative, another scheme, or not a URL at all.
    #[error("must be an absolute http or https URL")]
    NotHttp,
    /// A character that URLs percent-encode.
    #[error(
        "must consist of visible ASCII characters (percent-encode others; write international host names as xn--…)"
    )]
    Character,
    /// `user:password@`.
    #[error("must not hold a user name or password")]
    UserInfo,
    /// `#…`.
    #[error("must not have a fragment (#…)")]
    Fragment,
    /// No host, or one that can't be.
    #[error("must name a host")]
    Host,
    /// Port 0 or not a port.
    #[error("must have a port from 1 to 65535, or none")]
    Port,
}

impl TargetUrl {
    /// The longest URL, in characters: what the contract freezes.
    pub const MAX_LEN: usize = 2048;

    /// Scheme, host and port in lower case, the port left out where it is the scheme's own:
    /// the identity of an ad hoc destination.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The port, the scheme's own if none is written.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host when it is an address rather than a name, in any form that resolvers read
    /// (`127.0.0.1`, `127.1`, `0x7f000001`, `[::1]`).
    pub fn literal_address(&self) -> Option<IpAddr> {
        match self.host.strip_prefix('[') {
            Some(rest) => {
                let address: Ipv6Addr = rest.strip_suffix(']')?.parse().ok()?;
                Some(address.to_canonical())
            }
            None => inet_aton(self.host.strip_suffix('.').unwrap_or(&self.host)).map(IpAddr::V4),
        }
    }
}

impl FromStr for TargetUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        if text.chars().count() > Self::MAX_LEN {
            return Err(InvalidUrl::TooLong);
        }
        let scheme = match text.split_once("://").map(|(scheme, _)| scheme) {
            Some(scheme) if scheme.eq_ignore_ascii_case("http") => "http",
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => "https",
            _ => return Err(InvalidUrl::NotHttp),
        };
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(InvalidUrl::Character);
        }
        if text.contains('#') {
            return Err(InvalidUrl::Fragment);
        }
        let after_scheme = &text[scheme.len() + "://".len()..];
        let authority = after_scheme.split(['/', '?']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(InvalidUrl::UserInfo);
        }
        let (host, port) = split_port(authority)?;
        if host.is_empty() || host == "." || (host.starts_with('[') && !is_bracketed_ipv6(host)) {
            return Err(InvalidUrl::Host);
        }
        // The client that dials reads URLs with this parser, so it has the last word.
        text.parse::<Uri>().map_err(|_| InvalidUrl::NotHttp)?;

        let host = host.to_ascii_lowercase();
        let default_port = if scheme == "https" { 443 } else { 80 };
        let origin = match port {
            Some(port) if port != default_port => format!("{scheme}://{host}:{port}"),
            _ => format!("{scheme}://{host}"),
        };
        Ok(Self {
            text: text.to_owned(),
            origin,
            host,
            port: port.unwrap_or(default_port),
        })
    }
}

fn is_bracketed_ipv6(host: &str) -> bool {
    host.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok())
}

/// Splits `host:port`; a trailing colon without a port counts as none, as RFC 3986 has it.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), InvalidUrl> {
    let bracket = match authority.strip_prefix('[') {
        Some(_) => authority.find(']').ok_or(InvalidUrl::Host)?,
        None => 0,
    };
    let colon = authority[bracket..].find(':').map(|at| bracket + at);
    let Some(colon) = colon else {
        return Ok((authority, None));
    };
    let (host, port) = (&authority[..colon], &authority[colon + 1..]);
    if port.is_empty() {
        return Ok((host, None));
    }
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(InvalidUrl::Port);
    }
    match port.parse::<u16>() {
        Ok(port) if port != 0 => Ok((host, Some(port))),
        _ => Err(InvalidUrl::Port),
    }
}

/// IPv4 in the forms that `inet_aton` and so most resolvers read: one to four parts, each decimal,
/// octal (`0…`) or hexadecimal (`0x…`), the last one filling what is left of the 32 bits.
fn inet_aton(host: &str) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = host.split('.').collect();
    let (last, head) = parts.split_last()?;
    if head.len() > 3 {
        return None;
    }
    let mut address: u32 = 0;
    for (shift, part) in [24, 16, 8].into_iter().zip(head) {
        address |= u32::from(u8::try_from(number(part)?).ok()?) << shift;
    }
    let last = number(last)?;
    let room = 32 - 8 * u32::try_from(head.len()).ok()?;
    if room < 32 && last >> room != 0 {
        return None;
    }
    Some(Ipv4Addr::from(address | last))
}

fn number(part: &str) -> Option<u32> {
    let (digits, radix) = if let Some(hex) = part.strip_prefix("0x").or(part.strip_prefix("0X")) {
        (hex, 16)
    } else if part.len() > 1 && part.starts_with('0') {
        (&part[1..], 8)
    } else {
        (part, 10)
    };
    // `from_str_radix` takes a sign; addresses have none.
    if !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

impl<'de> Deserialize<'de> for TargetUrl {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(|error| match error {
            // A password isn't shown.
            InvalidUrl::UserInfo => D::Error::custom(error),
            _ => D::Error::custom(format_args!("{text:?}: {error}")),
        })
    }
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn good_urls_are_kept_as_written_and_share_their_origin() {
        for (text, origin) in [
            ("http://example.com/hook?a=b", "http://example.com"),
            ("HTTP://Example.COM:80/", "http://example.com"),
            ("https://example.com:443", "https://example.com"),
            ("https://example.com:8443/x", "https://example.com:8443"),
            ("http://[::1]:9000/hook", "http://[::1]:9000"),
            (
                "http://xn--bcher-kva.example/",
                "http://xn--bcher-kva.example",
            ),
            ("http://example.com:", "http://example.com"),
        ] {
            let url: TargetUrl = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(url.as_str(), text);
            assert_eq!(url.origin(), origin);
        }
    }

    #[test]
    fn bad_urls_say_what_is_wrong() {
        let long = format!("http://example.com/{}", "x".repeat(2048));
        for (text, error) in [
            ("", InvalidUrl::NotHttp),
            ("/hook", InvalidUrl::NotHttp),
            ("example.com/hook", InvalidUrl::NotHttp),
            ("ftp://example.com/", InvalidUrl::NotHttp),
            ("javascript://example.com/", InvalidUrl::NotHttp),
            ("http://user:pw@example.com/", InvalidUrl::UserInfo),
            ("http://@example.com/", InvalidUrl::UserInfo),
            ("http://example.com/#top", InvalidUrl::Fragment),
            ("http://example.com:0/", InvalidUrl::Port),
            ("http://example.com:65536/", InvalidUrl::Port),
            ("http://example.com:+80/", InvalidUrl::Port),
            ("http://bücher.example/", InvalidUrl::Character),
            ("http://exa mple.com/", InvalidUrl::Character),
            ("http:///hook", InvalidUrl::Host),
            ("http://:80/hook", InvalidUrl::Host),
            ("http://[::1/hook", InvalidUrl::Host),
            ("http://[zz]/hook", InvalidUrl::Host),
            (&long, InvalidUrl::TooLong),
        ] {
            assert_eq!(text.parse::<TargetUrl>(), Err(error), "{text}");
        }
    }

    #[test]
    fn addresses_are_seen_through_their_disguises() {
        let loopback = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        for host in [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "0x7f.1",
            "127.0.0.1.",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
        ] {
            let url: TargetUrl = format!("http://{host}/").parse().expect(host);
            assert_eq!(url.literal_address(), loopback, "{host}");
        }
        for host in [
            "example.com",
            "127.0.0.256",
            "1.2.3.4.5",
            "0x",
            "a.1",
            "09.1.1.1",
        ] {
            let url: TargetUrl = format!("http://{host}/").parse().expect(host);
            assert_eq!(url.literal_address(), None, "{host}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "(https?://)?.{0,60}") {
            let _ = text.parse::<TargetUrl>();
        }

        #[test]
        fn what_parses_has_an_origin_that_parses_to_itself(
            text in "https?://[a-zA-Z0-9.\\-\\[\\]:]{1,20}(:[0-9]{1,5})?(/[a-z?&=]{0,10})?"
        ) {
            if let Ok(url) = text.parse::<TargetUrl>() {
                let again: TargetUrl = url.origin().parse().expect("an origin is a URL");
                prop_assert_eq!(again.origin(), url.origin());
            }
        }
    }
}
