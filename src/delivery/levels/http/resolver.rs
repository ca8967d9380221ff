//! Names to addresses, on every dial: cached, and only such as may be dialled. What is checked is
//! what is connected to, so there is no gap for rebinding.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use thiserror::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver as UreqResolver};
use ureq::unversioned::transport::NextTimeout;

use crate::clock::Clock;
use crate::delivery::levels::http::trace;
use crate::delivery::levels::http::wire::NotMade;
use crate::delivery::levels::local::is_local;
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
    names: Arc<Names>,
}

/// Resolved names and pending look-ups, shared by several resolvers.
pub(super) struct Names {
    known: Mutex<HashMap<Name, Entry>>,
    /// Names that are looked up at once. One that takes longer than anybody waits keeps its thread
    /// and its descriptors until the system gives up, so there is a bound.
    most_pending: usize,
}

impl Names {
    pub fn new(most_pending: usize) -> Arc<Self> {
        Arc::new(Self {
            known: Mutex::default(),
            most_pending,
        })
    }
}

/// A host and a port.
type Name = (String, u16);

enum Entry {
    /// Being looked up; whoever asks meanwhile waits for the same answer.
    Pending(Arc<LookUp>),
    Known {
        addresses: Vec<SocketAddr>,
        since: Duration,
    },
}

#[derive(Default)]
struct LookUp {
    /// None while it is under way.
    found: Mutex<Option<Found>>,
    is_over: Condvar,
}

/// The result of a look-up.
#[derive(Clone, Debug)]
enum Found {
    /// An empty list if there is no such name.
    Addresses(Vec<SocketAddr>),
    /// This machine was short of something: the system's error.
    Short(i32),
}

impl Found {
    fn of(result: std::io::Result<std::vec::IntoIter<SocketAddr>>) -> Self {
        let error = match result {
            Ok(addresses) => return Self::Addresses(addresses.collect()),
            Err(error) => error,
        };
        match (error.raw_os_error(), NotMade::of(error)) {
            (Some(code), Ok(_)) => Self::Short(code),
            _ => Self::Addresses(Vec::new()),
        }
    }
}

impl Resolver {
    pub fn new(
        trust: Trust,
        policy: Arc<AddressPolicy>,
        clock: Arc<dyn Clock>,
        names: Arc<Names>,
    ) -> Self {
        Self {
            trust,
            policy,
            clock,
            names,
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
        let look_up = {
            let now = self.clock.monotonic();
            let mut names = self.names.known.lock().expect(NO_PANIC);
            let name = (host.to_owned(), port);
            match names.get(&name) {
                Some(Entry::Known { addresses, since })
                    if now.saturating_sub(*since) < GOOD_FOR =>
                {
                    return Ok(addresses.clone());
                }
                Some(Entry::Pending(look_up)) => Arc::clone(look_up),
                _ => {
                    if names.len() >= MAX_NAMES {
                        names.retain(|_, entry| matches!(entry, Entry::Pending(_)));
                    }
                    let is_pending = |entry: &&Entry| matches!(entry, Entry::Pending(_));
                    let pending = names.values().filter(is_pending).count();
                    if pending >= self.names.most_pending {
                        let busy = NotMade {
                            what: "look-ups of names",
                            source: std::io::Error::other(format!("{pending} are under way")),
                        };
                        return Err(ureq::Error::Other(Box::new(busy)));
                    }
                    let look_up = self.look_up(&name)?;
                    names.insert(name, Entry::Pending(Arc::clone(&look_up)));
                    look_up
                }
            }
        };
        look_up.wait(timeout)
    }

    /// The system's resolver can't be told a deadline, so it runs on a thread of its own. Only names
    /// that aren't known come here.
    fn look_up(&self, name: &Name) -> Result<Arc<LookUp>, ureq::Error> {
        let look_up = Arc::new(LookUp::default());
        let (names, clock) = (Arc::clone(&self.names), Arc::clone(&self.clock));
        let (name, result) = (name.clone(), Arc::clone(&look_up));
        std::thread::Builder::new()
            .name("relay-resolver".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                let found = Found::of((name.0.as_str(), name.1).to_socket_addrs());
                {
                    let mut names = names.known.lock().expect(NO_PANIC);
                    match &found {
                        Found::Addresses(addresses) if !addresses.is_empty() => {
                            let since = clock.monotonic();
                            let addresses = addresses.clone();
                            names.insert(name, Entry::Known { addresses, since });
                        }
                        _ => drop(names.remove(&name)),
                    }
                }
                *result.found.lock().expect(NO_PANIC) = Some(found);
                result.is_over.notify_all();
            })
            .map_err(NotMade::wrap)?;
        Ok(look_up)
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

impl LookUp {
    fn wait(&self, timeout: NextTimeout) -> Result<Vec<SocketAddr>, ureq::Error> {
        let found = self.found.lock().expect(NO_PANIC);
        let (found, _) = self
            .is_over
            .wait_timeout_while(found, *timeout.after, |found| found.is_none())
            .expect(NO_PANIC);
        match &*found {
            None => Err(ureq::Error::Timeout(timeout.reason)),
            Some(Found::Short(code)) => {
                Err(NotMade::wrap(std::io::Error::from_raw_os_error(*code)))
            }
            Some(Found::Addresses(none)) if none.is_empty() => Err(ureq::Error::HostNotFound),
            Some(Found::Addresses(addresses)) => Ok(addresses.clone()),
        }
    }
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
mod tests;
