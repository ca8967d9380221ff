//! Connections that wait for their next request, by host.
//!
//! ureq's own pool compares each idle connection with each host, twice a request: to a thousand
//! destinations, in 16 pools, that was two thirds of a worker's time (measured). Here a host is
//! looked up.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{Error as IoError, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use ureq::Error;
use ureq::http::Uri;
use ureq::http::uri::{Authority, Scheme};
use ureq::unversioned::transport::{LazyBuffers, ShutdownHandle, Transport as _};

use crate::clock::Clock;
use crate::delivery::levels::http::wire::connection::Wire;

/// How long a connection idles at most. ureq's own number: most servers keep one for longer, so
/// that hardly one is found closed.
const MAX_IDLE: Duration = Duration::from_secs(15);
/// Handles of connections that are kept before the first look for closed ones.
const FIRST_LOOK: usize = 64;

/// The connections of an agent. It keeps at most a number of idle ones, and closes the one that has
/// idled longest to make room.
pub(in crate::delivery::levels::http) struct Idle {
    state: Mutex<State>,
    max: usize,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct State {
    /// By host, the one that came last at the end: it is the first to go out again, so that no more
    /// stay open than are used.
    hosts: HashMap<Host, VecDeque<Waiting>>,
    /// The hosts of all waiting connections, in the order in which these came, and when they came:
    /// times of the monotonic clock.
    order: BTreeMap<u64, (Host, Duration)>,
    /// The place of the next one in that order.
    next: u64,
    /// Buffers of waiting connections, which need none: at most as many as were in use at once,
    /// since each connection that goes out, old or new, takes some of them.
    buffers: Vec<LazyBuffers>,
    /// Handles of all connections, in use or not, and of some that are closed.
    handles: Vec<Weak<dyn ShutdownHandle>>,
    /// The number of handles at which closed ones are looked for.
    next_look: usize,
    /// Whether no connection may be made or kept any more.
    is_closed: bool,
}

/// Requests to the same one can share a connection. Credentials in a URL are a part of it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Host(Scheme, Authority);

impl Host {
    /// None for a URL without one.
    pub fn of(uri: &Uri) -> Option<Self> {
        Some(Self(uri.scheme()?.clone(), uri.authority()?.clone()))
    }
}

/// A connection that waits for its next request.
struct Waiting {
    wire: Box<Wire>,
    place: u64,
}

impl Idle {
    /// Keeps at most `max` connections.
    pub fn new(max: usize, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            max,
            clock,
        })
    }

    /// Closes all connections, those in use too, and lets no other be made.
    pub fn close(&self) {
        let closed = State {
            is_closed: true,
            ..State::default()
        };
        let before = std::mem::replace(&mut *self.lock(), closed);
        // A connection that waits is closed twice, which does no harm.
        for handle in before.handles.iter().filter_map(Weak::upgrade) {
            handle.shutdown();
        }
    }

    /// A connection to `host` that still seems open. An error once the pool is closed.
    pub(super) fn take(&self, host: Option<&Host>) -> Result<Option<Box<Wire>>, Error> {
        loop {
            let now = self.clock.monotonic();
            let mut state = self.lock();
            state.refuse_if_closed()?;
            let surplus = state.surplus(self.max, now);
            let wire = host.and_then(|host| state.take(host));
            drop(state);
            // Closing and looking ask the system, so without the lock.
            drop(surplus);
            let Some(mut wire) = wire else {
                return Ok(None);
            };
            if wire.is_open() {
                return Ok(Some(wire));
            }
        }
    }

    /// Gives a new connection the buffers of one that waits.
    pub(super) fn lend_buffers(&self, wire: &mut Wire) {
        if let Some(buffers) = self.lock().buffers.pop() {
            wire.set_buffers(buffers);
        }
    }

    /// Keeps a connection for the next request to `host`.
    pub(super) fn keep(&self, host: Host, wire: Box<Wire>) {
        let now = self.clock.monotonic();
        let mut state = self.lock();
        if state.is_closed {
            return;
        }
        state.add(host, wire, now);
        let surplus = state.surplus(self.max, now);
        drop(state);
        drop(surplus);
    }

    /// Keeps the handle of a new connection, by which it can be closed while it is in use.
    pub(super) fn register(&self, handle: Weak<dyn ShutdownHandle>) -> Result<(), Error> {
        let mut state = self.lock();
        state.refuse_if_closed()?;
        if state.handles.len() >= state.next_look.max(FIRST_LOOK) {
            state.handles.retain(|one| one.strong_count() > 0);
            // Twice as many: so a look costs each new connection no more than one step.
            state.next_look = 2 * state.handles.len();
        }
        state.handles.push(handle);
        Ok(())
    }

    /// The connections that wait, and the buffers.
    #[cfg(test)]
    pub fn counts(&self) -> (usize, usize) {
        let state = self.lock();
        (state.order.len(), state.buffers.len())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, host: Host, mut wire: Box<Wire>, now: Duration) {
        self.buffers.push(wire.take_buffers());
        let place = self.next;
        self.next += 1;
        self.order.insert(place, (host.clone(), now));
        let waiting = Waiting { wire, place };
        self.hosts.entry(host).or_default().push_back(waiting);
    }

    fn refuse_if_closed(&self) -> Result<(), Error> {
        if self.is_closed {
            let stopped = IoError::new(ErrorKind::NotConnected, "deliveries are stopped");
            return Err(Error::Io(stopped));
        }
        Ok(())
    }

    /// The connection to `host` that came last.
    fn take(&mut self, host: &Host) -> Option<Box<Wire>> {
        let mut last = self.remove(host, VecDeque::pop_back)?;
        self.order.remove(&last.place);
        if let Some(buffers) = self.buffers.pop() {
            last.wire.set_buffers(buffers);
        }
        Some(last.wire)
    }

    /// Takes out the connections that have idled for too long, and the oldest of more than `max`.
    fn surplus(&mut self, max: usize, now: Duration) -> Vec<Waiting> {
        let mut surplus = Vec::new();
        loop {
            let is_over = self.order.len() > max;
            let Some(oldest) = self.order.first_entry() else {
                return surplus;
            };
            if !is_over && !is_overdue(oldest.get().1, now) {
                return surplus;
            }
            let (host, _) = oldest.remove();
            surplus.extend(self.remove(&host, VecDeque::pop_front));
        }
    }

    fn remove(&mut self, host: &Host, from: FromEnd) -> Option<Waiting> {
        let waiting = self.hosts.get_mut(host)?;
        let removed = from(waiting);
        if waiting.is_empty() {
            self.hosts.remove(host);
        }
        removed
    }
}

/// The oldest connection of a host, or the newest.
type FromEnd = fn(&mut VecDeque<Waiting>) -> Option<Waiting>;

fn is_overdue(since: Duration, now: Duration) -> bool {
    now.saturating_sub(since) >= MAX_IDLE
}

#[cfg(test)]
mod tests;
