//! The parts of a relay that a store works with, and the calls that it makes.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config;
use crate::ops::metrics::Metrics;
use crate::stop::Stop;
use crate::store::types::DestinationId;

/// Called after a commit with the destinations for which it made something due.
pub(crate) type OnWork = Arc<dyn Fn(&[DestinationId]) + Send + Sync>;

/// Called after a write that doesn't tell what it made due: of another process, such as a command
/// that replayed a dead letter; or of an operator who paused a destination for which nothing waits.
pub(crate) type OnOutsideWrite = Arc<dyn Fn() + Send + Sync>;

/// Called with the reason when the database can't be trusted or the writer has ended.
pub(crate) type OnBroken = Arc<dyn Fn(String) + Send + Sync>;

/// The parts of a relay that a store works with. The calls must not block.
pub(crate) struct StoreContext {
    pub clock: Arc<dyn Clock>,
    /// This process among those that share a store.
    #[allow(dead_code, reason = "only PostgreSQL has nodes")]
    pub node: config::Node,
    pub metrics: Arc<Metrics>,
    /// Asks the writer to commit everything sent before, to checkpoint and to close the database.
    pub stop: Stop,
    pub on_work: OnWork,
    pub on_outside_write: OnOutsideWrite,
    pub on_broken: OnBroken,
}
