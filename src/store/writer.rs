//! The one thread that writes: drains what waits, applies it in one transaction, commits (fsync),
//! and only then answers. It knows nothing about HTTP or deliveries: it is sent operations.

use std::cell::Cell;
use std::ffi::c_int;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::counts::{CountChanges, Counting};
use super::keys::{self, Keys};
use super::lock::Ownership;
use super::notes::LockFileWriter;
use super::outside::{Outside, TakeOutside};
use super::probe::Probe;
use super::space::Space;
use super::tx::{Rolling, Tx};
use super::{Shared, StoreError};
#[cfg(test)]
use crate::clock::Clock as _;
use crate::metrics::Metrics;

/// Operations in one transaction. Accepted events a second still grow at 512 a commit (measured).
const MAX_BATCH: usize = 512;
/// Rows written in one transaction, entries of indexes not counted. Accepting takes 5 µs a row,
/// settling, claiming and deleting 6 to 10 µs (measured): 1 024 rows hold the writer for 5 to
/// 10 ms, which bounds how long all else waits. 512 events of one delivery each still fit. A change
/// of more rows is divided: see [`super::steps`].
pub(super) const MAX_ROWS: usize = 1024;
/// Bytes in one transaction: eight of the largest bodies of a source by default.
const MAX_BATCH_BYTES: usize = 8 << 20;
/// WAL frames between checkpoints: 2 MB. Each keeps the writer for as long as there is to move: half
/// of SQLite's own 1 000 takes a tenth off the slowest answers, and as many come a second (measured).
const CHECKPOINT_FRAMES: c_int = 500;
/// WAL frames above which the next checkpoint must also empty the file: `journal_size_limit`.
const TRUNCATE_FRAMES: c_int = 16_384;
/// With nothing to do for so long, the writer tidies up.
const IDLE: Duration = Duration::from_secs(1);

thread_local! {
    /// Pages in the WAL after the last commit, as `SQLite` reports them to the hook below. The hook
    /// is a plain function, and the writer's thread has just one connection.
    static WAL_FRAMES: Cell<c_int> = const { Cell::new(0) };
}

/// A change to the database. `apply` may be called more than once: when another operation of the
/// same transaction fails, the rest is rolled back and applied anew. So it changes nothing but `tx`.
pub(crate) trait WriteOp: Send + 'static {
    /// What the waiter gets, once it is durable.
    type Out: Send + 'static;

    /// Does the change. An error undoes this operation alone.
    fn apply(&self, tx: &Tx<'_>) -> Result<Self::Out, StoreError>;

    /// Counts what is now durable, whether or not anybody still waits for it.
    fn count(&self, _out: &Self::Out, _metrics: &Metrics) {}

    /// How many rows it writes at most, for the bound on a batch. An operation that may write more
    /// than a batch takes is a [`super::LongWrite`].
    fn rows(&self) -> usize {
        1
    }

    /// About how much memory it holds, for the bound on a batch.
    fn bytes(&self) -> usize {
        0
    }
}

/// An operation and its waiter.
pub(super) struct Job<W: WriteOp> {
    op: W,
    out: Option<W::Out>,
    waiter: oneshot::Sender<Result<W::Out, StoreError>>,
}

impl<W: WriteOp> Job<W> {
    pub fn new(op: W, waiter: oneshot::Sender<Result<W::Out, StoreError>>) -> Self {
        Self {
            op,
            out: None,
            waiter,
        }
    }

    /// One of the writer's own: nobody waits for its answer.
    fn of_writer(op: W) -> Box<dyn AnyJob> {
        Box::new(Self::new(op, oneshot::channel().0))
    }
}

/// [`Job`] without its type.
pub(super) trait AnyJob: Send {
    fn apply(&mut self, tx: &Tx<'_>) -> Result<(), StoreError>;
    fn rows(&self) -> usize;
    fn bytes(&self) -> usize;
    fn done(self: Box<Self>, metrics: &Metrics);
    fn failed(self: Box<Self>, error: StoreError);
}

impl<W: WriteOp> AnyJob for Job<W> {
    fn apply(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        self.out = Some(self.op.apply(tx)?);
        Ok(())
    }

    fn rows(&self) -> usize {
        self.op.rows()
    }

