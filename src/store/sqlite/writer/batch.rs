//! One batch: its transaction, the retry without a change that failed, and the answers.

use std::io::ErrorKind;
use std::sync::atomic::Ordering;

use super::Writer;
use super::queue::ErasedWrite;
#[cfg(test)]
use crate::clock::Clock as _;
use crate::store::error::StoreError;
use crate::store::sqlite::counts::CountChanges;
use crate::store::sqlite::hold;
#[cfg(test)]
use crate::store::sqlite::shared::Transaction;
use crate::store::sqlite::space::full_if_over_quota;
use crate::store::sqlite::tx::Tx;

/// A batch that failed.
struct Failed {
    /// The index of the change that failed; none if the transaction itself failed.
    at: Option<usize>,
    error: StoreError,
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self { at: None, error }
    }
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl Writer {
    /// Commits a batch and answers its waiters; whether anything was committed. An error means that
    /// the database is broken.
    pub(super) fn commit(
        &mut self,
        mut batch: Vec<Box<dyn ErasedWrite>>,
    ) -> Result<bool, StoreError> {
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
            self.state.begin();
            match self.try_commit(&mut batch) {
                Ok(changes) => break changes,
                Err(failed) => {
                    let Failed { at, error } = self.roll_back(failed);
                    match at {
                        Some(at) if !error.fails_whole_batch() => batch.remove(at).failed(error),
                        _ => return self.refuse(batch, error),
                    }
                }
            }
        };
        if self.shared.health.accepting() {
            log::info!("writes are being accepted again");
        }
        self.state.committed();
        self.shared.counts.add(&changes);
        self.shared.newly_dead.note(&self.state.dead.borrow());
        // Before the answers: every acknowledged intent is noted.
        let added = Some(self.state.added.get()).filter(|&added| added > 0);
        self.record.note(added, &*self.shared.clock);
        let took = self.shared.clock.monotonic().saturating_sub(start);
        self.shared.metrics.committed(batch.len(), took);
        #[cfg(test)]
        self.shared
            .transactions
            .lock()
            .expect("no panics")
            .push(Transaction {
                rows: self.sql.total_changes() - rows_before,
                took: self.shared.stopwatch.monotonic().saturating_sub(began),
            });
        for write in batch {
            write.done(&self.shared.metrics);
        }
        let due = self.state.due.borrow();
        if !due.is_empty() {
            (self.shared.on_work)(&due);
        }
        if self.outside.committed() {
            self.look_at_hold()?;
            (self.shared.on_outside_write)();
        }
        Ok(true)
    }

    /// Another process has written: it may have lifted the hold.
    fn look_at_hold(&self) -> Result<(), StoreError> {
        match hold::look(&self.sql, &self.shared) {
            Err(error) if error.is_fatal() => Err(error),
            Err(error) => {
                log::warn!(error:%; "the hold can't be read: nothing is sent");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Undoes the transaction. Returns its failure, or a worse one found meanwhile.
    fn roll_back(&mut self, Failed { mut at, mut error }: Failed) -> Failed {
        // Some failures roll back by themselves. Without a rollback the next batch would be refused
        // by BEGIN, and so would all that follow.
        if !self.sql.is_autocommit()
            && let Err(rollback) = self.sql.execute_batch("ROLLBACK")
            && !self.sql.is_autocommit()
        {
            log::error!(error:% = error; "a transaction failed, and so did its ROLLBACK");
            (at, error) = (None, StoreError::Broken(rollback.into()));
        }
        self.state.rolled_back();
        error = full_if_over_quota(error, &self.shared);
        // A disk that stays full must not hide that the files were replaced.
        if let Err(displaced) = self.ownership.check() {
            (at, error) = (None, displaced);
        }
        Failed { at, error }
    }

    /// Refuses a whole batch.
    fn refuse(
        &self,
        batch: Vec<Box<dyn ErasedWrite>>,
        error: StoreError,
    ) -> Result<bool, StoreError> {
        // First, so that a refused client finds the store unready.
        let is_first = self.shared.health.refusing(&error);
        for write in batch {
            write.failed(error.share());
        }
        if error.is_fatal() {
            return Err(error);
        }
        if is_first {
            log::warn!(error:% = error; "writes are being refused");
        }
        Ok(false)
    }

    fn try_commit(&mut self, batch: &mut [Box<dyn ErasedWrite>]) -> Result<CountChanges, Failed> {
        let tx = Tx::of_server(&self.sql, self.shared.clock.now(), &self.state);
        if self.checkpoints.is_held() && self.space.is_needed_by_the_checkpoint() {
            return Err(StoreError::Full.into());
        }
        // IMMEDIATE: a transaction that reads first and writes then fails at once if another
        // process wrote in between, whatever the busy timeout.
        self.execute("BEGIN IMMEDIATE")?;
        tx.take_outside(&self.outside)?;
        for (at, write) in batch.iter_mut().enumerate() {
            write.apply(&tx).map_err(|error| Failed {
                at: Some(at),
                error,
            })?;
        }
        self.state.keys.borrow_mut().flush(&self.sql)?;
        let deleted = self.state.deleted.get();
        self.record
            .forget_up_to(deleted)
            .map_err(|error| match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Full,
                _ => StoreError::Unexpected(format!("the lock file can't be written: {error}")),
            })?;
        // Within the transaction: another server's first transaction comes before or after it.
        self.ownership.check()?;
        self.execute("COMMIT")?;
        Ok(tx.into_changes())
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.sql.prepare_cached(sql)?.execute([]).map(|_| ())
    }
}
