use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::clock::{FakeClock, Timestamp};
use crate::store::limits::{MAX_ROWS, ROWS_BESIDE_CLIENTS, UNDIVIDED_BESIDE_CLIENTS};
use crate::store::sqlite::handle::CLIENTS_RETURN_WITHIN;
use crate::store::sqlite::tests::{Insert, committed, destinations, fine, hold, open, open_by};

/// Reports when each of its steps begins, and waits in each until the test lets it continue.
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
            // Sent while the step is under way.
            store.send(Insert(name, fine)).expect("room in the queue");
            tell.send(()).expect("the step waits");
        }
    });
    store.stop();
    let (store, _end) = open(&directory);
    assert_eq!(destinations(&store), ["a", "b", "c"]);
    store.stop();
}

/// A change with this many rows left.
struct Left(usize);

impl LongWrite for Left {
    type Step = Rows;

    fn next_step(&mut self, _rows: usize) -> Option<Rows> {
        None
    }

    fn has_at_most(&self, rows: usize) -> bool {
        self.0 <= rows
    }

    fn committed(&mut self, (): ()) {}
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
    let large = Left(UNDIVIDED_BESIDE_CLIENTS + 1);
    assert_eq!(store.rows_of_a_step(&large), MAX_ROWS);
    let sent = store.send(Insert("a client's", fine)).expect("room");
    committed(sent);
    assert_eq!(store.rows_of_a_step(&large), ROWS_BESIDE_CLIENTS);
    let small = Left(UNDIVIDED_BESIDE_CLIENTS);
    assert_eq!(store.rows_of_a_step(&small), MAX_ROWS);
    clock.advance(CLIENTS_RETURN_WITHIN + Duration::from_millis(1));
    assert_eq!(store.rows_of_a_step(&large), MAX_ROWS);
    store.stop();
}

/// A change that counts as this many rows.
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
        // A change that is too large has a transaction to itself.
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
    committed(held);
    for answer in queued {
        committed(answer);
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
