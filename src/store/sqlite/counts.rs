//! How many deliveries are in which state, kept in memory: each transaction says what it moves, and
//! what was stored at the start is counted once, beside the writer. Asking costs the same however
//! long the backlog is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params};

use super::{Shared, StoreError, open};
use crate::model::DeliveryState;

/// The states that are counted. Delivered ones aren't: nothing would ever take them away but
/// retention, and counting them at a start would read all rows.
pub(super) const COUNTED: [DeliveryState; 4] = [
    DeliveryState::Queued,
    DeliveryState::Processing,
    DeliveryState::Retrying,
    DeliveryState::DeadLettered,
];

/// Deliveries by state, in the order of [`COUNTED`].
type ByState = [i64; COUNTED.len()];

/// The place of the dead letters, which are kept in total only: there may be some for each of any
/// number of destinations for which nothing waits.
const DEAD: usize = 3;

fn place(state: DeliveryState) -> Option<usize> {
    COUNTED.iter().position(|&counted| counted == state)
}

/// By how much the number of deliveries of each destination changes.
#[derive(Debug, Default)]
pub(crate) struct CountChanges(HashMap<i64, ByState>);

impl CountChanges {
    /// A delivery goes from a state to another; none: it wasn't stored before, or isn't any more.
    pub fn moved(
        &mut self,
        destination: i64,
        from: Option<DeliveryState>,
        to: Option<DeliveryState>,
    ) {
        for (state, change) in [(from, -1), (to, 1)] {
            if let Some(state) = state {
                self.add(destination, state, change);
            }
        }
    }

    fn add(&mut self, destination: i64, state: DeliveryState, change: i64) {
        if let Some(place) = place(state) {
            self.0.entry(destination).or_default()[place] += change;
        }
    }

    /// Leaves them for the server, in a command's transaction.
    pub(super) fn leave(&self, sql: &Connection) -> rusqlite::Result<()> {
        let mut statement = sql.prepare_cached(
            "INSERT INTO count_changes (destination_id, state, change) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET change = change + excluded.change",
        )?;
        for (destination, changes) in &self.0 {
            for (state, change) in COUNTED.iter().zip(changes) {
                if *change != 0 {
                    statement.execute(params![destination, state.number(), change])?;
                }
            }
        }
        Ok(())
    }

    /// Takes what commands have left, in the server's transaction.
    pub(super) fn take(&mut self, sql: &Connection) -> rusqlite::Result<()> {
        let mut statement =
            sql.prepare_cached("SELECT destination_id, state, change FROM count_changes")?;
        let mut rows = statement.query([])?;
        let mut is_empty = true;
        while let Some(row) = rows.next()? {
            is_empty = false;
            if let Some(state) = DeliveryState::from_number(row.get(1)?) {
                self.add(row.get(0)?, state, row.get(2)?);
            }
        }
        if !is_empty {
            sql.execute("DELETE FROM count_changes", [])?;
        }
        Ok(())
    }

    /// Counts all deliveries that are stored, in the partial indexes.
    fn of_all(sql: &Connection) -> rusqlite::Result<Self> {
        let mut counted = Self::default();
        for select in COUNT {
            let mut statement = sql.prepare(select)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let counts = counted.0.entry(row.get(0)?).or_default();
                for (place, count) in counts.iter_mut().enumerate() {
                    *count += row.get::<_, i64>(1 + place)?;
                }
            }
        }
        Ok(counted)
    }
}

/// Counts by destination, each in the order of its index: a destination, and its counts in the order
/// of [`COUNTED`].
const COUNT: [&str; 3] = [
    "SELECT destination_id, sum(state = 0), 0, sum(state = 2), 0
     FROM deliveries INDEXED BY due WHERE next_attempt_at IS NOT NULL GROUP BY destination_id",
    "SELECT destination_id, 0, count(*), 0, 0
     FROM deliveries INDEXED BY claimed WHERE claim IS NOT NULL GROUP BY destination_id",
    "SELECT destination_id, 0, 0, 0, count(*)
     FROM deliveries INDEXED BY dead WHERE state = 4 GROUP BY destination_id",
];

