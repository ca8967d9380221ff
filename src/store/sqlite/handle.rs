//! The engine's handle: sends changes to the writer, reads on pooled connections, and stops.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::paths::path_beside;
use super::readers::{Reader, ReaderPool};
use super::shared::Shared;
use super::write_op::{LongWrite, WriteOp};
use super::writer::{Command, PendingWrite};
use crate::stop::{self, Ending};
use crate::store::error::StoreError;
use crate::store::limits::{MAX_ROWS, QUEUE, ROWS_BESIDE_CLIENTS, UNDIVIDED_BESIDE_CLIENTS};
use crate::store::types::{SpaceUse, Unready};

/// A client's write is followed by another one within this time, most likely.
pub(super) const CLIENTS_RETURN_WITHIN: Duration = Duration::from_secs(1);

/// A handle to the database; clones share it.
#[derive(Clone)]
pub struct Sqlite {
    inner: Arc<Inner>,
}

struct Inner {
    queue: SyncSender<Command>,
    readers: ReaderPool,
    shared: Arc<Shared>,
    /// The end of the writer's thread.
    ended: Ending,
}

impl Sqlite {
    pub(super) fn new(
        queue: SyncSender<Command>,
        readers: ReaderPool,
        shared: Arc<Shared>,
        ended: Ending,
    ) -> Self {
        let inner = Arc::new(Inner {
            queue,
            readers,
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

    /// Sends a client's change; the receiver resolves once the change is durable. Refused at once
    /// when [`QUEUE`] of them wait. Dropping the receiver does not undo the change.
    pub(super) fn send<W: WriteOp>(
        &self,
        op: W,
    ) -> Result<oneshot::Receiver<Result<W::Out, StoreError>>, StoreError> {
        self.refuse_if_stopping()?;
        let (waiter, answer) = oneshot::channel();
        let write = Command::ClientWrite(PendingWrite::boxed(op, waiter));
        let queued = &self.shared().queued;
        if queued.fetch_add(1, Ordering::Relaxed) >= QUEUE {
            queued.fetch_sub(1, Ordering::Relaxed);
            return Err(StoreError::Overloaded);
        }
        let sent = self.inner.queue.try_send(write);
        sent.map(|()| answer).map_err(|error| {
            queued.fetch_sub(1, Ordering::Relaxed);
            match error {
                TrySendError::Full(_) => StoreError::Overloaded,
                TrySendError::Disconnected(_) => StoreError::Stopped,
            }
        })
    }

    /// Makes a client's change; resolves once it is durable.
    pub(super) async fn write<W: WriteOp>(&self, op: W) -> Result<W::Out, StoreError> {
        self.send(op)?.await.unwrap_or(Err(StoreError::Stopped))
    }

    /// Makes a change of relay's own, and waits until it is durable. Takes none of the clients'
    /// places in the queue, and waits if there is none of its own. Blocks.
    pub(super) fn write_blocking<W: WriteOp>(&self, op: W) -> Result<W::Out, StoreError> {
        self.refuse_if_stopping()?;
        let (waiter, answer) = oneshot::channel();
        self.inner
            .queue
            .send(Command::OwnWrite(PendingWrite::boxed(op, waiter)))
            .map_err(|_| StoreError::Stopped)?;
        stop::block_on(answer).unwrap_or(Err(StoreError::Stopped))
    }

    /// Empties the WAL, so that what was deleted is in no file any more; false if a reader keeps it
    /// from being emptied now. Blocks.
    pub fn empty_wal(&self) -> Result<bool, StoreError> {
        self.refuse_if_stopping()?;
        let (waiter, answer) = oneshot::channel();
        self.inner
            .queue
            .send(Command::EmptyWal(waiter))
            .map_err(|_| StoreError::Stopped)?;
        stop::block_on(answer).map_err(|_| StoreError::Stopped)
    }

    /// Makes the next step of a change, if there is one; whether there was. Blocks.
    pub(super) fn write_step<L: LongWrite>(&self, change: &mut L) -> Result<bool, StoreError> {
        let rows = self.rows_of_a_step(change);
        let Some(step) = change.next_step(rows) else {
            return Ok(false);
        };
        change.committed(self.write_blocking(step)?);
        Ok(true)
    }

    /// Rows of a change's next step: few while clients write, since they wait for it, otherwise
    /// those of a transaction. A small change is not divided.
    pub(super) fn rows_of_a_step<L: LongWrite>(&self, change: &L) -> usize {
        let shared = self.shared();
        let wrote_at = shared.clients_wrote_at.load(Ordering::Relaxed);
        let now = shared.clock.monotonic();
        let is_beside_clients = wrote_at > 0
            && now.saturating_sub(Duration::from_millis(wrote_at)) < CLIENTS_RETURN_WITHIN;
        if is_beside_clients && !change.has_at_most(UNDIVIDED_BESIDE_CLIENTS) {
            ROWS_BESIDE_CLIENTS
        } else {
            MAX_ROWS
        }
    }

    /// Makes all steps of a change. After an error the change knows which of them are durable.
    /// Blocks.
    pub(super) fn write_steps<L: LongWrite>(&self, change: &mut L) -> Result<(), StoreError> {
        while self.write_step(change)? {}
        Ok(())
    }

    pub(super) fn refuse_if_stopping(&self) -> Result<(), StoreError> {
        if self.shared().stop.is_asked() {
            return Err(StoreError::Stopped);
        }
        Ok(())
    }

    /// Whether new intents are refused for lack of free space.
    pub fn is_low_on_space(&self) -> bool {
        self.shared().low_space.load(Ordering::Relaxed)
    }

    /// Free bytes of the disk, as the writer measured them last; none while they are unknown.
    pub fn free_bytes(&self) -> Option<u64> {
        let free = self.shared().free_bytes.load(Ordering::Relaxed);
        (free != u64::MAX).then_some(free)
    }

    /// The space that is used, as it was published last.
    pub fn space_use(&self) -> SpaceUse {
        self.shared().budget.space_use()
    }

    /// Bounds the space from now on; none: the disk alone does.
    pub fn set_max_bytes(&self, max: Option<u64>) {
        self.shared().budget.set_max(max);
    }

    /// Publishes how much space is used.
    pub fn publish_used(&self, used: u64) {
        self.shared().budget.set_used(used);
    }

    /// Publishes the time until the database is full; none if it doesn't grow.
    pub fn publish_forecast(&self, full_in: Option<Duration>) {
        self.shared().budget.set_forecast(full_in);
    }

    /// Whether writes can be taken. Asks neither the writer nor a reader.
    pub fn readiness(&self) -> Result<(), Unready> {
        if self.is_low_on_space() {
            return Err(Unready::LowOnSpace);
        }
        if self.shared().budget.is_spent() {
            return Err(Unready::BudgetSpent);
        }
        self.shared().health.check(self.shared().clock.monotonic())
    }

    /// How long the writer has been at its batch.
    pub fn writer_busy_for(&self) -> Duration {
        let shared = self.shared();
        shared.health.busy_for(shared.clock.monotonic())
    }

    /// Reads on a thread that may block. `read` collects the whole result: no cursor outlives it.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || store.read_blocking(read))
            .await
            .map_err(|panic| StoreError::Unexpected(format!("a read panicked: {panic}")))?
    }

    /// Does work of several reads and writes on a thread that may block.
    pub(super) async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || work(&store))
            .await
            .map_err(|panic| StoreError::Unexpected(format!("a change panicked: {panic}")))?
    }

