//! The handle to the [`App`] that answers.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::Resolved;
use crate::http::app::App;
use crate::http::reload_file::LastReload;

/// The [`App`] of the configuration that runs; clones share it.
///
/// A request takes it at its headers and keeps to it until it is answered: a source that a reload
/// removes while a body is read still accepts that event.
#[derive(Clone)]
pub(crate) struct LiveApp(Arc<ArcSwap<App>>);

impl LiveApp {
    pub fn new(app: App) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(app)))
    }

    /// The one that answers now.
    pub fn current(&self) -> Arc<App> {
        self.0.load_full()
    }

    /// Lets the operator's listener reload the configuration by this function.
    pub fn reloads_by(
        &self,
        reload: impl Fn(bool) -> Result<String, String> + Send + Sync + 'static,
    ) {
        self.current().reload_file.set(reload);
    }

    /// Reads the configuration's file anew, as the operator's listener does it; the changes in
    /// words, or why not. Blocks.
    pub fn reload_file(&self, is_dry_run: bool) -> Result<String, String> {
        self.current().reload_file.call(is_dry_run)
    }

    /// Tells the operator's listener of the end of a reload, or of the start.
    pub fn note_reload(&self, last: LastReload) {
        self.current().reload_file.note(last);
    }

    /// Lets requests be answered under another configuration, from the next one on.
    pub fn reload(&self, config: Arc<Resolved>) {
        let next = self.current().reloaded(config);
        self.0.store(Arc::new(next));
    }
}
