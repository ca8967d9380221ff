//! The hosts that requests may name.

use std::net::IpAddr;

use hyper::header::HOST;
use hyper::http::request::Parts;

use crate::http::api_error::ApiError;
use crate::http::authority::host_of;

/// Names besides addresses, `localhost` and the names below it.
pub(super) struct AllowedHosts(Vec<String>);

impl AllowedHosts {
    pub fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| normal(name).to_owned()).collect())
    }

    /// Refuses a request for any other host.
    pub fn check(&self, head: &Parts) -> Result<(), ApiError> {
        let mut given = head.headers.get_all(HOST).iter();
        let (Some(host), None) = (given.next(), given.next()) else {
            return Err(ApiError::misdirected("expected exactly one Host header"));
        };
        // A target that is a whole URL names a host as well, which counts (RFC 9112, 3.2.2).
        let target = head.uri.authority();
        let is_target_allowed = target.is_none_or(|target| self.allows(target.as_str()));
        let is_allowed = host.to_str().is_ok_and(|host| self.allows(host));
        if is_allowed && is_target_allowed {
            return Ok(());
        }
        Err(ApiError::misdirected(
            "Host names none of this listener's: expected an address, localhost, or a name in \
             admin.allowed_hosts",
        ))
    }

    /// Whether a `Host` header's value may be named. An address is always allowed: a page of
    /// another site can only bring its own name.
    fn allows(&self, host: &str) -> bool {
        let Some(name) = host_of(host) else {
            return false;
        };
        let name = normal(name).to_ascii_lowercase();
        let literal = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'));
        literal.unwrap_or(&name).parse::<IpAddr>().is_ok()
            || name == "localhost"
            || name.ends_with(".localhost")
            || self.0.iter().any(|own| own.eq_ignore_ascii_case(&name))
    }
}

/// The name without its final dot, which means the same.
fn normal(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_configured_names_are_allowed_however_they_are_spelled() {
        let hosts = AllowedHosts::new(&["relay.internal".to_owned()]);
        for host in [
            "127.0.0.1:8081",
            "10.1.2.3",
            "[::1]:8081",
            "[fe80::1]",
            "localhost",
            "LOCALHOST.:8081",
            "relay.localhost:1",
            "Relay.Internal.:80",
        ] {
            assert!(hosts.allows(host), "{host}");
        }
        for host in [
            "",
            ":80",
            "evil.example",
            "localhost.evil.example",
            "evillocalhost",
            "relay.internal.evil.example",
            "127.0.0.1.evil.example",
            "localhost:80:80",
            "localhost@evil.example",
            "[::1",
            "[::1]x",
            "::1",
            "127.0.0.1:99999",
        ] {
            assert!(!hosts.allows(host), "{host}");
        }
    }
}
