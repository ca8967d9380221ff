//! The error that ends the relay.

use std::sync::Arc;

use tokio::sync::watch;

/// The error that ends the relay. A part that can't continue raises it; the process is then
/// stopped, and a supervisor starts it again. Only the first error counts: others follow from it.
#[derive(Clone, Debug)]
pub(crate) struct Fatal(Arc<watch::Sender<Option<String>>>);

impl Fatal {
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    /// Ends the relay. Logs one line, however many parts fail after it.
    pub fn raise(&self, why: impl Into<String>) {
        let why = why.into();
        let is_first = self.0.send_if_modified(|first| {
            let is_first = first.is_none();
            if is_first {
                *first = Some(why.clone());
            }
            is_first
        });
        if is_first {
            log::error!("fatal: {why}");
        } else {
            log::debug!("fatal, after another fatal error: {why}");
        }
    }

    /// The error, if one was raised.
    pub fn get(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Resolves with the error. Needs no runtime of tokio.
    pub async fn raised(&self) -> String {
        let mut error = self.0.subscribe();
        let why = error.wait_for(Option::is_some).await;
        why.ok().and_then(|why| why.clone()).unwrap_or_default()
    }
}
