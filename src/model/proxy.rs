//! The proxy that requests go out through, and the hosts that are reached without it.

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::de::{Deserialize, Deserializer, Error as _};
use thiserror::Error;

use crate::model::address::canonical_network;
use crate::model::url::{InvalidUrl, TargetUrl, literal_address};

/// The URL of an HTTP proxy: a host and a port, no path, no credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(TargetUrl);

/// The reason why a text can't be a proxy's URL. Completes a sentence that begins with the
/// setting's name.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum InvalidProxy {
    /// Contains `user:password@`.
    #[error(
        "must not hold a user name or password: name their variable in proxy_authorization_env"
    )]
    UserInfo,
    /// Of another scheme, or of none.
    #[error(
        "must be an http URL such as \"http://proxy:3128\" (a proxy is spoken to in plain HTTP, \
         and SOCKS is not spoken)"
    )]
    NotHttp,
    /// Has a path, a query or a fragment.
    #[error("must end after the host and port, as in \"http://proxy:3128\"")]
    Path,
    /// Is not a URL.
    #[error(transparent)]
    Url(InvalidUrl),
}

impl ProxyUrl {
    /// The host in lower case; an IPv6 address in its brackets.
    pub fn host(&self) -> &str {
        self.0.host()
    }

    /// The port; 80 if none is written.
    pub fn port(&self) -> u16 {
        self.0.port()
    }
}

impl FromStr for ProxyUrl {
    type Err = InvalidProxy;

    fn from_str(text: &str) -> Result<Self, InvalidProxy> {
        if text.contains('@') {
            return Err(InvalidProxy::UserInfo);
        }
        let (scheme, rest) = text.split_once("://").ok_or(InvalidProxy::NotHttp)?;
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(InvalidProxy::NotHttp);
        }
        if rest
            .strip_suffix('/')
            .unwrap_or(rest)
            .contains(['/', '?', '#'])
        {
            return Err(InvalidProxy::Path);
        }
        text.parse().map(Self).map_err(InvalidProxy::Url)
    }
}

/// `host:port`.
impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host(), self.port())
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Hosts that are reached without the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoProxy {
    /// A name, and all names below it.
    Suffix(String),
    /// Addresses. They cover a URL that has an address for its host; names are the proxy's to
    /// resolve.
    Network(IpNet),
}

/// A text that names no hosts. Completes a sentence that begins with the text.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "must be a host's name such as \"internal.example\", which covers all names below it, or a \
     network such as \"10.0.0.0/8\""
)]
pub struct InvalidNoProxy;

impl NoProxy {
    /// Whether a URL's host is among these.
    pub fn covers(&self, host: &str) -> bool {
        match (self, literal_address(host)) {
            (Self::Network(network), Some(address)) => network.contains(&address),
            (Self::Network(_), None) | (Self::Suffix(_), Some(_)) => false,
            (Self::Suffix(suffix), None) => is_below(host, suffix),
        }
    }
}

impl FromStr for NoProxy {
    type Err = InvalidNoProxy;

    fn from_str(text: &str) -> Result<Self, InvalidNoProxy> {
        if let Ok(network) = text.parse() {
            return Ok(Self::Network(canonical_network(network)));
        }
        let address = text.parse().ok().or_else(|| literal_address(text));
        if let Some(address) = address {
            return Ok(Self::Network(IpAddr::to_canonical(&address).into()));
        }
        let name = text.strip_prefix('.').unwrap_or(text);
        let name = name.strip_suffix('.').unwrap_or(name);
        let is_label = |label: &str| {
            let mut bytes = label.bytes();
            !label.is_empty() && bytes.all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        };
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err(InvalidNoProxy);
        }
        Ok(Self::Suffix(name.to_ascii_lowercase()))
    }
}

impl<'de> Deserialize<'de> for NoProxy {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let parsed = text.parse();
        parsed.map_err(|error| D::Error::custom(format_args!("{text:?}: {error}")))
    }
}

/// The address of a URL's host, if it is known without a look-up: the host is an address, or
/// `localhost` or a name below it (RFC 6761, 6.3).
pub fn known_address(host: &str) -> Option<IpAddr> {
    let is_localhost = is_below(host, "localhost");
    literal_address(host).or_else(|| is_localhost.then_some(Ipv4Addr::LOCALHOST.into()))
}

/// Whether a name is `suffix` or one below it.
fn is_below(name: &str, suffix: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let Some(at) = name.len().checked_sub(suffix.len()) else {
        return false;
    };
    // The suffix is ASCII, so a name that ends in it is divided between two characters.
    let ends_so = name.as_bytes()[at..].eq_ignore_ascii_case(suffix.as_bytes());
    ends_so && (at == 0 || name.as_bytes()[at - 1] == b'.')
}
