//! File descriptors: connections take most of them, and must leave enough for the database and for
//! deliveries. Running out would fail attempts and reads for no fault of theirs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;
use crate::http::loops;

/// Besides connections, attempts and the database: standard streams, signals, listeners, the lock, and
/// whatever a program that embeds us has open.
const OTHERS: u64 = 48;
/// Of a thread that attends to connections, and of the one that accepts them: what it waits with.
const PER_LOOP: u64 = 4;
/// Of one connection to the database: itself, its WAL, and a temporary file.
const PER_READER: u64 = 3;
/// Of one worker: its attempt's connection, and one that idles for the next attempt.
const PER_WORKER: u64 = 2;
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
    // No limit at all is none.
    let Some(limit) = getrlimit(Resource::Nofile).current else {
        return wanted;
    };
    let fitting = fitting(config, limit);
    if fitting < wanted {
        log::warn!(
            "the limit of open files ({limit}) leaves room for {fitting} connections, not for server.max_connections = {wanted}: raise it (ulimit -n, LimitNOFILE=)"
        );
    }
    fitting.min(wanted)
}

fn fitting(config: &Config, limit: u64) -> u32 {
    let workers = u64::try_from(config.delivery.workers).unwrap_or(u64::MAX);
    let loops = 1 + u64::try_from(loops::count()).unwrap_or(u64::MAX);
    let reserved = OTHERS
        .saturating_add(loops.saturating_mul(PER_LOOP))
        .saturating_add(u64::from(config.database.readers).saturating_mul(PER_READER))
        .saturating_add(workers.saturating_mul(PER_WORKER))
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
        let loops = 4 * (1 + u32::try_from(loops::count()).expect("eight at most"));
        assert_eq!(fitting(&config, 1024), 1024 - 48 - loops - 12 - 128 - 16);
        assert_eq!(fitting(&config, 10), FEWEST);
        assert_eq!(fitting(&config, u64::MAX), u32::MAX);
    }
}
