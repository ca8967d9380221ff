//! Names to addresses, on every dial: cached, and only such as may be dialled. What is checked is
//! what is connected to, so there is no gap for rebinding.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thiserror::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver as UreqResolver};
use ureq::unversioned::transport::NextTimeout;

use super::trace;
use crate::clock::Clock;
use crate::model::AddressPolicy;

/// How long an answer is good for: short enough to follow a failover.
const GOOD_FOR: Duration = Duration::from_secs(30);
/// Names that are remembered; past it all are forgotten, which costs a look-up each.
const MAX_NAMES: usize = 1024;
/// Addresses of a name: what ureq has room for.
const MAX_ADDRESSES: usize = 16;

/// A look-up's stack: some tens of KiB are used.
const STACK: usize = 256 * 1024;

/// Whose words a URL is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// The operator's: private addresses are fine.
    Operator,
    /// A relay's: public addresses, and what `delivery.allow_networks` opens.
    AdHoc,
}

/// None of a name's addresses may be dialled.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum Forbidden {
    #[error(
        "forbidden_address: {0} is not a public address; delivery.allow_networks can open its network"
    )]
    Inside(IpAddr),
    #[error("forbidden_address: {0} is one of relay's own listeners (server.listen, admin.listen)")]
    OwnListener(SocketAddr),
}

pub(super) struct Resolver {
    trust: Trust,
    policy: Arc<AddressPolicy>,
    clock: Arc<dyn Clock>,
    known: Mutex<HashMap<(String, u16), Known>>,
}

struct Known {
    addresses: Vec<SocketAddr>,
    since: Duration,
}

impl Resolver {
    pub fn new(trust: Trust, policy: Arc<AddressPolicy>, clock: Arc<dyn Clock>) -> Self {
        Self {
            trust,
            policy,
            clock,
            known: Mutex::new(HashMap::new()),
        }
    }

    fn addresses(
        &self,
        host: &str,
        port: u16,
        timeout: NextTimeout,
    ) -> Result<Vec<SocketAddr>, ureq::Error> {
        // An address needs no look-up. Odd spellings of one (127.1) go to the system, like names.
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let now = self.clock.monotonic();
        let key = (host.to_owned(), port);
        if let Some(known) = self.known.lock().expect(NO_PANIC).get(&key)
            && now.saturating_sub(known.since) < GOOD_FOR
        {
            return Ok(known.addresses.clone());
        }
        let addresses = look_up(key.clone(), timeout)?;
        let mut all = self.known.lock().expect(NO_PANIC);
        if all.len() >= MAX_NAMES {
            all.clear();
        }
        all.insert(
            key,
            Known {
                addresses: addresses.clone(),
                since: now,
            },
        );
        Ok(addresses)
    }

    fn check(&self, address: SocketAddr) -> Result<(), Forbidden> {
        if self.policy.is_own_listener(address, is_local) {
            return Err(Forbidden::OwnListener(address));
        }
        if self.trust == Trust::AdHoc && !self.policy.allows(address.ip()) {
            return Err(Forbidden::Inside(address.ip()));
        }
        Ok(())
    }
}

const NO_PANIC: &str = "nobody panics while holding this lock";

/// The system's resolver can't be told a deadline, so it runs on a thread of its own. Only names
/// that aren't known come here.
fn look_up(key: (String, u16), timeout: NextTimeout) -> Result<Vec<SocketAddr>, ureq::Error> {
    let (answer, result) = sync_channel(1);
    std::thread::Builder::new()
        .name("relay-resolver".to_owned())
        .stack_size(STACK)
        .spawn(move || {
            let found = (key.0.as_str(), key.1)
                .to_socket_addrs()
                .map(Iterator::collect::<Vec<_>>);
            // Nobody waits any more after the deadline.
            let _ = answer.send(found);
        })?;
    match result.recv_timeout(*timeout.after) {
        Ok(Ok(addresses)) => Ok(addresses),
        Err(RecvTimeoutError::Timeout) => Err(ureq::Error::Timeout(timeout.reason)),
        Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => Err(ureq::Error::HostNotFound),
    }
}

/// Whether an address is this machine's: those are the ones that can be bound.
fn is_local(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

impl UreqResolver for Resolver {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
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
        let port = uri.port_u16().unwrap_or(default_port);

        let start = self.clock.monotonic();
        let found = self.addresses(host, port, timeout)?;
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

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("trust", &self.trust)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn resolve(trust: Trust, url: &str) -> Result<Vec<SocketAddr>, String> {
        let policy = AddressPolicy {
            allow_networks: Vec::new(),
            own_listeners: vec!["0.0.0.0:8080".parse().expect("an address")],
        };
        let resolver = Resolver::new(trust, Arc::new(policy), Arc::new(SystemClock::new()));
        let uri: Uri = url.parse().expect("a URL");
        let timeout = NextTimeout {
            after: ureq::unversioned::transport::time::Duration::from_secs(10),
            reason: ureq::Timeout::Resolve,
            ..NextTimeout::default()
        };
        resolver
            .resolve(&uri, &Config::default(), timeout)
            .map(|addresses| addresses.to_vec())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn ad_hoc_urls_stay_outside_however_they_are_spelled() {
        for url in [
            "http://127.0.0.1:9000/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://localhost/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://169.254.169.254/latest/meta-data/",
            "http://10.0.0.1/",
            "http://0.0.0.0/",
        ] {
            let error = resolve(Trust::AdHoc, url).expect_err(url);
            assert!(error.contains("forbidden_address"), "{url}: {error}");
            assert!(error.contains("delivery.allow_networks"), "{url}: {error}");
        }
        assert_eq!(
            resolve(Trust::AdHoc, "https://8.8.8.8/"),
            Ok(vec!["8.8.8.8:443".parse().expect("an address")])
        );
    }

    #[test]
    fn operators_may_go_anywhere_but_to_ourselves() {
        assert!(resolve(Trust::Operator, "http://127.0.0.1:9000/").is_ok());
        assert!(resolve(Trust::Operator, "http://10.0.0.1/").is_ok());
        for url in [
            "http://127.0.0.1:8080/",
            "http://localhost:8080/",
            "http://127.1:8080/",
        ] {
            let error = resolve(Trust::Operator, url).expect_err(url);
            assert!(error.contains("own listeners"), "{url}: {error}");
        }
    }
}
