//! Counts the stored deliveries after a start.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::changes::CountChanges;
use crate::store::error::StoreError;
use crate::store::sqlite::open;
use crate::store::sqlite::shared::Shared;

/// Counts the stored deliveries, on a thread and a connection of its own.
#[derive(Debug)]
pub struct Counting {
    thread: Option<JoinHandle<()>>,
    is_cancelled: Arc<AtomicBool>,
}

/// Instructions of SQLite's between two tests for a cancellation: some 0.1 ms.
const CANCEL_EVERY: i32 = 10_000;

impl Counting {
    /// Begins. `sql` is the writer's connection, between two transactions: the deliveries stored at
    /// this moment are counted, and every later transaction changes the counts.
    pub fn begin(sql: &Connection, shared: &Arc<Shared>) -> Result<Self, StoreError> {
        // It fails most often for lack of file descriptors: no reason to end.
        let reader = open::reader(&shared.path).map_err(|_| StoreError::Busy)?;
        let is_cancelled = Arc::new(AtomicBool::new(false));
        let cancelled = Arc::clone(&is_cancelled);
        reader.progress_handler(
            CANCEL_EVERY,
            Some(move || cancelled.load(Ordering::Relaxed)),
        )?;
        // Keeps commands from writing until the snapshot is taken. The snapshot includes the
        // changes that they left before: these must not be added to it.
        let tx = Transaction::new_unchecked(sql, TransactionBehavior::Immediate)?;
        CountChanges::default().take(&tx)?;
        reader.execute_batch("BEGIN; SELECT 1 FROM count_changes")?;
        tx.commit()?;
        shared.counts.restart();
        let shared = Arc::clone(shared);
        let cancelled = Arc::clone(&is_cancelled);
        let thread = std::thread::Builder::new()
            .name("relay-counter".to_owned())
            .spawn(move || match CountChanges::of_all(&reader) {
                Ok(stored) => shared.counts.complete(&stored),
                Err(_) if cancelled.load(Ordering::Relaxed) => {}
                Err(error) => match StoreError::from(error) {
                    StoreError::Broken(error) => {
                        (shared.on_broken)(format!("counting met a broken database: {error}"));
                    }
                    error => log::warn!(error:% = error; "deliveries can't be counted"),
                },
            })
            .map_err(|error| StoreError::Unexpected(format!("no thread to count: {error}")))?;
        Ok(Self {
            thread: Some(thread),
            is_cancelled,
        })
    }

    pub fn is_under_way(&self) -> bool {
        self.thread
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
    }
}

/// Ends the count: its snapshot keeps the WAL from being emptied, which a stop does last.
impl Drop for Counting {
    fn drop(&mut self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic has been printed, and costs only the gauges.
            let _ = thread.join();
        }
    }
}
