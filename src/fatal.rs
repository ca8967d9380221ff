use std::sync::Arc;

use tokio::sync::watch;

/// Where a part that can't go on says so: the whole process then ends, and a supervisor starts it
/// anew. The first word counts.
#[derive(Clone)]
pub(crate) struct Fatal(Arc<watch::Sender<Option<String>>>);

impl Fatal {
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    /// Ends everything, with one line in the log.
    pub fn raise(&self, why: impl Into<String>) {
        let why = why.into();
        log::error!("fatal: {why}");
        self.0.send_if_modified(|first| {
            let is_first = first.is_none();
            if is_first {
                *first = Some(why);
            }
            is_first
        });
    }

    /// Why everything ends, once it does.
    pub async fn raised(&self) -> String {
        let mut word = self.0.subscribe();
        let why = word.wait_for(Option::is_some).await;
        why.ok().and_then(|why| why.clone()).unwrap_or_default()
    }
}
