//! Changes that are too large for one transaction: made in steps, each of them durable by itself.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::writer::MAX_ROWS;
use super::{Store, StoreError, WriteOp};

/// Rows of a step beside clients. A `POST` may wait for a step and for the commit that holds the
/// next one, and 64 rows take about as long as the sync of a commit, 0.5 ms: with steps of 1 024
/// rows the 99th percentile of `POST` was 3.5 times the calm one, with 256 rows 2.4 times, with 64
/// rows 1.6 times (`scenarios turn`). Steps that small cost nothing there, since each shares a
/// commit that clients want anyway.
const ROWS_BESIDE_CLIENTS: usize = 64;

/// For so long after a client's write the next one is expected.
const CLIENTS_RETURN_WITHIN: Duration = Duration::from_secs(1);

/// A change that may take several transactions. Between two of its steps the writer attends to
/// everything else that is queued, so that nobody waits for the whole of it. A step that fails
/// leaves those before it done, and the change as it was: it can be gone on with later.
pub(crate) trait LongWrite {
    /// One transaction's share: at most [`MAX_ROWS`] rows, unless it can't be divided.
    type Step: WriteOp;

    /// The next step, of at most `rows` rows; none once all are done. The same one again until it is
    /// [`Self::committed`]. A change that rests between its steps may have a bound of its own.
    fn next_step(&mut self, rows: usize) -> Option<Self::Step>;

    /// The step is durable.
    fn committed(&mut self, out: <Self::Step as WriteOp>::Out);
}

impl Store {
    /// Makes the next step, if there is one; whether there was. For threads that may block.
    pub fn write_step<L: LongWrite>(&self, change: &mut L) -> Result<bool, StoreError> {
        let Some(step) = change.next_step(self.rows_of_a_step()) else {
            return Ok(false);
        };
        change.committed(self.write_blocking(step)?);
        Ok(true)
    }

    /// Rows of a step: few while clients write, since they wait for it, and otherwise as many as a
    /// transaction may have.
    fn rows_of_a_step(&self) -> usize {
        let shared = &self.inner.shared;
        let wrote_at = shared.clients_wrote_at.load(Ordering::Relaxed);
        let now = shared.clock.monotonic();
        let is_beside_clients = wrote_at > 0
            && now.saturating_sub(Duration::from_millis(wrote_at)) < CLIENTS_RETURN_WITHIN;
        if is_beside_clients {
            ROWS_BESIDE_CLIENTS
        } else {
            MAX_ROWS
        }
    }

    /// Makes all steps. After an error those that were durable have been reported to the change.
    pub fn write_steps<L: LongWrite>(&self, change: &mut L) -> Result<(), StoreError> {
        while self.write_step(change)? {}
        Ok(())
    }
}

/// Rows that the step being put together may still have.
#[derive(Debug)]
pub(crate) struct RowBudget {
    left: usize,
    is_untouched: bool,
}

impl RowBudget {
    /// This many rows.
    pub fn of(rows: usize) -> Self {
        Self {
            left: rows,
            is_untouched: true,
        }
    }

    /// Takes the rows of a change; false if they don't fit. Then the step is full, so that nothing
    /// overtakes that change. A change that fits into no step has one to itself.
    pub fn spend(&mut self, rows: usize) -> bool {
        let fits = rows <= self.left || self.is_untouched;
        self.is_untouched = false;
        self.left = if fits {
            self.left.saturating_sub(rows)
        } else {
            0
        };
        fits
    }

