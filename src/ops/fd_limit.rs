//! File descriptors: connections take most of them, and must leave enough for the database and for
//! deliveries. Running out would fail attempts and reads for no fault of theirs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;
use crate::http::event_loops;
use crate::store::OWN_READERS;

/// Besides connections, attempts and the database: standard streams, signals, listeners, the lock, and
/// whatever a program that embeds us has open.
const OTHERS: u64 = 48;
/// Of a thread that attends to connections, and of the one that accepts them: what it waits with.
const PER_LOOP: u64 = 4;
/// Of one connection to the database: itself, its WAL, and a temporary file.
const PER_READER: u64 = 3;
/// Of a look-up of a name, on a thread of its own: a socket to the name server, and a file of the
/// system's that is being read.
const PER_LOOK_UP: u64 = 2;
/// Names that are looked up at once where there are descriptors for it: a thread each.
const MOST_LOOK_UPS: u64 = 128;
/// The least, however few descriptors there are; half of them are for ad hoc URLs.
const FEWEST_LOOK_UPS: u64 = 8;
/// Parts of the pool of connections over which destinations are spread.
pub(crate) const PARTS: usize = 16;
/// Connections there may be however little the system allows.
const FEWEST: u32 = 16;

/// Raises the soft limit to the hard one, which only programs that use `select` need to fear, and we
/// don't. A refusal is no matter: [`connections`] goes by what there is.
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

/// How many connections the public listener may have: what is configured, or as many as the limit
/// of open files leaves room for.
pub(crate) fn connections(config: &Config) -> u32 {
    let wanted = config.server.max_connections;
    let limit = limit();
    let fitting = fitting(config, limit);
    if fitting < wanted {
        log::warn!(
            "the limit of open files ({limit}) leaves room for {fitting} connections, not for server.max_connections = {wanted}: raise it (ulimit -n, LimitNOFILE=)"
        );
    }
    fitting.min(wanted)
}

/// How many files may be open.
pub(crate) fn limit() -> u64 {
    // No limit at all is none.
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Connections that may idle in each part, so that what goes to a destination again needs no new one: as
/// many as can be in use (fewer cost one destination 15 % of its deliveries a second, measured), unless
/// those of all parts would be more than a quarter of the limit.
pub(crate) fn idle_in_part(limit: u64, workers: usize) -> usize {
    // There is one pool for ad hoc URLs, and one for what is configured.
    let all = usize::try_from(limit / 4).unwrap_or(usize::MAX);
    (all / (2 * PARTS)).clamp(1, workers.max(1))
}

/// Names that may be looked up at once: a sixteenth of the limit is for them.
pub(crate) fn look_ups(limit: u64) -> usize {
    let fitting = limit / 16 / PER_LOOK_UP;
    let most = fitting.clamp(FEWEST_LOOK_UPS, MOST_LOOK_UPS);
    usize::try_from(most).expect("there are few")
}

/// Descriptors of deliveries: a connection for each worker, those that idle (of ad hoc URLs, of
/// configured destinations, and of those that have a pool of their own), and look-ups of names.
fn sending(config: &Config, limit: u64) -> u64 {
    let (workers, destinations) = (config.delivery.workers, &config.destinations);
    let own = destinations.values().filter(|to| to.ca_file.is_some());
    let parts = PARTS + destinations.len().min(PARTS) + own.count();
    let all = workers.saturating_add(parts.saturating_mul(idle_in_part(limit, workers)));
    let look_ups = u64::try_from(look_ups(limit)).unwrap_or(u64::MAX);
    u64::try_from(all)
        .unwrap_or(u64::MAX)
        .saturating_add(look_ups.saturating_mul(PER_LOOK_UP))
}

fn fitting(config: &Config, limit: u64) -> u32 {
    let loops = 1 + u64::try_from(event_loops::count()).unwrap_or(u64::MAX);
    let reserved = OTHERS
        .saturating_add(loops.saturating_mul(PER_LOOP))
        .saturating_add(u64::from(config.database.readers + OWN_READERS).saturating_mul(PER_READER))
        .saturating_add(sending(config, limit))
        .saturating_add(u64::from(crate::relay::ADMIN_CONNECTIONS));
    u32::try_from(limit.saturating_sub(reserved))
        .unwrap_or(u32::MAX)
        .max(FEWEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_the_rest() {
        let config = Config::default();
        let loops = 4 * (1 + u32::try_from(event_loops::count()).expect("eight at most"));
        // Nothing is configured: 64 workers, and 16 parts for ad hoc URLs.
        // And 32 look-ups, of a socket and a file each.
        let sending = 64 + 16 * 8 + 32 * 2;
        let rest = 1024 - 48 - loops - (4 + 3) * 3 - 16;
        assert_eq!(fitting(&config, 1024), rest - sending);
        let mut more = config.clone();
        for name in 0..20 {
            let url = "http://x".parse().expect("a URL");
            let mut to = crate::config::Destination::new(url);
            to.ca_file = (name < 3).then(|| "ca.pem".into());
            more.destinations.insert(name.to_string(), to);
        }
        let sending = 64 + (16 + 16 + 3) * 8 + 32 * 2;
        assert_eq!(fitting(&more, 1024), rest - sending);
        assert_eq!(
            (look_ups(1024), look_ups(10), look_ups(u64::MAX)),
            (32, 8, 128)
        );
        assert_eq!(idle_in_part(u64::MAX, 64), 64);
        assert_eq!(idle_in_part(10, 64), 1);
        assert_eq!(fitting(&config, 10), FEWEST);
        assert_eq!(fitting(&config, u64::MAX), u32::MAX);
    }
}
