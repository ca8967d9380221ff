//! The handle to the configuration that runs.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::resolved::Resolved;

/// The configuration that runs; clones share it. A reload replaces it as a whole.
///
/// A part takes it where its work begins (a request, a tick, a step of maintenance) and keeps to it
/// until that work ends, so that nothing sees one half of a reload and not the other. Taking it
/// waits for nobody and costs some nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Live(Arc<ArcSwap<Resolved>>);

impl Live {
    pub fn new(config: Arc<Resolved>) -> Self {
        Self(Arc::new(ArcSwap::new(config)))
    }

    /// The configuration that runs now.
    pub fn current(&self) -> Arc<Resolved> {
        self.0.load_full()
    }

    /// Whether a configuration that was taken before still runs.
    #[allow(dead_code, reason = "a build without delivery has no part that asks")]
    pub fn is_current(&self, config: &Arc<Resolved>) -> bool {
        Arc::ptr_eq(&self.0.load(), config)
    }

    /// Lets another configuration run.
    pub fn replace(&self, config: Arc<Resolved>) {
        self.0.store(config);
    }
}

impl From<Resolved> for Live {
    fn from(config: Resolved) -> Self {
        Self::new(Arc::new(config))
    }
}
