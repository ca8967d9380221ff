//! The URL of a destination.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ::http::Uri;
use serde::de::{Deserialize, Deserializer, Error as _};
use thiserror::Error;

/// The URL of a destination: absolute, http or https, kept as it was written.
#[derive(Clone, PartialEq, Eq)]
pub struct TargetUrl {
    text: String,
    origin: String,
    host: String,
    port: u16,
}

/// The reason why a text can't be a destination's URL. Completes a sentence that begins with the
/// setting's name.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum InvalidUrl {
    /// Longer than [`TargetUrl::MAX_LEN`].
    #[error("must have at most 2048 characters")]
    TooLong,
    /// Relative, of another scheme, or not a URL.
    #[error("must be an absolute http or https URL")]
    NotHttp,
    /// Contains a character that has to be percent-encoded.
    #[error(
        "must consist of visible ASCII characters (percent-encode others; write international host names as xn--…)"
    )]
    Character,
    /// Contains an ASCII character that no path and no query has.
    #[error("must not hold {0:?} (percent-encode it: %{code:02X})", code = u32::from(*.0))]
    Unencoded(char),
    /// Contains `user:password@`.
    #[error("must not hold a user name or password")]
    UserInfo,
    /// Contains a fragment, `#…`.
    #[error("must not have a fragment (#…)")]
    Fragment,
    /// Has no host or an impossible one.
    #[error("must name a host")]
    Host,
    /// The port is 0 or no port.
    #[error("must have a port from 1 to 65535, or none")]
    Port,
}

impl TargetUrl {
    /// The longest URL, in characters: part of the frozen contract.
    pub const MAX_LEN: usize = 2048;

    /// Scheme, host and port in lower case, without the scheme's default port: the identity of an
    /// ad hoc destination.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The port; the scheme's default if none is written.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host in lower case; an IPv6 address in its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host if it is an address rather than a name, in any form that resolvers accept
    /// (`127.0.0.1`, `127.1`, `0x7f000001`, `[::1]`).
    pub fn literal_address(&self) -> Option<IpAddr> {
        literal_address(&self.host)
    }
}

/// The scheme, the host and the port of a text that may be a URL; none of another one. The rest may
/// be a secret: a user's name and password, a path and a query.
pub fn origin_of(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let host = authority_of(rest).rsplit('@').next().unwrap_or_default();
    Some(format!("{scheme}://{host}"))
}

/// A URL as it may be shown: its origin, and a mark if there is more.
pub fn shown_url(url: &str) -> String {
    let Some(origin) = origin_of(url) else {
        return "…".to_owned();
    };
    let (_, rest) = url.split_once("://").unwrap_or_default();
    if rest.contains(['/', '?', '#']) {
        format!("{origin}/…")
    } else {
        origin
    }
}

/// A text that may be a URL, without a user's name and password. The last `@` ends them: a password
/// may hold characters that a URL has to encode. It then stands where a port would.
pub fn without_password(text: &str) -> Cow<'_, str> {
    let is_of_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) if scheme.chars().all(is_of_scheme) => (scheme, rest),
        _ => ("", text),
    };
    let authority = authority_of(rest);
    let (Some((_, shown)), true) = (
        rest.rsplit_once('@'),
        authority.contains('@') || !has_fine_port(authority),
    ) else {
        return text.into();
    };
    match scheme {
        "" => format!("***@{shown}").into(),
        scheme => format!("{scheme}://***@{shown}").into(),
    }
}

/// Whether nothing but a number stands after the colon of an authority's host.
pub fn has_fine_port(authority: &str) -> bool {
    let host = authority.rsplit('@').next().unwrap_or_default();
    let port = host.rsplit_once(':');
    let port = port.filter(|(_, port)| !port.ends_with(']'));
    port.is_none_or(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The part of a URL between its scheme and its path.
fn authority_of(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// The address that a URL's host is, if it is one rather than a name, in any form that resolvers
/// accept.
pub fn literal_address(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(rest) => {
            let address: Ipv6Addr = rest.strip_suffix(']')?.parse().ok()?;
            Some(address.to_canonical())
        }
        None => inet_aton(host.strip_suffix('.').unwrap_or(host)).map(IpAddr::V4),
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
        // The HTTP client parses URLs with this parser: a URL that it refuses can't be delivered
        // to.
        let end_of_host = text.len() - after_scheme.len() + authority.len();
        text.parse::<Uri>()
            .map_err(|_| reason_of_parser(text, end_of_host))?;

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

/// Why the HTTP client's parser refuses a URL of visible ASCII. It doesn't say at which character.
fn reason_of_parser(text: &str, end_of_host: usize) -> InvalidUrl {
    let is_refused = |end: usize| text[..end].parse::<Uri>().is_err();
    if is_refused(end_of_host) {
        return InvalidUrl::Host;
    }
    let refused = (end_of_host..text.len()).find(|&at| is_refused(at + 1));
    refused.map_or(InvalidUrl::NotHttp, |at| {
        InvalidUrl::Unencoded(char::from(text.as_bytes()[at]))
    })
}

fn is_bracketed_ipv6(host: &str) -> bool {
    host.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok())
}

/// Splits `host:port`. A trailing colon without a port means no port (RFC 3986).
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

/// Parses IPv4 in the forms that `inet_aton`, and so most resolvers, accept: one to four parts,
/// each decimal, octal (`0…`) or hexadecimal (`0x…`); the last part fills the rest of the 32
/// bits.
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
    // `from_str_radix` accepts a sign; addresses have none.
    if !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

impl<'de> Deserialize<'de> for TargetUrl {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(|error| match error {
            InvalidUrl::UserInfo => D::Error::custom(error),
            _ => D::Error::custom(format_args!("{:?}: {error}", without_password(&text))),
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
