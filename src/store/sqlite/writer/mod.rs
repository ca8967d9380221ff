//! The one thread that writes: takes the queued changes, applies them in one transaction, commits
//! (fsync), and only then answers. It knows nothing about HTTP or deliveries.
//!
//! - `queue`: the commands that it is sent. `batch`: one transaction, its retries and its answers.

mod batch;
mod queue;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

pub use queue::{Command, PendingWrite};

use self::queue::ErasedWrite;
use super::checkpoint::Checkpoints;
use super::counts::Counting;
use super::limits::PAGE;
use super::lock_file::{LockFileWriter, Ownership};
use super::ops::{Probe, TakeOutside};
use super::outside::Outside;
use super::queries::used_pages;
use super::recent_keys::{self, RecentKeys};
use super::shared::Shared;
use super::space::Space;
use super::writer_state::WriterState;
use crate::store::error::StoreError;
use crate::store::limits::{MAX_BATCH, MAX_BATCH_BYTES, MAX_ROWS};

/// The writer tidies up after being idle for this long.
const IDLE: Duration = Duration::from_secs(1);

pub struct Writer {
    sql: Connection,
    queue: Receiver<Command>,
    /// Received, and too large for the batch that was being collected: begins the next one.
    carried_over: Option<Box<dyn ErasedWrite>>,
    /// Whether the batch holds a client's change.
    is_for_clients: bool,
    shared: Arc<Shared>,
    space: Space,
    state: WriterState,
    outside: Outside,
    counting: Option<Counting>,
    record: LockFileWriter,
    ownership: Ownership,
    checkpoints: Checkpoints,
    /// Those who wait for an empty WAL: maintenance, one at a time.
    wal_waiters: Vec<oneshot::Sender<bool>>,
}

/// The parts that a writer is made of, besides its connection.
pub struct WriterParts {
    pub queue: Receiver<Command>,
    pub shared: Arc<Shared>,
    pub space: Space,
    pub record: LockFileWriter,
    pub ownership: Ownership,
    pub keys: RecentKeys,
}

/// The result of the writer's thread.
pub type Ended = Result<(), StoreError>;

impl Writer {
    pub fn new(sql: Connection, parts: WriterParts) -> rusqlite::Result<Self> {
        let WriterParts {
            queue,
            shared,
            space,
            record,
            ownership,
            mut keys,
        } = parts;
        let last_row = recent_keys::newest(&sql)?;
        keys.flush_if_many(&sql);
        Ok(Self {
            outside: Outside::new(&sql)?,
            checkpoints: Checkpoints::new(&sql, Arc::clone(&shared)),
            sql,
            queue,
            carried_over: None,
            is_for_clients: false,
            shared,
            space,
            state: WriterState::new(last_row, keys),
            counting: None,
            record,
            ownership,
            wal_waiters: Vec::new(),
        })
    }

    /// Runs until it is asked to stop and its queue is empty, or until the database can't be
    /// trusted any more.
    pub fn run(mut self) -> Ended {
        self.count()?;
        loop {
            self.shared.health.rest();
            // Asked before the queue is found empty: everything sent before is committed.
            let is_stopping = self.shared.stop.is_asked();
            let next = self.next(if is_stopping { Duration::ZERO } else { IDLE });
            self.shared.health.begin(self.shared.clock.monotonic());
            match next {
                Ok(Some(first)) => {
                    let batch = self.collect(first);
                    self.refresh_space();
                    let has_committed = self.commit(batch)?;
                    self.checkpoints.after_batch(&self.sql, has_committed)?;
                }
                Ok(None) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if is_stopping => break,
                Err(RecvTimeoutError::Timeout) => self.tidy_up()?,
            }
            self.empty_wal()?;
        }
        self.finish()
    }

    /// The change that begins the next batch. None if the writer was only woken.
    fn next(&mut self, idle: Duration) -> Result<Option<Box<dyn ErasedWrite>>, RecvTimeoutError> {
        if let Some(first) = self.carried_over.take() {
            return Ok(Some(first));
        }
        let command = self.queue.recv_timeout(idle)?;
        Ok(self.received(command))
    }

    /// The change of a command, if it has one. Returns a client's place in the queue.
    fn received(&mut self, command: Command) -> Option<Box<dyn ErasedWrite>> {
        match command {
            Command::ClientWrite(write) => {
                self.shared.queued.fetch_sub(1, Ordering::Relaxed);
                self.is_for_clients = true;
                Some(write)
            }
            Command::OwnWrite(write) => Some(write),
            Command::EmptyWal(waiter) => {
                self.wal_waiters.push(waiter);
                None
            }
            Command::Wake => None,
        }
    }

