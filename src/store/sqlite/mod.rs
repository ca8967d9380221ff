//! The database: one file, one writing thread, a pool of readers. No SQL stands outside this room
//! and the executor's own write operations, so that a second engine can come in behind it.
//!
//! - `open`, `lock`, `notes`, `private`: who may open which file, and the settings durability rests
//!   on. `readers`: the pool of connections that read.
//! - `writer`: group commit. Everything that changes is a [`WriteOp`] sent to it. `tx`: the
//!   transaction that it is applied to. `keys`: idempotency keys on their way into the table.
//!   `checkpoint`: when the WAL is moved into the database. `space`: the disk's free space.
//!   `steps`: changes that are too large for one transaction. `origins`: how many
//!   wait for one API key.
//! - `accept`, `replay`, `pause`, `jobs`, `prune`, `unused`, `probe`, `recover`: the operations,
//!   one a file.
//! - `health`: the writer's heartbeat, for readiness. `counts`: how many deliveries are in which
//!   state, kept in memory. `outside`: what other processes write.
//! - `relays`, `events`, `listing`, `backlog`: what is read.
//! - `operator`: the same for commands, beside a running server. `unlock`: one that needs sole
//!   ownership.

mod accept;
mod backlog;
mod checkpoint;
mod counts;
mod error;
mod events;
mod health;
mod jobs;
mod keys;
mod listing;
mod lock;
mod notes;
pub(crate) mod open;
mod operator;
mod origins;
mod outside;
mod pause;
mod private;
mod probe;
mod prune;
mod readers;
mod recover;
mod relays;
mod replay;
mod space;
mod steps;
mod tx;
mod unlock;
mod unused;
mod writer;

#[cfg(test)]
mod files_tests;
#[cfg(test)]
mod notes_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tx_tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

pub(crate) use accept::{Accept, Accepted, IdempotencyKey, MAX_WAITING_ORIGINS, Owner};
pub(crate) use backlog::KeepReason;
pub use error::{OpenError, StoreError};
pub(crate) use events::{AttemptRow, DeliveryRow, IntentRow};
pub(crate) use health::Unready;
pub(crate) use jobs::{BulkJob, CancelJob, CreateJobs, Filter, JobKind, StepJobs};
pub(crate) use listing::{Listed, Query, Stats, is_destination};
pub(crate) use operator::Operator;
pub(crate) use pause::{Pause, Resume};
pub(crate) use prune::{Cutoffs, Expired, Prune, TidyUp};
pub(crate) use readers::{OWN_READERS, Reader};
pub(crate) use relays::RelayRow;
pub(crate) use replay::OfIntent;
pub(crate) use steps::{LongWrite, RowBudget};
pub(crate) use tx::Tx;
pub(crate) use unlock::{Kept, Unlock};
pub(crate) use unused::{PassStep, UnusedOrigins};
#[allow(
    unused_imports,
    reason = "a build without delivery has no benchmark of claims"
)]
pub(crate) use writer::MAX_ROWS;
pub(crate) use writer::WriteOp;

use crate::clock::Clock;
use crate::config;
use crate::ops::metrics::Metrics;
use crate::stop::{self, Ending};
use writer::{Ended, Job, Message, Writer};

/// Operations of clients that may wait for the writer: two full batches. Past it a request is refused
/// at once (503) rather than queued in memory.
const QUEUE: usize = 1024;

/// Places in the queue beside those of clients, for relay's own operations. The dispatcher and the
/// maintenance have one operation under way at a time, and block until it is durable; the stop
/// has one message. If more are sent, they wait for a place.
const OWN_PLACES: usize = 8;

/// Bytes of a page of the database: SQLite's default.
const PAGE: u32 = 4096;

/// Entries of a delivery's history that are kept; the oldest give way. Enough for five schedules
/// of the default length.
pub(crate) const MAX_HISTORY: i64 = 50;

/// Called after a commit with the destinations for which it made something due.
pub(crate) type OnWork = Arc<dyn Fn(&[i64]) + Send + Sync>;

/// Called after another process has written: a command that replayed or resumed something, say.
pub(crate) type OnOutsideWrite = Arc<dyn Fn() + Send + Sync>;

/// What to call, with the reason, when the database can't be trusted or the writer has ended.
pub(crate) type OnBroken = Arc<dyn Fn(String) + Send + Sync>;

/// What the writer's thread and the handles share.
struct Shared {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    on_work: OnWork,
    on_outside_write: OnOutsideWrite,
    on_broken: OnBroken,
    low_space: AtomicBool,
    health: health::Health,
    counts: counts::Counts,
    /// Operations of clients in the queue: at most [`QUEUE`].
    queued: AtomicUsize,
    /// When a batch last held a client's operation, in milliseconds of the monotonic clock; zero if
    /// none did.
    clients_wrote_at: AtomicU64,
    /// Set once by the stop: nothing more is sent, and the writer ends when its queue is empty.
    is_stopping: AtomicBool,
    /// Those committed so far.
    #[cfg(test)]
    transactions: std::sync::Mutex<Vec<Transaction>>,
    /// Real time, for tests whose clock is another.
    #[cfg(test)]
    stopwatch: crate::clock::SystemClock,
}

