//! The engine's handle: reads on pooled connections, changes on connections of their own, and
//! stops.

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::connection::Connection;
use super::failure::Failure;
use super::reader::Reader;
use super::retry::CALL_LIMIT;
use super::shared::Shared;
use super::writer::Command;
use crate::stop::{Deadline, Ending};
use crate::store::error::StoreError;
use crate::store::types::Unready;

/// How long a request waits for a connection to read: longer means overload, which is better
/// reported at once.
const READER_WAIT: Duration = Duration::from_secs(1);

/// A handle to the database; clones share it.
#[derive(Clone)]
pub struct Postgres {
    inner: Arc<Inner>,
}

struct Inner {
    queue: SyncSender<Command>,
    shared: Arc<Shared>,
    /// The end of the writer's thread.
    ended: Ending,
}

impl Postgres {
    pub(super) fn new(queue: SyncSender<Command>, shared: Arc<Shared>, ended: Ending) -> Self {
        let inner = Arc::new(Inner {
            queue,
            shared,
            ended,
        });
        let weak = Arc::downgrade(&inner);
        inner.shared.stop.on_ask(move || {
            // With a full queue the writer is awake, and sees the request.
            if let Some(inner) = weak.upgrade() {
                let _ = inner.queue.try_send(Command::Wake);
            }
        });
        Self { inner }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    pub(super) fn queue(&self) -> &SyncSender<Command> {
        &self.inner.queue
    }

    /// Reads on a connection of the pool; on a new one if that is lost. Blocks.
    pub(super) fn read<T>(
        &self,
        read: impl FnMut(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let shared = self.shared();
        let mut lent = shared.readers.get(READER_WAIT).ok_or(StoreError::Busy)?;
        shared.result_of(lent.link().call(shared.patience(CALL_LIMIT), read))
    }

    /// Reads on a thread that may block.
    pub(super) async fn read_async<T: Send + 'static>(
        &self,
        read: impl FnMut(&mut Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run_blocking(|store| store.read(read)).await
    }

    /// Makes a change of relay's own. It is made again after some failures, so it must come to the
    /// same if it is made twice. Blocks.
    pub(super) fn change<T>(
        &self,
        change: impl FnMut(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        self.refuse_if_stopping()?;
        let shared = self.shared();
        let until = Deadline::within(CALL_LIMIT);
        let mut lent = shared.changes.get(until.left()).ok_or(StoreError::Busy)?;
        shared.result_of(lent.link().call(shared.patience(until.left()), change))
    }

    /// Makes a change of a client's on a thread that may block.
    pub(super) async fn change_async<T: Send + 'static>(
        &self,
        change: impl FnMut(&mut Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run_blocking(|store| store.change(change)).await
    }

    /// Makes a change on the dispatcher's connection, as [`Self::change`] does. Blocks.
    pub(super) fn turn<T>(
        &self,
        change: impl FnMut(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        self.refuse_if_stopping()?;
        let shared = self.shared();
        // A call that panicked has dropped its connection, or left nothing open on it.
        let mut link = shared.turns.lock().unwrap_or_else(PoisonError::into_inner);
        shared.result_of(link.call(shared.patience(CALL_LIMIT), change))
    }

    /// Does work of several reads and changes on a thread that may block: another one, or the
    /// caller's if it has no runtime.
    pub(super) async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return work(self);
        };
        let store = self.clone();
        runtime
            .spawn_blocking(move || work(&store))
            .await
            .map_err(|panic| StoreError::Unexpected(format!("a call panicked: {panic}")))?
    }

    pub(super) fn refuse_if_stopping(&self) -> Result<(), StoreError> {
        if self.shared().stop.is_asked() {
            return Err(StoreError::Stopped);
        }
        Ok(())
    }

    /// When the store is closed.
    pub fn ended(&self) -> &Ending {
        &self.inner.ended
    }

    /// A connection for the caller's own reads.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(self.shared()))
    }

    /// Whether writes can be taken. Asks neither the writer nor a reader.
    pub fn readiness(&self) -> Result<(), Unready> {
        let shared = self.shared();
        if shared.budget.is_spent() {
            return Err(Unready::BudgetSpent);
        }
        shared.health.check(shared.clock.monotonic())
    }

    /// How long the writer has been at its batch.
    pub fn writer_busy_for(&self) -> Duration {
        let shared = self.shared();
        shared.health.busy_for(shared.clock.monotonic())
    }

    /// Commits a change that leaves everything as it was. Blocks.
    pub fn commit_probe(&self) -> Result<(), StoreError> {
        const PROBE: &str = "UPDATE relay.about SET version = version";
        self.change(|sql| sql.execute(PROBE, &[]).map(|_| ()))
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
