//! When the write-ahead log is moved into the database.
//!
//! Three tiers, as Litestream has them: PASSIVE after a number of frames or a time, whichever comes
//! first, and TRUNCATE when the file is large or the writer is idle.
//!
//! PASSIVE runs on a thread of its own, so that no client waits for it. The writer goes on
//! meanwhile, so that thread alone would never let the log begin anew: once the log is long and few
//! frames are left, the writer moves these itself.
//!
//! A reader's snapshot keeps the frames that are newer than it in the log; a reader that stays,
//! such as `VACUUM INTO` or a debugger, lets the log grow for as long.
//!
//! - `staying_reader`: tells a reader that stays from readers that come and go.

mod staying_reader;

use std::cell::Cell;
use std::ffi::c_int;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Duration;

use rusqlite::Connection;

use self::staying_reader::{News, StayingReader};
use super::limits::{BUSY_TIMEOUT, PAGE, TRUNCATE_FRAMES};
use super::open;
use super::paths::path_beside;
use super::shared::Shared;
use super::space::full_if_over_quota;
use crate::ops::series::Series;
use crate::store::error::StoreError;

/// WAL frames between checkpoints: 2 MB. The writer moves as many itself at most: that holds it up
/// by their number, and half of SQLite's own 1 000 made the slowest answers a tenth faster, at the
/// same throughput (measured).
const FRAMES: i64 = 500;
/// A log of this many frames begins anew once few are left to be moved: 8 MB. The writer is held up
/// once in as many frames.
const RESTART_FRAMES: i64 = 2_000;
/// The time between checkpoints, however few frames there are: a checkpoint that was cut short is
/// repeated under little load, too.
const EVERY: Duration = Duration::from_secs(10);
/// A backlog of this many frames is most often a reader's that stays: 32 MiB. The writer never
/// moves it, which would take a tenth of a second and more.
const BACKLOG_FRAMES: i64 = 8_192;
/// The time between attempts to move a backlog: most find that the reader is still there.
const BACKLOG_EVERY: Duration = Duration::from_secs(1);
/// The size of the WAL at which it may be emptied under `database.max_bytes`: less would empty it
/// with every other checkpoint.
const MIN_TRUNCATE_BYTES: u64 = 4 << 20;
/// Bytes of a frame: a page and its header.
const FRAME: u64 = PAGE as u64 + 24;

thread_local! {
    /// Frames in the WAL after the last commit, which `SQLite` reports to the hook below. The hook
    /// is a plain function, and the writer's thread has just one connection.
    static WAL_FRAMES: Cell<c_int> = const { Cell::new(0) };
}

/// The kind of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Passive,
    /// Also empties the file, if all frames were moved and nobody reads.
    Truncate,
}

/// The result of a checkpoint.
#[derive(Clone, Copy, Debug)]
struct CheckpointResult {
    is_busy: bool,
    /// Frames in the log.
    frames: i64,
    /// Of those, how many are in the database.
    moved: i64,
}

pub struct Checkpoints {
    shared: Arc<Shared>,
    /// Frames at which the next checkpoint is due: further off after one that was cut short, so
    /// that not every commit meets the same reader.
    next: i64,
    /// Frames at the log's beginning that are in the database.
    moved: i64,
    /// Whether the WAL file holds anything since it was last emptied.
    is_used: bool,
    /// Whether the last checkpoint failed, so that a full disk is logged once and not every second.
    is_failing: bool,
    /// When the last checkpoint was attempted, by the monotonic clock.
    tried_at: Duration,
    reader: StayingReader,
    failed_threads: Series,
    /// The result of the thread that moves frames, while there is one.
    thread: Option<Receiver<Result<CheckpointResult, StoreError>>>,
}

impl Checkpoints {
    /// For the database that this connection writes. The WAL may hold frames of an earlier process.
    pub fn new(sql: &Connection, shared: Arc<Shared>) -> Self {
        sql.wal_hook(Some(|_, frames| {
            WAL_FRAMES.set(frames);
            Ok(())
        }));
        Self {
            next: FRAMES,
            moved: 0,
            is_used: true,
            is_failing: false,
            tried_at: shared.clock.monotonic(),
            shared,
            reader: StayingReader::default(),
            failed_threads: Series::default(),
            thread: None,
        }
    }