    /// Reads. Blocks.
    pub(super) fn read_blocking<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let connection = self.inner.readers.get().map_err(|_| StoreError::Busy)?;
        let result = read(&connection);
        if let Err(StoreError::Broken(error)) = &result {
            (self.shared().on_broken)(format!("a read met a broken database: {error}"));
        }
        result
    }

    /// A connection for the caller's own reads.
    pub fn reader(&self) -> Reader {
        let on_broken = Arc::clone(&self.shared().on_broken);
        Reader::new(self.shared().path.clone(), on_broken)
    }

    /// The sizes of the database and of its WAL, in bytes.
    pub fn file_sizes(&self) -> (u64, u64) {
        let size = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
        let database = &self.shared().path;
        (size(database), size(&path_beside(database, "-wal")))
    }

    /// When the database is closed and unlocked.
    pub fn ended(&self) -> &Ending {
        &self.inner.ended
    }
}

#[cfg(test)]
impl Sqlite {
    /// The transactions since the last call.
    pub fn take_transactions(&self) -> Vec<super::shared::Transaction> {
        std::mem::take(&mut self.shared().transactions.lock().expect("no panics"))
    }

    pub(super) fn queue(&self) -> &SyncSender<Command> {
        &self.inner.queue
    }

    /// Asks the writer to end.
    pub fn begin_stop(&self) {
        self.shared().stop.ask(stop::Deadline::now());
    }

    /// Stops, and waits for it.
    pub fn stop(&self) {
        self.begin_stop();
        let deadline = stop::Deadline::within(Duration::from_secs(60));
        assert!(self.ended().wait(&deadline), "the writer hangs");
    }
}
