//! The parts of a relay that an executor works with.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::clock::Clock;
use crate::config::Live;
use crate::delivery::wake::Wake;
use crate::ops::fatal::Fatal;
use crate::ops::metrics::Metrics;
use crate::ops::pulse::Pulse;
use crate::stop::Stop;
use crate::store::Store;

/// The parts of a relay that an executor works with.
pub(crate) struct Context {
    pub config: Live,
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    pub fatal: Fatal,
    /// Asks the dispatcher to claim nothing more, to let attempts finish until the deadline, and to
    /// release the rest.
    pub stop: Stop,
    /// Asks the workers to end: idle ones at once, the others by a cut of their connections.
    pub stop_workers: Stop,
    /// Addresses that no attempt may go to.
    pub own_listeners: Vec<SocketAddr>,
    pub wake: Wake,
    /// Shows that the dispatcher ticks.
    pub pulse: Pulse,
}