    /// Whether the WAL file holds frames: then it has to stay with the database.
    pub fn is_wal_used(&self) -> bool {
        self.is_used
    }

    /// Bytes of the WAL, on the thread of the connection that writes it.
    pub fn wal_bytes() -> u64 {
        bytes(Self::frames())
    }

    /// Whether a reader keeps the WAL from being moved.
    pub fn is_held(&self) -> bool {
        self.reader.is_there()
    }

    /// After a batch: makes a checkpoint if one is due.
    pub fn after_batch(&mut self, sql: &Connection, has_committed: bool) -> Result<(), StoreError> {
        self.is_used |= has_committed;
        let has_ended = self.take_thread()?;
        if Self::frames() < self.moved {
            // The log began anew.
            self.moved = 0;
            self.next = FRAMES;
        }
        let since = self.shared.clock.monotonic().saturating_sub(self.tried_at);
        let is_due = Self::frames() >= self.next || since >= EVERY;
        if !self.is_used || self.thread.is_some() {
            // The thread's result comes with a later batch.
        } else if let Some(mode) = self.own_mode(has_ended) {
            self.checkpoint(sql, mode)?;
        } else if is_due && (self.unfinished() < BACKLOG_FRAMES || since >= BACKLOG_EVERY) {
            self.start_thread();
        }
        self.publish();
        Ok(())
    }

    /// The writer is idle: empties the WAL.
    pub fn when_idle(&mut self, sql: &Connection) -> Result<(), StoreError> {
        self.take_thread()?;
        if self.is_used && self.thread.is_none() {
            if self.unfinished() < BACKLOG_FRAMES {
                self.checkpoint(sql, Mode::Truncate)?;
            } else {
                self.start_thread();
            }
        }
        self.publish();
        Ok(())
    }

    /// Empties the WAL now, so that what was deleted is in no file any more; whether it is empty.
    pub fn empty(&mut self, sql: &Connection) -> Result<bool, StoreError> {
        if let Some(thread) = self.thread.take() {
            // It holds the lock that this checkpoint needs.
            let _ = thread.recv();
        }
        if self.is_used {
            self.checkpoint(sql, Mode::Truncate)?;
        }
        self.publish();
        Ok(!self.is_used)
    }

    /// Makes the last checkpoint.
    pub fn at_end(&mut self, sql: &Connection) -> Result<(), StoreError> {
        if let Some(thread) = self.thread.take() {
            // The thread holds the lock that this checkpoint needs.
            let _ = thread.recv();
        }
        self.checkpoint(sql, Mode::Truncate)
    }

    fn frames() -> i64 {
        i64::from(WAL_FRAMES.get())
    }

    /// The frames above which the file is emptied: [`TRUNCATE_FRAMES`], or an eighth of
    /// `database.max_bytes`, of which the file is a part.
    fn truncate_frames(&self) -> i64 {
        let Some(max) = self.shared.budget.max() else {
            return TRUNCATE_FRAMES;
        };
        let frames = (max / 8).max(MIN_TRUNCATE_BYTES) / FRAME;
        TRUNCATE_FRAMES.min(i64::try_from(frames).unwrap_or(i64::MAX))
    }

    fn unfinished(&self) -> i64 {
        Self::frames() - self.moved
    }

    fn publish(&self) {
        self.shared.metrics.wal_unfinished(self.unfinished());
    }

    /// The checkpoint that the writer makes itself, if it should: the log begins anew, and is cut
    /// short if it is large. `has_ended` tells that the thread has just moved what it could.
    fn own_mode(&self, has_ended: bool) -> Option<Mode> {
        let (frames, left) = (Self::frames(), self.unfinished());
        let large = self.truncate_frames();
        if frames >= large && frames >= self.next && left < BACKLOG_FRAMES {
            return Some(Mode::Truncate);
        }
        let is_long = frames >= RESTART_FRAMES.min(large);
        (has_ended && is_long && left <= FRAMES).then_some(Mode::Passive)
    }

