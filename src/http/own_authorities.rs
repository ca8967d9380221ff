//! The authorities that a request's target may name in its absolute form (RFC 9112, 3.2.2): those
//! of this relay. Any other names another server, and relay is no proxy.

use std::net::{IpAddr, SocketAddr};

use hyper::Uri;

/// The names and addresses of this relay.
pub(super) struct OwnAuthorities {
    /// The host in lower case, and the port, of each public URL.
    public: Vec<(String, u16)>,
    listeners: Vec<SocketAddr>,
}

impl OwnAuthorities {
    /// `public_urls` are the URLs that providers were given.
    pub fn new<'a>(public_urls: impl Iterator<Item = &'a str>, listeners: Vec<SocketAddr>) -> Self {
        let authorities = public_urls.filter_map(|url| url.parse().ok());
        let public = authorities.filter_map(|url: Uri| {
            let host = url.host()?.to_ascii_lowercase();
            Some((host, port(&url)))
        });
        Self {
            public: public.collect(),
            listeners,
        }
    }

    /// Whether a target in absolute form is this relay's own.
    pub fn has(&self, target: &Uri) -> bool {
        let (Some(scheme), Some(authority)) = (target.scheme_str(), target.authority()) else {
            return false;
        };
        // A user in the authority is a way to make another host look like ours.
        let is_web = matches!(scheme, "http" | "https") && !authority.as_str().contains('@');
        let host = authority.host().to_ascii_lowercase();
        let is_public = |(known, public): &(String, u16)| {
            // A proxy that ends TLS sends on with the scheme and the port of either side.
            *known == host && (authority.port_u16().is_none() || port(target) == *public)
        };
        is_web && (self.public.iter().any(is_public) || self.listens_at(&host, port(target)))
    }

    fn listens_at(&self, host: &str, port: u16) -> bool {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        let address: Option<IpAddr> = literal.parse().ok();
        let is_loopback = host == "localhost" || address.is_some_and(|ip| ip.is_loopback());
        self.listeners.iter().any(|own| {
            let reaches_loopback = own.ip().is_loopback() || own.ip().is_unspecified();
            own.port() == port && (address == Some(own.ip()) || (is_loopback && reaches_loopback))
        })
    }
}

/// The port of a URL, or the default one of its scheme.
fn port(url: &Uri) -> u16 {
    let default = if url.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    url.port_u16().unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(own: &OwnAuthorities, target: &str) -> bool {
        own.has(&target.parse().expect("a target"))
    }

    #[test]
    fn only_public_urls_and_listeners_are_ours() {
        let urls = [
            "https://hooks.example.com",
            "https://other.example.com:8443/base",
            "http://plain.example.com:80",
        ];
        let listeners = vec!["0.0.0.0:8080".parse().expect("an address")];
        let own = OwnAuthorities::new(urls.into_iter(), listeners);
        for ours in [
            "https://hooks.example.com/webhooks/a",
            "https://hooks.example.com:443/webhooks/a",
            "http://hooks.example.com:443/webhooks/a",
            "http://HOOKS.example.com/webhooks/a",
            "https://other.example.com:8443/webhooks/a",
            "http://plain.example.com:80/webhooks/a",
            "http://127.0.0.1:8080/webhooks/a",
            "http://localhost:8080/webhooks/a",
            "http://[::1]:8080/webhooks/a",
        ] {
            assert!(has(&own, ours), "{ours}");
        }
        for other in [
            "/webhooks/a",
            "https://hooks.example.com:444/webhooks/a",
            "https://other.example.com:443/webhooks/a",
            "https://hooks.example.com@evil.example/webhooks/a",
            "https://evil.example/webhooks/a",
            "ftp://hooks.example.com/webhooks/a",
            "http://127.0.0.1/webhooks/a",
            "http://192.0.2.1:8080/webhooks/a",
        ] {
            assert!(!has(&own, other), "{other}");
        }
    }
}
