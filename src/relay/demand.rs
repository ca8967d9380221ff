use crate::config::Resolved;
use crate::http::event_loops;
use crate::ops::fd_limit::Demand;
use crate::store::OWN_READERS;

/// Connections to the operator's listener. A decision: scrapers, programs, and a few people with
/// several pages open.
pub(super) const ADMIN_CONNECTIONS: u32 = 64;

/// The relay's other users of file descriptors.
pub(super) fn demand(config: &Resolved) -> Demand {
    let destinations = config.destinations.values();
    let shared = config.delivery.proxy.as_ref();
    let own_pools = destinations.clone().filter(|to| to.network.is_own(shared));
    Demand {
        // One accepts connections, the others attend to them.
        event_loops: 1 + event_loops::count(),
        readers: config.database.readers + OWN_READERS,
        admin_connections: ADMIN_CONNECTIONS,
        workers: config.delivery.workers,
        destinations: destinations.len(),
        own_pools: own_pools.count(),
    }
}