    fn bytes(&self) -> usize {
        self.op.bytes()
    }

    // A waiter that has gone away (a client that hung up) changes nothing: what is committed stays.
    fn done(self: Box<Self>, metrics: &Metrics) {
        let out = self.out.expect("done comes after apply");
        self.op.count(&out, metrics);
        let _ = self.waiter.send(Ok(out));
    }

    fn failed(self: Box<Self>, error: StoreError) {
        let _ = self.waiter.send(Err(error));
    }
}

pub(super) enum Message {
    Write(Box<dyn AnyJob>),
    /// Sent last: what came before it is committed first.
    Stop,
}

pub(super) struct Writer {
    sql: Connection,
    queue: Receiver<Message>,
    /// Received, and too large for the batch that was being collected: begins the next one.
    carried_over: Option<Box<dyn AnyJob>>,
    shared: Arc<Shared>,
    space: Space,
    rolling: Rolling,
    outside: Outside,
    counting: Option<Counting>,
    notes: LockFileWriter,
    ownership: Ownership,
    /// Frames at which the next checkpoint is due: further off after one that was cut short, so
    /// that a reader in the way isn't met again at every commit.
    next_checkpoint: Cell<c_int>,
    /// Whether the WAL file holds anything since it was last emptied.
    is_wal_used: Cell<bool>,
    /// Whether the last checkpoint failed, so that a full disk is logged once and not every second.
    is_failing: Cell<bool>,
}

/// What the writer's thread ended with.
pub(super) type Ended = Result<(), StoreError>;

impl Writer {
    pub fn new(
        sql: Connection,
        queue: Receiver<Message>,
        shared: Arc<Shared>,
        space: Space,
        notes: LockFileWriter,
        ownership: Ownership,
        mut keys: Keys,
    ) -> rusqlite::Result<Self> {
        let last_row = keys::newest(&sql)?;
        keys.settle(&sql);
        Ok(Self {
            outside: Outside::new(&sql)?,
            sql,
            queue,
            carried_over: None,
            shared,
            space,
            rolling: Rolling::new(last_row, keys),
            counting: None,
            notes,
            ownership,
            next_checkpoint: Cell::new(CHECKPOINT_FRAMES),
            // Whatever an earlier process left.
            is_wal_used: Cell::new(true),
            is_failing: Cell::new(false),
        })
    }

    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Runs until told to stop, or until the database can't be trusted any more.
    pub fn run(mut self) -> Ended {
        self.sql.wal_hook(Some(|_, frames| {
            WAL_FRAMES.set(frames);
            Ok(())
        }));
        self.count()?;
        let mut stop = false;
        while !stop {
            self.shared.health.rest();
            let is_stopping = self.shared.is_stopping.load(Ordering::SeqCst);
            let idle = if is_stopping { Duration::ZERO } else { IDLE };
            let received = match self.carried_over.take() {
                Some(first) => Ok(Message::Write(first)),
                None => self.queue.recv_timeout(idle),
            };
            self.shared.health.begin(self.shared.clock.monotonic());
            match received {
                Ok(Message::Write(first)) => {
                    let batch = self.collect(first, &mut stop);
                    self.space.refresh(&self.shared);
                    self.commit(batch)?;
                    let frames = WAL_FRAMES.get();
                    if frames >= self.next_checkpoint.get() {
                        let is_large = frames >= TRUNCATE_FRAMES;
                        self.checkpoint(if is_large { "TRUNCATE" } else { "PASSIVE" })?;
                    }
                }
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => stop = true,
                Err(RecvTimeoutError::Timeout) if is_stopping => stop = true,
                Err(RecvTimeoutError::Timeout) => {
                    self.ownership.check()?;
                    self.space.refresh(&self.shared);
                    self.notes.idle(&*self.shared.clock);
                    if self.shared.health.is_refusing() {
                        self.commit(vec![Job::of_writer(Probe)])?;
                    } else if self.outside.has_written(&self.sql).or_else(unless_broken)? {
                        self.commit(vec![Job::of_writer(TakeOutside)])?;
                    }
                    if !self.shared.counts.is_complete() {
                        self.count()?;
                    }
                    if self.is_wal_used.get() {
                        self.checkpoint("TRUNCATE")?;
                    }
                }
            }
        }
        self.counting = None;
        self.checkpoint("TRUNCATE")?;
        self.notes.note_exactly(&*self.shared.clock);
        // Only what was moved as a whole can do without the WAL.
        if self.is_wal_used.get() {
            log::warn!(
                "somebody is reading the database: its -wal file holds a part of it, and has to stay with it"
            );
        } else if let Err(error) = self.notes.forget() {
            log::warn!(error:% = error; "the lock file can't be written: another copy of the database may be refused");
        }
        self.sql.close().map_err(|(_, error)| error.into())
    }

