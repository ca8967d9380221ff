//! Resolves names on every dial, and passes on only addresses that may be dialled. The checked
//! address is the one that is connected to, so there is no gap for rebinding. A name that is
//! reached through a proxy is the proxy's to resolve: only an address in a URL is checked then.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver as UreqResolver};
use ureq::unversioned::transport::NextTimeout;

use crate::clock::Clock;
use crate::config::ProxyPolicy;
use crate::delivery::levels::http::errors::Forbidden;
use crate::delivery::levels::http::names::Names;
use crate::delivery::levels::http::proxy::{ProxyProblem, Route};
use crate::delivery::levels::http::trace;
use crate::delivery::levels::local::is_local;
use crate::model::{AddressPolicy, known_address, literal_address};

/// Addresses of a name: ureq has room for no more.
const MAX_ADDRESSES: usize = 16;

/// The author of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UrlOrigin {
    /// The operator: private addresses are allowed.
    Operator,
    /// A client, with a relay: public addresses, and the networks of `delivery.allow_networks`.
    Client,
}

pub(super) struct Resolver {
    origin: UrlOrigin,
    route: Route,
    policy: Arc<AddressPolicy>,
    clock: Arc<dyn Clock>,
    names: Arc<Names>,
}

impl Resolver {
    pub fn new(
        origin: UrlOrigin,
        route: Route,
        policy: Arc<AddressPolicy>,
        clock: Arc<dyn Clock>,
        names: Arc<Names>,
    ) -> Self {
        Self {
            origin,
            route,
            policy,
            clock,
            names,
        }
    }

    /// The addresses of the proxy, which the operator chose: any address but our own listeners.
    fn addresses_of(
        &self,
        proxy: &ProxyPolicy,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let start = self.clock.monotonic();
        let (host, port) = (proxy.url.host(), proxy.url.port());
        let found = match literal_address(host) {
            Some(ip) => vec![SocketAddr::new(ip, port)],
            None => self
                .names
                .addresses((host.to_owned(), port), timeout)
                .map_err(|error| ProxyProblem::while_connecting(error, proxy))?,
        };
        trace::resolved_proxy(&found, self.clock.monotonic().saturating_sub(start));
        let mut allowed = self.empty();
        for address in found.into_iter().take(MAX_ADDRESSES) {
            if !self.policy.is_own_listener(address, is_local) {
                allowed.push(address);
            }
        }
        if allowed.is_empty() {
            return Err(ProxyProblem::OwnListener.of(proxy));
        }
        Ok(allowed)
    }

    fn check(&self, address: SocketAddr) -> Result<(), Forbidden> {
        if self.policy.is_own_listener(address, is_local) {
            return Err(Forbidden::OwnListener(address));
        }
        if self.origin == UrlOrigin::Client && !self.policy.allows(address.ip()) {
            return Err(Forbidden::Inside(address.ip()));
        }
        Ok(())
    }
}

impl UreqResolver for Resolver {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let (host, port) = host_and_port(uri)?;
        if let Some(proxy) = self.route.proxy(uri) {
            let known = uri.host().and_then(known_address);
            return match known.map(|ip| self.check(SocketAddr::new(ip, port))) {
                Some(Err(why)) => Err(ureq::Error::Other(Box::new(why))),
                _ => self.addresses_of(proxy, timeout),
            };
        }
        let start = self.clock.monotonic();
        let found = match host.parse::<IpAddr>() {
            // An address needs no look-up. Odd spellings of one (127.1) go to the system, like
            // names.
            Ok(ip) => vec![SocketAddr::new(ip, port)],
            Err(_) => self.names.addresses((host.to_owned(), port), timeout)?,
        };
        trace::resolved(&found, self.clock.monotonic().saturating_sub(start));
        let mut allowed = self.empty();
        let mut forbidden = None;
        for address in found {
            match self.check(address) {
                Ok(()) if allowed.len() < MAX_ADDRESSES => allowed.push(address),
                Ok(()) => {}
                Err(why) => forbidden = Some(why),
            }
        }
        match forbidden {
            _ if !allowed.is_empty() => Ok(allowed),
            Some(why) => Err(ureq::Error::Other(Box::new(why))),
            None => Err(ureq::Error::HostNotFound),
        }
    }
}

fn host_and_port(uri: &Uri) -> Result<(&str, u16), ureq::Error> {
    let bad = || ureq::Error::BadUri(uri.to_string());
    let host = uri.host().ok_or_else(bad)?;
    let host = host
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(host);
    let default_port = match uri.scheme_str() {
        Some("https") => 443,
        Some("http") => 80,
        _ => return Err(bad()),
    };
    Ok((host, uri.port_u16().unwrap_or(default_port)))
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