    /// Takes the result of the thread, if it has ended; whether it has.
    fn take_thread(&mut self) -> Result<bool, StoreError> {
        let Some(thread) = &self.thread else {
            return Ok(false);
        };
        let result = match thread.try_recv() {
            Ok(result) => result,
            Err(TryRecvError::Empty) => return Ok(false),
            Err(TryRecvError::Disconnected) => Err(StoreError::Unexpected(
                "the thread that moves the write-ahead log panicked".to_owned(),
            )),
        };
        self.thread = None;
        // The log was written meanwhile, so it is not empty now.
        self.take(Mode::Passive, result, false)?;
        Ok(true)
    }

    /// Moves frames on a thread of its own, beside the writer.
    fn start_thread(&mut self) {
        self.tried_at = self.shared.clock.monotonic();
        let (tell, told) = sync_channel(1);
        let database = self.shared.path.clone();
        let thread = std::thread::Builder::new().name("relay-checkpoint".to_owned());
        let spawned = thread.spawn(move || {
            let result = open::checkpointer(&database)
                .map_err(StoreError::from)
                .and_then(|sql| checkpoint(&sql, Mode::Passive));
            // The writer may have ended.
            let _ = tell.send(result);
        });
        match spawned {
            Ok(_) => self.thread = Some(told),
            Err(error) => {
                if self.failed_threads.begins(self.tried_at) {
                    log::warn!(error:% = error; "the write-ahead log can't be moved: no thread");
                }
            }
        }
    }

    fn checkpoint(&mut self, sql: &Connection, mode: Mode) -> Result<(), StoreError> {
        let result = sql
            .busy_timeout(Duration::ZERO)
            .map_err(StoreError::from)
            .and_then(|()| checkpoint(sql, mode));
        sql.busy_timeout(BUSY_TIMEOUT)?;
        self.take(mode, result, true)
    }

    /// Takes a checkpoint's result. A reader or a full disk may have cut it short; the rest is
    /// moved later. `is_own` tells that the writer made it, so that nothing was written meanwhile.
    fn take(
        &mut self,
        mode: Mode,
        result: Result<CheckpointResult, StoreError>,
        is_own: bool,
    ) -> Result<(), StoreError> {
        let now = self.shared.clock.monotonic();
        self.tried_at = now;
        self.next = Self::frames().saturating_add(FRAMES);
        match result.map_err(|error| full_if_over_quota(error, &self.shared)) {
            Ok(found) => {
                log::trace!(mode:? = mode, found:? = found; "checkpoint");
                self.is_failing = false;
                // Negative if another process makes a checkpoint at the moment.
                if found.frames >= 0 {
                    self.moved = found.moved;
                    self.report(found, now);
                }
                let is_empty = mode == Mode::Truncate && !found.is_busy;
                if is_own && is_empty && found.frames == found.moved {
                    WAL_FRAMES.set(0);
                    self.moved = 0;
                    self.next = FRAMES;
                    self.is_used = false;
                }
                Ok(())
            }
            Err(broken @ StoreError::Broken(_)) => Err(broken),
            Err(other) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    log::warn!(
                        error:% = other, mode:? = mode;
                        "a checkpoint failed and was put off"
                    );
                }
                Ok(())
            }
        }
    }

    fn report(&mut self, found: CheckpointResult, now: Duration) {
        match self
            .reader
            .observe(found.frames, found.moved, now, self.shared.clock.now())
        {
            None => {}
            Some(News::Stays { since }) => log::warn!(
                since:% = since,
                wal_bytes = bytes(found.frames),
                unfinished_frames = found.frames - found.moved;
                "a reader keeps its snapshot of the database, so the write-ahead log can't be moved into it and grows: `lsof {}` names the processes that may be it",
                path_beside(&self.shared.path, "-shm").display()
            ),
            Some(News::IsGone { stayed }) => log::info!(
                seconds = stayed.as_secs(), wal_bytes = bytes(found.frames);
                "the reader that kept the write-ahead log from being moved is gone, and it has been moved"
            ),
        }
    }
}

fn checkpoint(sql: &Connection, mode: Mode) -> Result<CheckpointResult, StoreError> {
    let mode = match mode {
        Mode::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
        Mode::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
    };
    Ok(sql.query_row(mode, [], |row| {
        Ok(CheckpointResult {
            is_busy: row.get(0)?,
            frames: row.get(1)?,
            moved: row.get(2)?,
        })
    })?)
}

fn bytes(frames: i64) -> u64 {
    u64::try_from(frames).unwrap_or(0) * FRAME
}

#[cfg(test)]
mod tests;