    /// Has what is stored counted, unless that is under way.
    fn count(&mut self) -> Ended {
        if self.counting.as_ref().is_some_and(Counting::is_under_way) {
            return Ok(());
        }
        match Counting::begin(&self.sql, &self.shared) {
            Ok(counting) => self.counting = Some(counting),
            Err(broken @ StoreError::Broken(_)) => return Err(broken),
            // It is tried again when there is nothing else to do.
            Err(error) => log::warn!(error:% = error; "deliveries can't be counted yet"),
        }
        Ok(())
    }

    /// What is queued, up to the bounds, without waiting for more: under load the batch fills
    /// itself while the one before is being synced, and a lone request is not delayed. Keeps the
    /// order: an operation that doesn't fit begins the next batch.
    fn collect(&mut self, first: Box<dyn AnyJob>, stop: &mut bool) -> Vec<Box<dyn AnyJob>> {
        let (mut rows, mut bytes) = (first.rows(), first.bytes());
        let mut batch = vec![first];
        while batch.len() < MAX_BATCH && rows < MAX_ROWS && bytes < MAX_BATCH_BYTES {
            match self.queue.try_recv() {
                Ok(Message::Write(job)) => {
                    rows += job.rows();
                    bytes += job.bytes();
                    if rows > MAX_ROWS {
                        self.carried_over = Some(job);
                        break;
                    }
                    batch.push(job);
                }
                Ok(Message::Stop) => {
                    *stop = true;
                    break;
                }
                Err(_) => break,
            }
        }
        batch
    }

    /// Commits a batch and answers its waiters. An error means that the database is broken.
    fn commit(&mut self, mut batch: Vec<Box<dyn AnyJob>>) -> Ended {
        let start = self.shared.clock.monotonic();
        #[cfg(test)]
        let (rows_before, began) = (self.sql.total_changes(), self.shared.stopwatch.monotonic());
        let changes = loop {
            if batch.is_empty() {
                return Ok(());
            }
            self.rolling.made_due.borrow_mut().clear();
            self.rolling.added.set(0);
            self.rolling.deleted.set(0);
            match self.try_commit(&mut batch) {
                Ok(changes) => break changes,
                Err(Failed { mut job, mut error }) => {
                    // Some failures roll back by themselves. Without a rollback the next batch would
                    // be refused by BEGIN, and so would all that follow.
                    if !self.sql.is_autocommit()
                        && let Err(rollback) = self.sql.execute_batch("ROLLBACK")
                        && !self.sql.is_autocommit()
                    {
                        log::error!(error:% = error; "a transaction failed, and so did its ROLLBACK");
                        (job, error) = (None, StoreError::Broken(rollback));
                    }
                    self.rolling.rolled_back();
                    // A disk that stays full must not hide it.
                    if let Err(displaced) = self.ownership.check() {
                        (job, error) = (None, displaced);
                    }
                    match job {
                        Some(at) if !error.is_everyones() => batch.remove(at).failed(error),
                        _ => {
                            // First, so that a refused client finds the store unready.
                            let is_first = self.shared.health.refusing(&error);
                            for job in batch {
                                job.failed(error.share());
                            }
                            return match error {
                                StoreError::Broken(_) | StoreError::Displaced(_) => Err(error),
                                other => {
                                    if is_first {
                                        log::warn!(error:% = other; "writes are being refused");
                                    }
                                    Ok(())
                                }
                            };
                        }
                    }
                }
            }
        };
        if self.shared.health.accepting() {
            log::info!("writes are being accepted again");
        }
        self.is_wal_used.set(true);
        self.rolling.committed();
        self.shared.counts.add(&changes);
        // Before anybody is answered: what was acknowledged is marked.
        let added = Some(self.rolling.added.get()).filter(|&added| added > 0);
        self.notes.note(added, &*self.shared.clock);
        let took = self.shared.clock.monotonic().saturating_sub(start);
        self.shared.metrics.committed(batch.len(), took);
        #[cfg(test)]
        self.shared
            .transactions
            .lock()
            .expect("no panics")
            .push(super::Transaction {
                rows: self.sql.total_changes() - rows_before,
                took: self.shared.stopwatch.monotonic().saturating_sub(began),
            });
        for job in batch {
            job.done(&self.shared.metrics);
        }
        let due = self.rolling.made_due.borrow();
        if !due.is_empty() {
            (self.shared.on_work)(&due);
        }
        if self.outside.committed() {
            (self.shared.on_outside_write)();
        }
        Ok(())
    }

