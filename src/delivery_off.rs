//! The executor's stand-in in the baseline build: the same interface, and it contacts nobody.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::Config;
use crate::model::Level;
use crate::ops::fatal::Fatal;
use crate::ops::metrics::Metrics;
use crate::stop::Ending;
use crate::store::Store;

/// The highest level in this build.
pub const COMPILED_LEVEL: Level = Level::Off;

/// Is told of destinations for which something became due; nothing here delivers to them.
#[derive(Clone)]
pub(crate) struct Wake;

impl Wake {
    pub fn new() -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "the executor's wakes the dispatcher")]
    pub fn due(&self, _destinations: &[i64]) {}

    #[expect(clippy::unused_self, reason = "the executor's wakes the dispatcher")]
    pub fn outside_write(&self) {}
}

/// What an executor works with; here it is let go.
pub(crate) struct Context {
    pub config: Arc<Config>,
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    pub fatal: Fatal,
    pub own_listeners: Vec<SocketAddr>,
    pub wake: Wake,
}

/// Nothing, which has ended already.
pub(crate) struct Executor(Ending);

/// Spawns nothing.
#[expect(clippy::unnecessary_wraps, reason = "the executor's can fail")]
pub(crate) fn start(parts: Context) -> std::io::Result<Executor> {
    let Context {
        config,
        store,
        clock,
        metrics,
        fatal,
        own_listeners,
        wake,
    } = parts;
    drop((config, store, clock, metrics, fatal, own_listeners, wake));
    Ok(Executor(Ending::new().1))
}

impl Executor {
    /// Claims nothing as it is.
    #[expect(clippy::unused_self, reason = "the executor's has threads to stop")]
    pub fn wind_down(&self, _grace: Duration) {}

    pub fn dispatcher_ended(&self) -> &Ending {
        &self.0
    }

    pub fn workers_ended(&self) -> &Ending {
        &self.0
    }
}