/// What a transaction held the writer for.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transaction {
    /// Rows that it changed, those deleted by a cascade included.
    pub rows: u64,
    /// From its beginning until its commit was durable.
    pub took: Duration,
}

/// A handle to the database; clones share it.
#[derive(Clone)]
pub(crate) struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    queue: SyncSender<Message>,
    readers: r2d2::Pool<readers::Readers>,
    shared: Arc<Shared>,
    /// Of the writer's thread.
    ended: Ending,
}

impl Store {
    /// Opens or creates the database, hands back what a process that died had claimed, and starts
    /// the writer. Nothing that waits does so for more than `longest_wait` from now.
    pub fn open(
        settings: &config::Database,
        longest_wait: Duration,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        on_work: OnWork,
        on_outside_write: OnOutsideWrite,
        on_broken: OnBroken,
    ) -> Result<Self, OpenError> {
        let free_bytes = Box::new(space::free_bytes);
        Self::open_on(
            settings,
            longest_wait,
            clock,
            metrics,
            on_work,
            on_outside_write,
            on_broken,
            free_bytes,
        )
    }

    /// The same on a disk of which the caller says how much is free.
    #[expect(clippy::too_many_arguments, reason = "those of `open`, and one more")]
    fn open_on(
        settings: &config::Database,
        longest_wait: Duration,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        on_work: OnWork,
        on_outside_write: OnOutsideWrite,
        on_broken: OnBroken,
        free_bytes: space::FreeBytes,
    ) -> Result<Self, OpenError> {
        // One database has one lock, by whatever link it is reached.
        let path = &canonical(&settings.path);
        open::precheck(path)?;
        let lock = lock::acquire(path)?;
        let notes = lock.notes();
        clock.resume(notes.record().now(clock.wall()));
        let connection = open::writer(path, &|| notes.record().newest)?;
        let recovered = || {
            recover::wait_for_others(&connection)?;
            // Reads before anything is written: what is damaged is refused as it is.
            let keys = keys::Keys::load(&connection)?;
            recover::run(&connection, clock.now(), longest_wait)?;
            open::trust(&connection)?;
            Ok((keys, lock.ownership(path)?))
        };
        let (keys, ownership) = recovered().map_err(|source| OpenError::Recover {
            path: path.to_owned(),
            source,
        })?;
        let readers = readers::pool(path, settings.readers)?;

        // Whoever reads why everything ended wants to know which file.
        let on_broken: OnBroken = {
            let path = path.display().to_string();
            Arc::new(move |why| on_broken(format!("{path}: {why}")))
        };
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            clock,
            metrics,
            on_work,
            on_outside_write,
            on_broken,
            low_space: AtomicBool::new(false),
            health: health::Health::default(),
            counts: counts::Counts::default(),
            queued: AtomicUsize::new(0),
            clients_wrote_at: AtomicU64::new(0),
            is_stopping: AtomicBool::new(false),
            #[cfg(test)]
            transactions: std::sync::Mutex::default(),
            #[cfg(test)]
            stopwatch: crate::clock::SystemClock::new(),
        });
        let (queue, receiver) = sync_channel(QUEUE + OWN_PLACES);
        let mut space = space::Space::new(path, settings.min_free_bytes, free_bytes);
        space.refresh(&shared, 0, || 0);
        let writer = Writer::new(
            connection,
            receiver,
            Arc::clone(&shared),
            space,
            notes,
            ownership,
            keys,
        )
        .map_err(|source| OpenError::Sqlite {
            path: path.to_owned(),
            source,
        })?;
        let (running, ended) = Ending::new();
        let thread = std::thread::Builder::new().name("relay-writer".to_owned());
        let write = move || {
            run(writer);
            // Held for as long as anything may be written, whether or not somebody waits for it.
            drop(lock);
        };
        running.spawn(thread, write).map_err(OpenError::Thread)?;
        Ok(Self {
            inner: Arc::new(Inner {
                queue,
                readers,
                shared,
                ended,
            }),
        })
    }

    /// Sends a client's write; what comes back resolves once it is durable. Refused at once when
    /// [`QUEUE`] of them wait. Dropping the receiver does not undo the write.
    fn send<W: WriteOp>(
        &self,
        op: W,
    ) -> Result<oneshot::Receiver<Result<W::Out, StoreError>>, StoreError> {
        self.refuse_if_stopping()?;
        let (waiter, answer) = oneshot::channel();
        let job = Message::OfClient(Box::new(Job::new(op, waiter)));
        let queued = &self.inner.shared.queued;
        if queued.fetch_add(1, Ordering::Relaxed) >= QUEUE {
            queued.fetch_sub(1, Ordering::Relaxed);
            return Err(StoreError::Overloaded);
        }
        let sent = self.inner.queue.try_send(job);
        sent.map(|()| answer).map_err(|error| {
            queued.fetch_sub(1, Ordering::Relaxed);
            match error {
                TrySendError::Full(_) => StoreError::Overloaded,
                TrySendError::Disconnected(_) => StoreError::Stopped,
            }
        })
    }

    /// Writes; answers once it is durable.
    pub async fn write<W: WriteOp>(&self, op: W) -> Result<W::Out, StoreError> {
        self.send(op)?.await.unwrap_or(Err(StoreError::Stopped))
    }

    /// As [`Store::write`], for relay's own threads, which may block: takes none of the clients'
    /// places in the queue, and waits if there is none of its own.
    pub fn write_blocking<W: WriteOp>(&self, op: W) -> Result<W::Out, StoreError> {
        self.refuse_if_stopping()?;
        let (waiter, answer) = oneshot::channel();
        self.inner
            .queue
            .send(Message::Own(Box::new(Job::new(op, waiter))))
            .map_err(|_| StoreError::Stopped)?;
        stop::block_on(answer).unwrap_or(Err(StoreError::Stopped))
    }

    fn refuse_if_stopping(&self) -> Result<(), StoreError> {
        if self.inner.shared.is_stopping.load(Ordering::SeqCst) {
            return Err(StoreError::Stopped);
        }
        Ok(())
    }

    /// Accepts an intent; answers once it is durable.
    pub async fn accept(&self, intent: Accept) -> Result<Accepted, StoreError> {
        if self.is_low_on_space() {
            return Err(StoreError::DiskFull);
        }
        self.write(intent).await
    }

    /// Whether ingestion is refused for want of free space.
    pub fn is_low_on_space(&self) -> bool {
        self.inner.shared.low_space.load(Ordering::Relaxed)
    }

    /// Whether writes can be taken. Asks neither the writer nor a reader.
    pub fn readiness(&self) -> Result<(), Unready> {
        if self.is_low_on_space() {
            return Err(Unready::LowOnSpace);
        }
        let shared = &self.inner.shared;
        shared.health.check(shared.clock.monotonic())
    }

    /// Reads on a thread that may block. The page is materialised in `read`: no cursor outlives it.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || store.read_blocking(read))
            .await
            .map_err(|panic| StoreError::Unexpected(format!("a read panicked: {panic}")))?
    }

    /// Reads.
    pub fn read_blocking<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let connection = self.inner.readers.get().map_err(|_| StoreError::Busy)?;
        let result = read(&connection);
        if let Err(StoreError::Broken(error)) = &result {
            (self.inner.shared.on_broken)(format!("a read met a broken database: {error}"));
        }
        result
    }

    /// A connection for the caller's own reads.
    pub fn reader(&self) -> Reader {
        let on_broken = Arc::clone(&self.inner.shared.on_broken);
        Reader::new(self.inner.shared.path.clone(), on_broken)
    }

    /// The transactions since this was asked last.
    #[cfg(test)]
    pub fn take_transactions(&self) -> Vec<Transaction> {
        std::mem::take(&mut self.inner.shared.transactions.lock().expect("no panics"))
    }

    /// The sizes of the database and of its WAL, in bytes.
    pub fn file_sizes(&self) -> (u64, u64) {
        let size = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
        (
            size(&self.inner.shared.path),
            size(&lock::path_beside(&self.inner.shared.path, "-wal")),
        )
    }

    /// Asks the writer to commit what was sent before, to checkpoint and to close the database. Later
    /// writes are refused. Doesn't block, even if the queue is full and the disk hangs.
    pub fn begin_stop(&self) {
        self.inner.shared.is_stopping.store(true, Ordering::SeqCst);
        // Only wakes it: with a full queue it is awake, and looks whether it should stop.
        let _ = self.inner.queue.try_send(Message::Stop);
    }

    /// When the database is closed and unlocked.
    pub fn ended(&self) -> &Ending {
        &self.inner.ended
    }

    /// Stops, and waits for it.
    #[cfg(test)]
    pub fn stop(&self) {
        self.begin_stop();
        let deadline = stop::Deadline::within(Duration::from_secs(60));
        assert!(self.ended().wait(&deadline), "the writer hangs");
    }
}

fn run(writer: Writer) {
    let shared = writer.shared();
    let on_broken = &shared.on_broken;
    let ended =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| -> Ended { writer.run() }));
    shared.health.ended();
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => on_broken(format!("the writer stopped: {error}")),
        Err(_) => on_broken("the writer panicked".to_owned()),
    }
}

/// Links that are followed from one name to the next: as many as Linux does itself (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

/// The absolute path with its links resolved, also those that lead to a file which isn't there yet:
/// `SQLite` will make it where they lead, and the lock file belongs beside it.
fn canonical(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        if let Ok(whole) = path.canonicalize() {
            return whole;
        }
        let Some(name) = path.file_name() else { break };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        // The directory is missing: opening the file says so, by the name that it was given.
        let Ok(parent) = parent.canonicalize() else {
            break;
        };
        let resolved = parent.join(name);
        match resolved.read_link() {
            Ok(target) => path = parent.join(target),
            Err(_) => return resolved,
        }
    }
    path
}
