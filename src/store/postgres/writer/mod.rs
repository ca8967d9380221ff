//! The thread that records what is accepted: it takes all that waits, writes it with one statement,
//! and only then answers.
//!
//! - `pending`: what waits for it. `batch`: one batch and its answers. `insert`: the statement.
//!   `late`: batches whose commit took long. `earlier`: intents that keys name. `admission`: how
//!   many origins may wait.

mod admission;
mod batch;
mod earlier;
mod insert;
mod late;
mod pending;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

pub use insert::Rows;
pub use pending::{Answer, Command, PendingAccept};

use self::admission::Admission;
use super::nodes;
use super::retry::{CALL_LIMIT, Link, Patience};
use super::shared::Shared;
use crate::stop::{Deadline, Ending};
use crate::store::error::StoreError;
use crate::store::limits::{MAX_BATCH, MAX_BATCH_BYTES};

/// Rows in one statement, entries of indexes not counted: as many as [`MAX_BATCH`] events of a key
/// and two deliveries have.
const MAX_BATCH_ROWS: usize = 4 * MAX_BATCH;

/// The writer looks around after being idle for this long.
const IDLE: Duration = Duration::from_millis(500);

pub struct Writer {
    queue: Receiver<Command>,
    shared: Arc<Shared>,
    link: Link,
    admission: Admission,
    /// Received, and too large for the batch that was being collected: begins the next one.
    carried_over: Option<PendingAccept>,
    /// The newest row that was given to an intent.
    last_row: i64,
    /// Buckets with rows that are where nobody looks: their owners are to be told.
    late: BTreeSet<i16>,
    /// When the first of the batch has waited for [`CALL_LIMIT`].
    until: Deadline,
}

impl Writer {
    pub fn new(queue: Receiver<Command>, shared: Arc<Shared>, last_row: i64) -> Self {
        let link = shared.connector.link();
        Self {
            queue,
            shared,
            link,
            admission: Admission::default(),
            carried_over: None,
            last_row,
            until: Deadline::now(),
            late: BTreeSet::new(),
        }
    }

    /// Runs until it is asked to stop and its queue is empty, or until the database can't be
    /// trusted any more.
    fn run(mut self) -> Result<(), StoreError> {
        loop {
            self.shared.health.rest();
            // Asked before the queue is found empty: everything sent before is committed.
            let is_stopping = self.shared.stop.is_asked();
            let next = self.next(if is_stopping { Duration::ZERO } else { IDLE });
            self.shared.health.begin(self.shared.clock.monotonic());
            match next {
                Ok(Some(first)) => {
                    let batch = self.collect(first);
                    self.commit(batch)?;
                }
                Ok(None) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if is_stopping => break,
                Err(RecvTimeoutError::Timeout) => self.look_around(),
            }
        }
        self.leave();
        Ok(())
    }

    /// The intent that begins the next batch. None if the writer was only woken.
    fn next(&mut self, idle: Duration) -> Result<Option<PendingAccept>, RecvTimeoutError> {
        if let Some(first) = self.carried_over.take() {
            return Ok(Some(first));
        }
        let command = self.queue.recv_timeout(idle)?;
        Ok(self.received(command))
    }

    /// The intent of a command, if it has one. Returns its place in the queue.
    fn received(&self, command: Command) -> Option<PendingAccept> {
        match command {
            Command::Accept(pending) => {
                self.shared.queued.fetch_sub(1, Ordering::Relaxed);
                Some(*pending)
            }
            Command::Wake => None,
        }
    }

    /// All that waits, as far as it fits into a batch.
    fn collect(&mut self, first: PendingAccept) -> Vec<PendingAccept> {
        let (mut rows, mut bytes) = (first.rows(), first.bytes());
        let mut batch = vec![first];
        while batch.len() < MAX_BATCH {
            let Ok(command) = self.queue.try_recv() else {
                break;
            };
            let Some(next) = self.received(command) else {
                continue;
            };
            rows += next.rows();
            bytes += next.bytes();
            if rows > MAX_BATCH_ROWS || bytes > MAX_BATCH_BYTES {
                self.carried_over = Some(next);
                break;
            }
            batch.push(next);
        }
        batch
    }

    /// The work of an idle writer: finds out whether writes can be taken again. A row of 64 KiB
    /// needs room on the disk, which a change of a small row doesn't: as long as there is none,
    /// this node is not ready.
    fn look_around(&mut self) {
        const PROBE: &str = "
            INSERT INTO relay.intents (id, random, surface, created_at, label, headers, body)
                VALUES (0, 0, 1, 0, '', '', decode(repeat('00', 65536), 'hex'));
            DELETE FROM relay.intents WHERE id = 0";
        if !self.shared.health.is_refusing() {
            return;
        }
        let patience = Patience {
            limit: Duration::ZERO,
            stop: &self.shared.stop,
        };
        let probed = self.link.call(patience, |sql| sql.batch(PROBE));
        if probed.is_ok() {
            if self.shared.health.accepting() {
                log::info!("writes are being accepted again");
            }
            self.tell_of_late_rows();
        }
    }

    /// Leaves the other nodes, as far as the server can be reached.
    fn leave(&mut self) {
        let shared = &self.shared;
        let left = self.link.call(shared.patience(CALL_LIMIT), |sql| {
            nodes::leave(sql, &shared.node, &shared.node_settings, &*shared.clock)
        });
        if let Err(error) = left {
            log::warn!(error:%; "this node could not leave: its lease has to end first");
        }
    }
}

/// Starts the writer's thread; returns its end.
pub fn spawn(writer: Writer, shared: Arc<Shared>) -> std::io::Result<Ending> {
    let (running, ended) = Ending::new();
    let thread = std::thread::Builder::new().name("relay-writer".to_owned());
    running.spawn(thread, move || run(writer, &shared))?;
    Ok(ended)
}

fn run(writer: Writer, shared: &Shared) {
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| writer.run()));
    shared.health.ended();
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => (shared.on_broken)(format!("the writer stopped: {error}")),
        Err(_) => (shared.on_broken)("the writer panicked".to_owned()),
    }
}