    /// Empties the WAL for those who wait for that, unless a reader is in the way.
    fn empty_wal(&mut self) -> Ended {
        if self.wal_waiters.is_empty() {
            return Ok(());
        }
        let is_empty = self.checkpoints.empty(&self.sql)?;
        for waiter in self.wal_waiters.drain(..) {
            let _ = waiter.send(is_empty);
        }
        Ok(())
    }

    /// The work of an idle writer.
    fn tidy_up(&mut self) -> Ended {
        self.ownership.check()?;
        self.refresh_space();
        self.record.note_offset(&*self.shared.clock);
        if self.shared.health.is_refusing() {
            self.commit(vec![PendingWrite::of_writer(Probe)])?;
        } else if self.outside.has_written(&self.sql).or_else(unless_broken)? {
            self.commit(vec![PendingWrite::of_writer(TakeOutside)])?;
        }
        if !self.shared.counts.is_complete() {
            self.count()?;
        }
        self.checkpoints.when_idle(&self.sql)
    }

    /// Makes the last checkpoint, writes the lock file's record, and closes the database.
    fn finish(mut self) -> Ended {
        self.counting = None;
        self.checkpoints.at_end(&self.sql)?;
        self.record.note_exactly(&*self.shared.clock);
        // The database file is complete on its own only if this checkpoint emptied the WAL.
        if self.checkpoints.is_wal_used() {
            log::warn!(
                "somebody is reading the database: its -wal file holds a part of it, and has to stay with it"
            );
        } else if let Err(error) = self.record.forget_newest() {
            log::warn!(
                error:% = error;
                "the lock file can't be written: another copy of the database may be refused"
            );
        }
        self.sql.close().map_err(|(_, error)| error.into())
    }

    /// Starts to count the stored deliveries, unless that is under way.
    fn count(&mut self) -> Ended {
        if self.counting.as_ref().is_some_and(Counting::is_under_way) {
            return Ok(());
        }
        match Counting::begin(&self.sql, &self.shared) {
            Ok(counting) => self.counting = Some(counting),
            Err(broken @ StoreError::Broken(_)) => return Err(broken),
            // Tried again when the writer is idle.
            Err(error) => log::warn!(error:% = error; "deliveries can't be counted yet"),
        }
        Ok(())
    }

    /// Takes the queued changes, up to the bounds, without waiting for more: under load a batch
    /// fills while the one before is being synced, and a lone request is not delayed. Keeps the
    /// order: a change that doesn't fit begins the next batch.
    fn collect(&mut self, first: Box<dyn ErasedWrite>) -> Vec<Box<dyn ErasedWrite>> {
        let (mut rows, mut bytes) = (first.rows(), first.bytes());
        let mut batch = vec![first];
        while batch.len() < MAX_BATCH && rows < MAX_ROWS && bytes < MAX_BATCH_BYTES {
            let Ok(next) = self.queue.try_recv() else {
                break;
            };
            let Some(write) = self.received(next) else {
                continue;
            };
            rows += write.rows();
            bytes += write.bytes();
            if rows > MAX_ROWS {
                self.carried_over = Some(write);
                break;
            }
            batch.push(write);
        }
        batch
    }

    /// Measures the space that is used, if that is bounded, and the free space: a batch, and the
    /// checkpoint that follows it, need room.
    fn refresh_space(&mut self) {
        let sql = &self.sql;
        if self.shared.budget.is_bounded() {
            // If it can't be read, the commit that follows reports why.
            if let Ok(used) = used_pages(sql) {
                self.shared.budget.set_used(used + Checkpoints::wal_bytes());
            }
        }
        self.space
            .refresh(&self.shared, Checkpoints::wal_bytes(), || {
                let pages = sql.query_row("PRAGMA page_count", [], |row| row.get::<_, u32>(0));
                // If it can't be read, the commit that follows reports why.
                u64::from(pages.unwrap_or(0)) * u64::from(PAGE)
            });
    }
}

/// False, or the error if it means that the database is broken.
fn unless_broken(error: rusqlite::Error) -> Result<bool, StoreError> {
    match error.into() {
        broken @ StoreError::Broken(_) => Err(broken),
        _ => Ok(false),
    }
}
