//! Helpers of the engine's tests.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::clock::{Clock, FakeClock, SystemClock};
use crate::config;
use crate::model::{Level, Surface};
use crate::ops::metrics::Metrics;
use crate::stop::Stop;
use crate::store::conformance::NewStore;
use crate::store::context::{OnOutsideWrite, OnWork, StoreContext};
use crate::store::error::{OpenError, StoreError};
use crate::store::limits::QUEUE;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::ops::Probe;
use crate::store::sqlite::shared::Shared;
use crate::store::sqlite::space::free_bytes;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::WriteOp;
use crate::store::types::{Accept, IdempotencyKey};

pub const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// An empty database in memory, with the schema.
pub fn schema() -> Connection {
    let sql = Connection::open_in_memory().expect("a database");
    sql.execute_batch(include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/schema.sql"
    )))
    .expect("the schema");
    sql
}

pub fn settings(directory: &TempDir) -> config::Database {
    config::Database {
        path: directory.path().join("relay.db"),
        min_free_bytes: 0,
        max_bytes: None,
        ..config::Database::default()
    }
}

/// Opens the store, and receives the reason if it breaks.
pub fn open(directory: &TempDir) -> (Sqlite, Receiver<String>) {
    open_with(directory, Arc::new(|_| {}))
}

pub fn open_with(directory: &TempDir, on_work: OnWork) -> (Sqlite, Receiver<String>) {
    open_by(directory, Arc::new(SystemClock::new()), on_work)
}

pub fn open_by(
    directory: &TempDir,
    clock: Arc<dyn Clock>,
    on_work: OnWork,
) -> (Sqlite, Receiver<String>) {
    open_watched(directory, clock, on_work, Arc::new(|| {}))
}

pub fn open_watched(
    directory: &TempDir,
    clock: Arc<dyn Clock>,
    on_work: OnWork,
    on_outside_write: OnOutsideWrite,
) -> (Sqlite, Receiver<String>) {
    let (broken, why) = channel();
    let store = Sqlite::open(
        &settings(directory),
        LONGEST_WAIT,
        StoreContext {
            on_work,
            on_outside_write,
            on_broken: Arc::new(move |reason| {
                // A test may not listen.
                let _ = broken.send(reason);
            }),
            ..context(clock)
        },
    )
    .expect("the store opens");
    (store, why)
}

/// Opens the store as on a system without abstract sockets.
pub fn open_without_guard(directory: &TempDir) -> (Sqlite, Receiver<String>) {
    let (broken, why) = channel();
    let context = StoreContext {
        on_broken: Arc::new(move |reason| {
            // A test may not listen.
            let _ = broken.send(reason);
        }),
        ..context(Arc::new(SystemClock::new()))
    };
    let settings = settings(directory);
    let mut shared = Shared::new(settings.path.clone(), context);
    shared.has_second_guard = false;
    let free_bytes = Box::new(free_bytes);
    let store = Sqlite::open_on(&settings, LONGEST_WAIT, shared, free_bytes);
    (store.expect("the store opens"), why)
}

/// Opens the store with settings and a clock alone.
pub fn try_open(settings: &config::Database, clock: Arc<dyn Clock>) -> Result<Sqlite, OpenError> {
    Sqlite::open(settings, LONGEST_WAIT, context(clock))
}

/// A relay that ignores the store's calls.
pub fn context(clock: Arc<dyn Clock>) -> StoreContext {
    StoreContext {
        clock,
        node: crate::config::Node::default(),
        metrics: Arc::new(Metrics::new(Level::Off)),
        stop: Stop::default(),
        on_work: Arc::new(|_| {}),
        on_outside_write: Arc::new(|| {}),
        on_broken: Arc::new(|_| {}),
    }
}

/// Opens the store by a clock that the test moves.
pub fn open_at(directory: &TempDir, clock: &Arc<FakeClock>) -> Sqlite {
    let clock: Arc<dyn Clock> = Arc::<FakeClock>::clone(clock);
    try_open(&settings(directory), clock).expect("the store opens")
}

pub fn writing(directory: &TempDir) -> Operator {
    Operator::writing(&directory.path().join("relay.db")).expect("a database")
}

pub fn destinations(store: &Sqlite) -> Vec<String> {
    store
        .read_blocking(|sql| {
            let mut statement = sql.prepare("SELECT name FROM destinations ORDER BY id")?;
            let names = statement.query_map([], |row| row.get(0))?;
            Ok(names.collect::<Result<_, _>>()?)
        })
        .expect("a read")
}