    fn try_commit(&mut self, batch: &mut [Box<dyn AnyJob>]) -> Result<CountChanges, Failed> {
        let everyones = |error: rusqlite::Error| Failed {
            job: None,
            error: error.into(),
        };
        let tx = Tx::of_server(&self.sql, self.shared.clock.now(), &self.rolling);
        // IMMEDIATE: a transaction that reads first and writes then fails at once when somebody
        // else wrote in between, whatever the busy timeout.
        self.execute("BEGIN IMMEDIATE").map_err(everyones)?;
        tx.take_outside(&self.outside).map_err(everyones)?;
        for (at, job) in batch.iter_mut().enumerate() {
            job.apply(&tx).map_err(|error| Failed {
                job: Some(at),
                error,
            })?;
        }
        self.rolling
            .keys
            .borrow_mut()
            .sweep(&self.sql)
            .map_err(everyones)?;
        let deleted = self.rolling.deleted.get();
        self.notes.forget_up_to(deleted).map_err(|error| Failed {
            job: None,
            error: match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::DiskFull,
                _ => StoreError::Unexpected(format!("the lock file can't be written: {error}")),
            },
        })?;
        // Within the transaction: another server's first one comes after it, or came before it.
        self.ownership
            .check()
            .map_err(|error| Failed { job: None, error })?;
        self.execute("COMMIT").map_err(everyones)?;
        Ok(tx.into_changes())
    }

    fn put_off(&self) {
        let frames = WAL_FRAMES.get();
        self.next_checkpoint
            .set(frames.saturating_add(CHECKPOINT_FRAMES));
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.sql.prepare_cached(sql)?.execute([]).map(|_| ())
    }

    /// Moves the WAL into the database. Readers that are in the way leave the rest for later; so
    /// does a full disk.
    fn checkpoint(&self, mode: &str) -> Ended {
        let result = self.sql.busy_timeout(Duration::ZERO).and_then(|()| {
            self.sql
                .query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
        });
        self.sql.busy_timeout(super::open::BUSY_TIMEOUT)?;
        match result.map_err(StoreError::from) {
            Ok((busy, frames, moved)) => {
                self.is_failing.set(false);
                let (busy, frames, moved): (i64, c_int, c_int) = (busy, frames, moved);
                log::trace!(mode, busy, frames, moved; "checkpoint");
                if busy == 0 && frames == moved {
                    WAL_FRAMES.set(0);
                    self.next_checkpoint.set(CHECKPOINT_FRAMES);
                    // Only TRUNCATE leaves nothing behind.
                    self.is_wal_used.set(mode != "TRUNCATE");
                } else {
                    self.put_off();
                }
                Ok(())
            }
            Err(broken @ StoreError::Broken(_)) => Err(broken),
            Err(other) => {
                if !self.is_failing.replace(true) {
                    log::warn!(error:% = other, mode; "a checkpoint failed and was put off");
                }
                self.put_off();
                Ok(())
            }
        }
    }
}

/// False, or the error if it means that the database is broken.
fn unless_broken(error: rusqlite::Error) -> Result<bool, StoreError> {
    match error.into() {
        broken @ StoreError::Broken(_) => Err(broken),
        _ => Ok(false),
    }
}

struct Failed {
    /// Which one, or none when it was the transaction itself.
    job: Option<usize>,
    error: StoreError,
}
