//! The one thread that writes: drains what waits, applies it in one transaction, commits (fsync),
//! and only then answers. It knows nothing about HTTP or deliveries: it is sent operations.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::checkpoint::Checkpoints;
use super::counts::{CountChanges, Counting};
use super::keys::{self, Keys};
use super::lock::Ownership;
use super::notes::LockFileWriter;
use super::outside::{Outside, TakeOutside};
use super::probe::Probe;
use super::space::Space;
use super::tx::{Rolling, Tx};
use super::{PAGE, Shared, StoreError};
#[cfg(test)]
use crate::clock::Clock as _;
use crate::ops::metrics::Metrics;

/// Operations in one transaction. Accepted events a second still grow at 512 a commit (measured).
const MAX_BATCH: usize = 512;
/// Rows written in one transaction, entries of indexes not counted. Accepting takes 5 µs a row,
/// settling, claiming and deleting 6 to 10 µs (measured): 1 024 rows hold the writer for 5 to
/// 10 ms, which bounds how long all else waits. 512 events of one delivery each still fit. A change
/// of more rows is divided: see [`super::steps`].
pub(crate) const MAX_ROWS: usize = 1024;
/// Bytes in one transaction: eight of the largest bodies of a source by default.
pub(super) const MAX_BATCH_BYTES: usize = 8 << 20;
/// With nothing to do for so long, the writer tidies up.
const IDLE: Duration = Duration::from_secs(1);

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
    /// Of a client: counted in [`Shared::queued`] until it is received.
    OfClient(Box<dyn AnyJob>),
    /// Of relay itself.
    Own(Box<dyn AnyJob>),
    /// Sent last: what came before it is committed first.
    Stop,
}

/// A message without its sender.
enum Received {
    Write(Box<dyn AnyJob>),
    Stop,
}

pub(super) struct Writer {
    sql: Connection,
    queue: Receiver<Message>,
    /// Received, and too large for the batch that was being collected: begins the next one.
    carried_over: Option<Box<dyn AnyJob>>,
    /// Whether the batch holds a client's operation.
    is_for_clients: bool,
    shared: Arc<Shared>,
    space: Space,
    rolling: Rolling,
    outside: Outside,
    counting: Option<Counting>,
    notes: LockFileWriter,
    ownership: Ownership,
    checkpoints: Checkpoints,
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
            checkpoints: Checkpoints::new(&sql, Arc::clone(&shared)),
            sql,
            queue,
            carried_over: None,
            is_for_clients: false,
            shared,
            space,
            rolling: Rolling::new(last_row, keys),
            counting: None,
            notes,
            ownership,
        })
    }

    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Runs until told to stop, or until the database can't be trusted any more.
    pub fn run(mut self) -> Ended {
        self.count()?;
        let mut stop = false;
        while !stop {
            self.shared.health.rest();
            let is_stopping = self.shared.is_stopping.load(Ordering::SeqCst);
            let idle = if is_stopping { Duration::ZERO } else { IDLE };
            let received = match self.carried_over.take() {
                Some(first) => Ok(Received::Write(first)),
                None => match self.queue.recv_timeout(idle) {
                    Ok(next) => Ok(self.received(next)),
                    Err(error) => Err(error),
                },
            };
            self.shared.health.begin(self.shared.clock.monotonic());
            match received {
                Ok(Received::Write(first)) => {
                    let batch = self.collect(first, &mut stop);
                    self.look_at_space();
                    let has_committed = self.commit(batch)?;
                    self.checkpoints.after_batch(&self.sql, has_committed)?;
                }
                Ok(Received::Stop) | Err(RecvTimeoutError::Disconnected) => stop = true,
                Err(RecvTimeoutError::Timeout) if is_stopping => stop = true,
                Err(RecvTimeoutError::Timeout) => {
                    self.ownership.check()?;
                    self.look_at_space();
                    self.notes.idle(&*self.shared.clock);
                    if self.shared.health.is_refusing() {
                        self.commit(vec![Job::of_writer(Probe)])?;
                    } else if self.outside.has_written(&self.sql).or_else(unless_broken)? {
                        self.commit(vec![Job::of_writer(TakeOutside)])?;
                    }
                    if !self.shared.counts.is_complete() {
                        self.count()?;
                    }
                    self.checkpoints.when_idle(&self.sql)?;
                }
            }
        }
        self.counting = None;
        self.checkpoints.at_end(&self.sql)?;
        self.notes.note_exactly(&*self.shared.clock);
        // Only what was moved as a whole can do without the WAL.
        if self.checkpoints.is_wal_used() {
            log::warn!(
                "somebody is reading the database: its -wal file holds a part of it, and has to stay with it"
            );
        } else if let Err(error) = self.notes.forget() {
            log::warn!(error:% = error; "the lock file can't be written: another copy of the database may be refused");
        }
        self.sql.close().map_err(|(_, error)| error.into())
    }

    /// Gives a client's place in the queue back.
    fn received(&mut self, message: Message) -> Received {
        match message {
            Message::OfClient(job) => {
                self.shared.queued.fetch_sub(1, Ordering::Relaxed);
                self.is_for_clients = true;
                Received::Write(job)
            }
            Message::Own(job) => Received::Write(job),
            Message::Stop => Received::Stop,
        }
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
            let Ok(next) = self.queue.try_recv() else {
                break;
            };
            match self.received(next) {
                Received::Write(job) => {
                    rows += job.rows();
                    bytes += job.bytes();
                    if rows > MAX_ROWS {
                        self.carried_over = Some(job);
                        break;
                    }
                    batch.push(job);
                }
                Received::Stop => {
                    *stop = true;
                    break;
                }
            }
        }
        batch
    }

    /// Commits a batch and answers its waiters; whether anything was committed. An error means that
    /// the database is broken.
    fn commit(&mut self, mut batch: Vec<Box<dyn AnyJob>>) -> Result<bool, StoreError> {
        let start = self.shared.clock.monotonic();
        if std::mem::take(&mut self.is_for_clients) {
            let now = u64::try_from(start.as_millis()).unwrap_or(u64::MAX);
            self.shared
                .clients_wrote_at
                .store(now.max(1), Ordering::Relaxed);
        }
        #[cfg(test)]
        let (rows_before, began) = (self.sql.total_changes(), self.shared.stopwatch.monotonic());
        let changes = loop {
            if batch.is_empty() {
                return Ok(false);
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
                                    Ok(false)
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
        Ok(true)
    }

    fn try_commit(&mut self, batch: &mut [Box<dyn AnyJob>]) -> Result<CountChanges, Failed> {
        let everyones = |error: rusqlite::Error| Failed {
            job: None,
            error: error.into(),
        };
        let tx = Tx::of_server(&self.sql, self.shared.clock.now(), &self.rolling);
        if self.checkpoints.is_held() && self.space.is_needed_by_the_checkpoint() {
            return Err(Failed {
                job: None,
                error: StoreError::DiskFull,
            });
        }
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

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.sql.prepare_cached(sql)?.execute([]).map(|_| ())
    }

    /// Sees to it that there is room for what comes, and for the checkpoint that follows it.
    fn look_at_space(&mut self) {
        let sql = &self.sql;
        self.space
            .refresh(&self.shared, Checkpoints::wal_bytes(), || {
                let pages = sql.query_row("PRAGMA page_count", [], |row| row.get::<_, u32>(0));
                // What can't be read is found by the commit that follows.
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

struct Failed {
    /// Which one, or none when it was the transaction itself.
    job: Option<usize>,
    error: StoreError,
}