/// An event for these destinations, without a key.
pub fn event_to(destinations: &[&str]) -> Accept {
    Accept {
        surface: Surface::Event,
        label: "source".to_owned(),
        url: None,
        event_type: None,
        query: None,
        destinations: destinations.iter().map(|&name| name.to_owned()).collect(),
        order_keys: Vec::new(),
        owner: None,
        headers: Vec::new(),
        metadata: None,
        body: bytes::Bytes::from_static(b"{}"),
        key: None,
        window: Duration::from_secs(3600),
    }
}

/// An event with an idempotency key.
pub fn event(key: &str) -> Accept {
    Accept {
        key: Some(IdempotencyKey::of_event("source", key.to_owned())),
        ..event_to(&["d"])
    }
}

/// Changes nothing; its transaction takes what commands have left.
pub struct Idle;

impl WriteOp for Idle {
    type Out = ();

    fn apply(&self, _tx: &Tx<'_>) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Adds a destination, and then calls the function with the transaction.
pub struct Insert<F>(pub &'static str, pub F);

impl<F: Fn(&Tx<'_>) -> Result<(), StoreError> + Send + 'static> WriteOp for Insert<F> {
    type Out = ();

    fn apply(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        tx.sql
            .execute("INSERT INTO destinations (name) VALUES (?1)", [self.0])?;
        (self.1)(tx)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "an operation may fail")]
pub fn fine(_: &Tx<'_>) -> Result<(), StoreError> {
    Ok(())
}

/// Holds the writer in the middle of a transaction until the test lets it continue.
struct Hold {
    begun: Sender<()>,
    go_on: Mutex<Receiver<()>>,
}

impl WriteOp for Hold {
    type Out = ();

    fn apply(&self, _tx: &Tx<'_>) -> Result<(), StoreError> {
        self.begun.send(()).expect("the test waits");
        self.go_on
            .lock()
            .expect("no panics")
            .recv()
            .expect("the test tells");
        Ok(())
    }
}

/// Holds the writer. Returns what lets it continue, and the answer.
pub fn hold(store: &Sqlite) -> (Sender<()>, oneshot::Receiver<Result<(), StoreError>>) {
    let (begun, has_begun) = channel();
    let (tell, go_on) = channel();
    let answer = store
        .send(Hold {
            begun,
            go_on: Mutex::new(go_on),
        })
        .expect("room in the queue");
    has_begun.recv().expect("the writer has begun");
    (tell, answer)
}

/// The result of an operation that was sent.
pub fn committed<T>(answer: oneshot::Receiver<Result<T, StoreError>>) -> T {
    answer
        .blocking_recv()
        .expect("an answer")
        .expect("committed")
}

/// Fills the writer's queue, so that it refuses the next operation. Returns the answers to come.
pub fn fill_queue(store: &Sqlite) -> Vec<oneshot::Receiver<Result<(), StoreError>>> {
    let waiting: Vec<_> = (0..QUEUE)
        .map(|_| store.send(Probe).expect("room in the queue"))
        .collect();
    assert!(matches!(store.send(Probe), Err(StoreError::Overloaded)));
    waiting
}

/// Polls until something holds that the idle writer does by itself.
pub fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if holds() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    panic!("{what}: not within a minute");
}

/// A store for the conformance suite.
pub fn new_store() -> NewStore {
    let directory = tempfile::tempdir().expect("a directory");
    NewStore {
        settings: settings(&directory),
        check: check_references,
        _guard: Box::new(directory),
    }
}

/// Checks that the database is sound, and that no row refers to one that isn't there.
fn check_references(settings: &config::Database) {
    let sql = Connection::open(&settings.path).expect("a database");
    let integrity = sql.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
    assert_eq!(integrity.as_deref(), Ok("ok"));
    for orphans in [
        "SELECT count(*) FROM pragma_foreign_key_check",
        "SELECT count(*) FROM deliveries WHERE destination_id NOT IN (SELECT id FROM destinations)",
        "SELECT count(*) FROM deliveries WHERE intent_id NOT IN (SELECT id FROM intents)",
        "SELECT count(*) FROM intents
         WHERE (unrouted IS NULL) = (id NOT IN (SELECT intent_id FROM deliveries))",
        "SELECT count(*) FROM attempts a WHERE NOT EXISTS (SELECT 1 FROM deliveries d
         WHERE d.intent_id = a.intent_id AND d.destination_id = a.destination_id)",
    ] {
        let count = sql.query_row(orphans, [], |row| row.get::<_, i64>(0));
        assert_eq!(count, Ok(0), "{orphans}");
    }
}