    /// How many of these changes, from the first on, belong to the step.
    pub fn spend_on<T>(&mut self, changes: &[T], rows: impl Fn(&T) -> usize) -> usize {
        changes
            .iter()
            .take_while(|change| self.spend(rows(change)))
            .count()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;

    use super::*;
    use crate::clock::{FakeClock, Timestamp};
    use crate::store::Tx;
    use crate::store::sqlite::tests::{Insert, destinations, fine, hold, open, open_by};

    /// Tells when each of its steps begins, and does nothing until told to.
    struct Steps {
        left: usize,
        begun: Sender<Vec<String>>,
        go_on: Arc<Mutex<Receiver<()>>>,
    }

    struct OneStep {
        begun: Sender<Vec<String>>,
        go_on: Arc<Mutex<Receiver<()>>>,
    }

    impl LongWrite for Steps {
        type Step = OneStep;

        fn next_step(&mut self, _rows: usize) -> Option<OneStep> {
            (self.left > 0).then(|| OneStep {
                begun: self.begun.clone(),
                go_on: Arc::clone(&self.go_on),
            })
        }

        fn committed(&mut self, (): ()) {
            self.left -= 1;
        }
    }

    impl WriteOp for OneStep {
        type Out = ();

        fn apply(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
            let names = tx.rows("SELECT name FROM destinations ORDER BY id", [], |row| {
                row.get(0)
            })?;
            self.begun.send(names).expect("the test waits");
            let go_on = self.go_on.lock().expect("no panics");
            go_on.recv().expect("the test tells");
            Ok(())
        }
    }

    #[test]
    fn a_write_waits_for_one_step_of_a_long_change_and_not_for_the_next() {
        let directory = tempfile::tempdir().expect("a directory");
        let (store, _end) = open(&directory);
        let (begun, has_begun) = channel();
        let (tell, go_on) = channel();
        let mut steps = Steps {
            left: 3,
            begun,
            go_on: Arc::new(Mutex::new(go_on)),
        };
        std::thread::scope(|scope| {
            scope.spawn(|| store.write_steps(&mut steps).expect("all steps"));
            for (name, seen) in [("a", &[][..]), ("b", &["a"]), ("c", &["a", "b"])] {
                assert_eq!(has_begun.recv().expect("a step"), seen);
                // While the step is under way.
                store.send(Insert(name, fine)).expect("room in the queue");
                tell.send(()).expect("the step waits");
            }
        });
        store.stop();
        let (store, _end) = open(&directory);
        assert_eq!(destinations(&store), ["a", "b", "c"]);
        store.stop();
    }

    #[test]
    fn steps_are_short_while_clients_write() {
        let directory = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(FakeClock::at(Timestamp::from_millis(1_700_000_000_000)));
        let (store, _end) = open_by(
            &directory,
            Arc::<FakeClock>::clone(&clock),
            Arc::new(|_| {}),
        );
        store
            .write_blocking(Insert("own", fine))
            .expect("committed");
        assert_eq!(store.rows_of_a_step(), MAX_ROWS);
        let sent = store.send(Insert("a client's", fine)).expect("room");
        sent.blocking_recv().expect("an answer").expect("committed");
        assert_eq!(store.rows_of_a_step(), ROWS_BESIDE_CLIENTS);
        clock.advance(CLIENTS_RETURN_WITHIN + Duration::from_millis(1));
        assert_eq!(store.rows_of_a_step(), MAX_ROWS);
        store.stop();
    }

    /// Counts as this many rows.
    struct Rows(&'static str, usize);

    impl WriteOp for Rows {
        type Out = ();

        fn apply(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
            Insert(self.0, fine).apply(tx)
        }

        fn rows(&self) -> usize {
            self.1
        }
    }

    #[test]
    fn a_transaction_takes_operations_up_to_its_rows_in_their_order() {
        let directory = tempfile::tempdir().expect("a directory");
        let (store, _end) = open(&directory);
        let (go_on, held) = hold(&store);
        let half = MAX_ROWS / 2;
        let queued: Vec<_> = [
            ("a", half),
            ("b", half),
            // One that is too large has a transaction to itself.
            ("c", 2 * MAX_ROWS),
            ("d", half),
            ("e", 1),
            ("f", half),
            ("g", 1),
        ]
        .into_iter()
        .map(|(name, rows)| store.send(Rows(name, rows)).expect("room"))
        .collect();
        store.take_transactions();
        go_on.send(()).expect("the writer waits");
        held.blocking_recv().expect("an answer").expect("committed");
        for answer in queued {
            answer
                .blocking_recv()
                .expect("an answer")
                .expect("committed");
        }
        let rows: Vec<_> = store
            .take_transactions()
            .iter()
            .map(|one| one.rows)
            .collect();
        assert_eq!(rows, [0, 2, 1, 2, 2], "of the hold, and then of the others");
        assert_eq!(destinations(&store), ["a", "b", "c", "d", "e", "f", "g"]);
        store.stop();
    }

    proptest! {
        #[test]
        fn a_step_exceeds_the_bound_only_with_a_single_change(
            changes in prop::collection::vec(1usize..40, 1..50),
        ) {
            let mut at = 0;
            while at < changes.len() {
                let rest = &changes[at..];
                let count = RowBudget::of(20).spend_on(rest, |rows| *rows);
                prop_assert!(count > 0, "each step gets on");
                let rows: usize = rest[..count].iter().sum();
                prop_assert!(count == 1 || rows <= 20);
                let next = rest.get(count).copied().unwrap_or(20);
                prop_assert!(rows + next > 20 || at + count == changes.len(), "it is filled");
                at += count;
            }
        }
    }

    #[test]
    fn nothing_overtakes_a_change_that_does_not_fit() {
        let mut budget = RowBudget::of(20);
        assert!(budget.spend(15));
        assert!(!budget.spend(10));
        assert!(!budget.spend(1));
    }
}
