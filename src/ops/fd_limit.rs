//! The budget of file descriptors. Connections take most of them, and must leave enough for the
//! database and for deliveries: running out would fail attempts and reads that did nothing wrong.
//!
//! The budget knows no other part: [`Demand`] carries their numbers.

#[cfg(test)]
mod tests;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors besides those of connections, attempts and the database: standard streams, signals,
/// listeners, two sockets that a service manager passes, the lock, and those of a program that
/// embeds the relay.
const OTHERS: u64 = 50;
/// Descriptors of an event loop: those that it waits with.
const PER_EVENT_LOOP: u64 = 4;
/// Descriptors of a connection to the database: the file, its WAL, and a temporary file.
const PER_READER: u64 = 3;
/// Descriptors of a name look-up, on a thread of its own: a socket to the name server, and a file
/// of the system's that is being read.
const PER_LOOK_UP: u64 = 2;
/// Look-ups at once, at most: each takes a thread.
const MAX_LOOK_UPS: u64 = 128;
/// Look-ups at once, however few descriptors there are; half of them are for ad hoc URLs.
const MIN_LOOK_UPS: u64 = 8;
/// Idle connections of a pool that destinations share, however few descriptors there are.
const MIN_IDLE: u64 = 16;
/// Idle connections of such a pool, however many descriptors there are: each takes 0.9 KB of
/// relay's memory in the clear (measured), and some of the system's.
const MAX_IDLE: u64 = 8192;
/// The part of a shared pool's idle connections that a destination with a pool of its own may keep.
const OWN_PART: u64 = 16;
/// Connections, however low the limit is.
const MIN_CONNECTIONS: u32 = 16;

/// The numbers of the relay's other parts that take descriptors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    /// The threads that wait for connections and their data.
    pub event_loops: usize,
    /// Connections to the database.
    pub readers: u32,
    /// Connections to the operator's listener.
    pub admin_connections: u32,
    /// Delivery workers.
    pub workers: usize,
    /// Named destinations.
    pub destinations: usize,
    /// Named destinations with certificates or a proxy of their own, and so with a pool of their
    /// own.
    pub own_pools: usize,
}

/// Raises the soft limit to the hard one: only programs that use `select` need a low one. A refusal
/// does no harm: [`connections`] obeys the limit that is in force.
pub(crate) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            ..limit
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            log::debug!(error:% = error; "the limit of open files can't be raised");
        }
    }
}

/// The number of connections to the public listener: `wanted`, or fewer if the limit of open files
/// leaves less room.
pub(crate) fn connections(wanted: u32, demand: &Demand) -> u32 {
    let limit = limit();
    let fitting = fitting(limit, demand);
    if fitting < wanted {
        log::warn!(
            "the limit of open files ({limit}) leaves room for {fitting} connections, not for \
             server.max_connections = {wanted}: raise it (ulimit -n, LimitNOFILE=)"
        );
    }
    fitting.min(wanted)
}

/// The number of connections that fit under the limit as it is now.
pub(crate) fn fitting_now(demand: &Demand) -> u32 {
    fitting(limit(), demand)
}

/// The limit of open files.
pub(crate) fn limit() -> u64 {
    // None means unlimited.
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Whether this process, or this machine, can open no more files.
pub(crate) fn is_used_up() -> bool {
    // SQLite needs two at once, as a pipe does: the WAL and its index.
    let refused = std::io::pipe().err();
    let code = refused.as_ref().and_then(Errno::from_io_error);
    matches!(code, Some(Errno::MFILE | Errno::NFILE))
}

/// Idle connections to named destinations, and as many to ad hoc URLs: a quarter of the limit.
pub(crate) fn idle(limit: u64) -> usize {
    let idle = (limit / 8).clamp(MIN_IDLE, MAX_IDLE);
    usize::try_from(idle).expect("it is at most 8192")
}

/// Idle connections to a destination with a pool of its own: at most as many as can be in use.
/// Fewer cost 15 % of its deliveries a second (measured).
pub(crate) fn idle_of_own_pool(limit: u64, workers: usize) -> usize {
    let part = usize::try_from(limit / 8 / OWN_PART).unwrap_or(usize::MAX);
    part.clamp(1, workers.max(1))
}

/// Name look-ups at once: a sixteenth of the limit is for them.
pub(crate) fn look_ups(limit: u64) -> usize {
    let fitting = limit / 16 / PER_LOOK_UP;
    let look_ups = fitting.clamp(MIN_LOOK_UPS, MAX_LOOK_UPS);
    usize::try_from(look_ups).expect("it is at most 128")
}

/// Descriptors of deliveries: a connection for each worker, the idle connections (of ad hoc URLs,
/// of named destinations, and of those with a pool of their own), and name look-ups.
fn deliveries(limit: u64, demand: &Demand) -> u64 {
    let workers = demand.workers;
    let adhoc = idle(limit);
    let named = adhoc.min(demand.destinations.saturating_mul(workers));
    let own = (demand.own_pools).saturating_mul(idle_of_own_pool(limit, workers));
    let idle = adhoc.saturating_add(named).saturating_add(own);
    let look_ups = u64::try_from(look_ups(limit)).unwrap_or(u64::MAX);
    u64::try_from(workers.saturating_add(idle))
        .unwrap_or(u64::MAX)
        .saturating_add(look_ups.saturating_mul(PER_LOOK_UP))
}

/// Connections that fit under the limit beside everything else.
fn fitting(limit: u64, demand: &Demand) -> u32 {
    let event_loops = u64::try_from(demand.event_loops).unwrap_or(u64::MAX);
    let reserved = OTHERS
        .saturating_add(event_loops.saturating_mul(PER_EVENT_LOOP))
        .saturating_add(u64::from(demand.readers).saturating_mul(PER_READER))
        .saturating_add(deliveries(limit, demand))
        .saturating_add(u64::from(demand.admin_connections));
    u32::try_from(limit.saturating_sub(reserved))
        .unwrap_or(u32::MAX)
        .max(MIN_CONNECTIONS)
}