/// The counts, as they are after the last commit.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Whether what was stored at the start is in them. Before that they are differences.
    is_complete: bool,
    total: ByState,
    /// Without the dead letters. Bounded by the destinations for which something waits or is under
    /// way: one that has nothing is removed.
    by_destination: HashMap<i64, ByState>,
}

impl Counts {
    /// How many deliveries there are in each state but delivered; none until they are counted.
    pub fn totals(&self) -> Option<[(DeliveryState, i64); COUNTED.len()]> {
        let known = self.known();
        known.is_complete.then(|| {
            let mut place = 0;
            COUNTED.map(|state| {
                place += 1;
                (state, known.total[place - 1])
            })
        })
    }

    pub fn is_complete(&self) -> bool {
        self.known().is_complete
    }

    /// How many wait for a destination; none until they are counted.
    pub fn waiting(&self, destination: i64) -> Option<i64> {
        let known = self.known();
        known.is_complete.then(|| {
            let counts = known.by_destination.get(&destination);
            counts.map_or(0, |[queued, _, retrying, _]| queued + retrying)
        })
    }

    /// A transaction is durable that changes them so.
    pub fn add(&self, changes: &CountChanges) {
        if !changes.0.is_empty() {
            self.known().add(changes);
        }
    }

    /// From now on they are differences to what is stored.
    fn restart(&self) {
        *self.known() = Known::default();
    }

    /// What was stored when they were differences to it.
    pub(super) fn complete(&self, stored: &CountChanges) {
        let mut known = self.known();
        known.add(stored);
        known.is_complete = true;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0
            .lock()
            .expect("nobody panics while holding this lock")
    }
}

impl Known {
    fn add(&mut self, changes: &CountChanges) {
        for (&destination, changes) in &changes.0 {
            for (total, change) in self.total.iter_mut().zip(changes) {
                *total += change;
            }
            let counts = self.by_destination.entry(destination).or_default();
            for (count, change) in counts.iter_mut().zip(&changes[..DEAD]) {
                *count += change;
            }
            if *counts == ByState::default() {
                self.by_destination.remove(&destination);
            }
        }
    }
}

/// Counts what is stored, on a thread and a connection of its own.
#[derive(Debug)]
pub(super) struct Counting {
    thread: Option<JoinHandle<()>>,
    is_cancelled: Arc<AtomicBool>,
}

/// Instructions of SQLite's between two looks whether the counting is cancelled: some 0.1 ms.
const CANCEL_EVERY: i32 = 10_000;

