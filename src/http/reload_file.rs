//! The way from the operator's listener to a reload of the configuration. The reloader knows all
//! parts of the relay, this one included, and so it is made after them.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::clock::Timestamp;
use crate::store::ConfigAttempt;

type Reload = dyn Fn(bool) -> Result<String, String> + Send + Sync;

/// Reads the configuration anew, once the relay has started.
#[derive(Clone, Default)]
pub(crate) struct ReloadFile {
    reload: Arc<OnceLock<Box<Reload>>>,
    last: Arc<Mutex<Option<LastReload>>>,
}

/// The last attempt to take a configuration over: the start, or a reload. A dry run is none.
#[derive(Clone, Debug)]
pub(crate) struct LastReload {
    pub at: Timestamp,
    /// Why it was refused.
    pub error: Option<String>,
}

impl ReloadFile {
    /// Sets the function that reloads; its argument says whether it only tells what would change.
    pub fn set(&self, reload: impl Fn(bool) -> Result<String, String> + Send + Sync + 'static) {
        // There is one relay, which sets it once.
        let _ = self.reload.set(Box::new(reload));
    }

    /// Reloads; the changes in words, or why not. Blocks.
    pub fn call(&self, is_dry_run: bool) -> Result<String, String> {
        match self.reload.get() {
            Some(reload) => reload(is_dry_run),
            None => Err("the relay is still starting: try again".to_owned()),
        }
    }

    /// A reload has ended, or the start.
    pub fn note(&self, last: LastReload) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
    }

    /// The last reload, given the last attempt in the database, which may be a dry run.
    pub fn last(&self, stored: &ConfigAttempt) -> LastReload {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone().unwrap_or_else(|| LastReload {
            at: stored.began_at,
            error: stored.report.clone().err(),
        })
    }
}
