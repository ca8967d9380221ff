//! The engine's handle.

use std::sync::Arc;
use std::time::Duration;

use super::reader::Reader;
use super::shared::Shared;
use crate::stop::Ending;
use crate::store::error::StoreError;
use crate::store::types::Unready;

/// A handle to the database; clones share it.
#[derive(Clone)]
pub struct Postgres {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    /// The end of the writer's thread.
    ended: Ending,
}

/// The error of an operation that this engine has not got yet.
pub(super) fn not_built() -> StoreError {
    StoreError::Unexpected("this operation isn't there on PostgreSQL yet".to_owned())
}

impl Postgres {
    pub(super) fn new(shared: Arc<Shared>, ended: Ending) -> Self {
        let inner = Arc::new(Inner { shared, ended });
        Self { inner }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    /// When the store is closed.
    pub fn ended(&self) -> &Ending {
        &self.inner.ended
    }

    /// A connection for the caller's own reads.
    pub fn reader(&self) -> Reader {
        Reader::new()
    }

    /// Whether writes can be taken. Asks neither the writer nor a reader.
    pub fn readiness(&self) -> Result<(), Unready> {
        Ok(())
    }

    /// How long the writer has been at its batch.
    pub fn writer_busy_for(&self) -> Duration {
        Duration::ZERO
    }

    /// Makes a round trip that changes nothing. Blocks.
    pub fn commit_probe(&self) -> Result<(), StoreError> {
        Err(not_built())
    }
}

#[cfg(test)]
impl Postgres {
    /// Asks the writer to end.
    pub fn begin_stop(&self) {
        self.shared().stop.ask(crate::stop::Deadline::now());
    }

    /// Stops, and waits for it.
    pub fn stop(&self) {
        self.begin_stop();
        let deadline = crate::stop::Deadline::within(Duration::from_secs(60));
        assert!(self.ended().wait(&deadline), "the writer hangs");
    }
}