impl Counting {
    /// Begins it. `sql` is the writer's connection, between two transactions: what is counted is
    /// what was stored at this moment, and every transaction after it changes the counts.
    pub fn begin(sql: &Connection, shared: &Arc<Shared>) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(&shared.path, flags)
            .and_then(|reader| open::reader(&reader).map(|()| reader))
            // Most often for want of descriptors: no reason to end.
            .map_err(|_| StoreError::Busy)?;
        let is_cancelled = Arc::new(AtomicBool::new(false));
        let cancelled = Arc::clone(&is_cancelled);
        reader.progress_handler(
            CANCEL_EVERY,
            Some(move || cancelled.load(Ordering::Relaxed)),
        )?;
        // Keeps commands from writing until the snapshot is taken. What they left before is counted,
        // and must not be added to it.
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

/// Its snapshot keeps the WAL from being emptied, which a stop does last.
impl Drop for Counting {
    fn drop(&mut self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed, and costs no more than the gauges.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::DeliveryState::{DeadLettered, Delivered, Processing, Queued, Retrying};
    use super::*;
    use crate::model::Surface;
    use crate::store::sqlite::tests::{Insert, open};
    use crate::store::{Accept, Store, Tx};

    fn changes(moves: &[(i64, Option<DeliveryState>, Option<DeliveryState>)]) -> CountChanges {
        let mut changes = CountChanges::default();
        for (destination, from, to) in moves {
            changes.moved(*destination, *from, *to);
        }
        changes
    }

    #[test]
    fn transactions_change_what_was_stored_before_them() {
        let counts = Counts::default();
        // Committed while it is being counted.
        counts.add(&changes(&[
            (1, Some(Queued), Some(Processing)),
            (2, None, Some(Queued)),
        ]));
        assert_eq!((counts.totals(), counts.waiting(1)), (None, None));
        counts.complete(&changes(&[
            (1, None, Some(Queued)),
            (1, None, Some(Retrying)),
            (3, None, Some(DeadLettered)),
        ]));
        counts.add(&changes(&[(1, Some(Retrying), Some(Processing))]));
        let totals = counts.totals().expect("they are counted");
        assert_eq!(
            totals,
            [
                (Queued, 1),
                (Processing, 2),
                (Retrying, 0),
                (DeadLettered, 1)
            ]
        );
        assert_eq!(
            [1, 2, 3].map(|id| counts.waiting(id)),
            [Some(0), Some(1), Some(0)]
        );
    }

    #[test]
    fn a_destination_for_which_nothing_waits_takes_no_memory() {
        let counts = Counts::default();
        counts.complete(&changes(&[(1, None, Some(DeadLettered))]));
        for step in [
            (2, None, Some(Queued)),
            (2, Some(Queued), Some(Processing)),
            (2, Some(Processing), Some(Delivered)),
        ] {
            counts.add(&changes(&[step]));
        }
        assert_eq!(counts.known().by_destination.len(), 0);
    }

    /// In the order of [`COUNTED`], once they are counted.
    fn totals(store: &Store) -> ByState {
        loop {
            match store.deliveries() {
                Some(totals) => break totals.map(|(_, count)| count),
                None => std::thread::yield_now(),
            }
        }
    }

    #[test]
    fn what_is_accepted_is_counted_and_so_is_what_a_start_finds() {
        let directory = tempfile::tempdir().expect("a directory");
        let (store, _end) = open(&directory);
        assert_eq!(totals(&store), [0, 0, 0, 0]);
        let accept = Accept {
            surface: Surface::Event,
            label: "source".to_owned(),
            url: None,
            destinations: Arc::from(["a".to_owned(), "b".to_owned()]),
            owner: None,
            headers: Vec::new(),
            metadata: None,
            body: bytes::Bytes::from_static(b"{}"),
            key: None,
            window: Duration::from_secs(3600),
        };
        store.write_blocking(accept).expect("committed");
        assert_eq!((totals(&store), store.waiting(1)), ([2, 0, 0, 0], Some(1)));
        store.stop();
        let (store, _end) = open(&directory);
        assert_eq!((totals(&store), store.waiting(2)), ([2, 0, 0, 0], Some(1)));
        store.stop();
    }

    #[test]
    fn what_commands_changed_while_no_server_ran_is_counted_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let (store, _end) = open(&directory);
        store.stop();
        let command = Connection::open(directory.path().join("relay.db")).expect("a connection");
        command
            .execute_batch(
                "INSERT INTO destinations (id, name) VALUES (1, 'a');
                 INSERT INTO intents VALUES (1, 0, 1, 0, 'a', NULL, NULL, NULL, NULL, NULL, x'', x'');
                 INSERT INTO deliveries (intent_id, destination_id, state, next_attempt_at, updated_at)
                 VALUES (1, 1, 0, 0, 0);
                 INSERT INTO count_changes VALUES (1, 0, 1);",
            )
            .expect("rows");
        let (store, _end) = open(&directory);
        // A later command has the server look at what was left.
        command
            .execute_batch("UPDATE destinations SET name = 'b'")
            .expect("a row");
        store
            .write_blocking(Insert("c", |_: &Tx<'_>| Ok(())))
            .expect("committed");
        assert_eq!(totals(&store), [1, 0, 0, 0]);
        store.stop();
    }

    #[test]
    fn each_state_is_counted_in_its_partial_index() {
        let sql = Connection::open_in_memory().expect("a database");
        sql.execute_batch(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/schema.sql"
        )))
        .expect("the schema");
        for (select, index) in COUNT.into_iter().zip(["due", "claimed", "dead"]) {
            let plan = |row: &rusqlite::Row<'_>| row.get::<_, String>(3);
            let mut statement = sql
                .prepare(&format!("EXPLAIN QUERY PLAN {select}"))
                .expect("good SQL");
            let steps: Vec<_> = statement.query_map([], plan).expect("a plan").collect();
            let reads = steps[0].as_ref().expect("text");
            assert!(
                reads.contains(&format!("COVERING INDEX {index}")),
                "{reads}"
            );
        }
    }
}
