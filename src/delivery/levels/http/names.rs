//! Name look-ups: cached, shared, and bounded.

use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use ureq::unversioned::transport::NextTimeout;

use crate::clock::Clock;
use crate::delivery::levels::http::errors::{NameNotFound, NotMade};

/// The time for which an answer is cached: short enough to follow a failover.
const CACHED_FOR: Duration = Duration::from_secs(30);
/// Names that are cached; past it all are evicted, which costs a look-up each.
const MAX_NAMES: usize = 1024;

/// A look-up's stack: some tens of KiB are used.
const STACK: usize = 256 * 1024;

/// Resolved names and pending look-ups, shared by several resolvers.
pub(super) struct Names {
    known: Mutex<HashMap<Name, Entry>>,
    /// Names that are looked up at once. A look-up that takes longer than its attempt keeps its
    /// thread and its descriptors until the system gives up, so there is a bound.
    max_pending: usize,
    clock: Arc<dyn Clock>,
}

/// A host and a port.
pub(super) type Name = (String, u16);

enum Entry {
    /// Being looked up; later requests wait for the same answer.
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
    Addresses(Vec<SocketAddr>),
    /// There are none: the system's words say why. A name server may have been asked in vain.
    None(String),
    /// The system's error, if this machine was short of a resource.
    Short(i32),
}

impl Found {
    fn of(result: std::io::Result<std::vec::IntoIter<SocketAddr>>) -> Self {
        let error = match result {
            Ok(addresses) => {
                let addresses: Vec<SocketAddr> = addresses.collect();
                return if addresses.is_empty() {
                    Self::None("it has no address".to_owned())
                } else {
                    Self::Addresses(addresses)
                };
            }
            Err(error) => error,
        };
        let words = error.to_string();
        match (error.raw_os_error(), NotMade::of(error)) {
            (Some(code), Ok(_)) => Self::Short(code),
            // The rest of the sentence is what the standard library puts before the system's words.
            _ => Self::None(match words.split_once("address information: ") {
                Some((_, why)) => why.to_owned(),
                None => words,
            }),
        }
    }
}

impl Names {
    pub fn new(max_pending: usize, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            known: Mutex::default(),
            max_pending,
            clock,
        })
    }

    /// The addresses of a name: from the cache, or from a look-up within the timeout.
    pub fn addresses(
        self: &Arc<Self>,
        name: Name,
        timeout: NextTimeout,
    ) -> Result<Vec<SocketAddr>, ureq::Error> {
        let now = self.clock.monotonic();
        let look_up = {
            let mut known = self.known.lock().expect(NO_PANIC);
            match known.get(&name) {
                Some(Entry::Known { addresses, since })
                    if now.saturating_sub(*since) < CACHED_FOR =>
                {
                    return Ok(addresses.clone());
                }
                Some(Entry::Pending(look_up)) => Arc::clone(look_up),
                _ => self.begin(&mut known, name)?,
            }
        };
        look_up.wait(timeout)
    }

    /// Begins a look-up, if there may be another.
    fn begin(
        self: &Arc<Self>,
        known: &mut HashMap<Name, Entry>,
        name: Name,
    ) -> Result<Arc<LookUp>, ureq::Error> {
        let is_pending = |entry: &Entry| matches!(entry, Entry::Pending(_));
        if known.len() >= MAX_NAMES {
            known.retain(|_, entry| is_pending(entry));
        }
        let pending = known.values().filter(|entry| is_pending(entry)).count();
        if pending >= self.max_pending {
            let busy = NotMade {
                what: "look-ups of names",
                source: std::io::Error::other(format!("{pending} are under way")),
            };
            return Err(ureq::Error::Other(Box::new(busy)));
        }
        let look_up = self.look_up(&name)?;
        known.insert(name, Entry::Pending(Arc::clone(&look_up)));
        Ok(look_up)
    }

    /// Looks a name up on a thread of its own: the system's resolver takes no deadline.
    fn look_up(self: &Arc<Self>, name: &Name) -> Result<Arc<LookUp>, ureq::Error> {
        let look_up = Arc::new(LookUp::default());
        let names = Arc::clone(self);
        let (name, result) = (name.clone(), Arc::clone(&look_up));
        std::thread::Builder::new()
            .name("relay-resolver".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                let found = Found::of((name.0.as_str(), name.1).to_socket_addrs());
                names.keep(name, &found);
                *result.found.lock().expect(NO_PANIC) = Some(found);
                result.is_over.notify_all();
            })
            .map_err(NotMade::wrap)?;
        Ok(look_up)
    }

    /// Caches the result of a look-up.
    fn keep(&self, name: Name, found: &Found) {
        let mut known = self.known.lock().expect(NO_PANIC);
        match found {
            Found::Addresses(addresses) => {
                let since = self.clock.monotonic();
                let addresses = addresses.clone();
                known.insert(name, Entry::Known { addresses, since });
            }
            Found::None(_) | Found::Short(_) => drop(known.remove(&name)),
        }
    }
}

#[cfg(test)]
impl Names {
    /// Gives a name an address for good.
    pub fn set(&self, name: Name, address: SocketAddr) {
        let known = Entry::Known {
            addresses: vec![address],
            since: Duration::MAX,
        };
        self.known.lock().expect(NO_PANIC).insert(name, known);
    }
}

const NO_PANIC: &str = "no code panics while holding this lock";

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
            Some(Found::None(why)) => Err(ureq::Error::Other(Box::new(NameNotFound(why.clone())))),
            Some(Found::Addresses(addresses)) => Ok(addresses.clone()),
        }
    }
}

#[cfg(test)]
mod tests;
