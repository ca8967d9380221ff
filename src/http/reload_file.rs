//! The way from the operator's listener to a reload of the configuration. The reloader knows all
//! parts of the relay, this one included, and so it is made after them.

use std::sync::{Arc, OnceLock};

type Reload = dyn Fn(bool) -> Result<String, String> + Send + Sync;

/// Reads the configuration anew, once the relay has started.
#[derive(Clone, Default)]
pub(crate) struct ReloadFile(Arc<OnceLock<Box<Reload>>>);

impl ReloadFile {
    /// Sets the function that reloads; its argument says whether it only tells what would change.
    pub fn set(&self, reload: impl Fn(bool) -> Result<String, String> + Send + Sync + 'static) {
        // There is one relay, which sets it once.
        let _ = self.0.set(Box::new(reload));
    }

    /// Reloads; the changes in words, or why not. Blocks.
    pub fn call(&self, is_dry_run: bool) -> Result<String, String> {
        match self.0.get() {
            Some(reload) => reload(is_dry_run),
            None => Err("the relay is still starting: try again".to_owned()),
        }
    }
}
