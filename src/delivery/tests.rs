//! The dispatcher's single pass, driven by hand on a fake clock.

mod fairness;
mod prefetch;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender, channel};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::*;
use crate::clock::{FakeClock, Timestamp};
use crate::config::Config;
use crate::delivery::admission::{Admission, Change, Refusal, Unlimited};
use crate::delivery::dispatcher::{Dispatcher, SMALL, WAITING};
use crate::delivery::levels::{Parts, Transport};
use crate::delivery::ops::Shipment;
use crate::delivery::outcome::{Class, Outcome};
use crate::delivery::pool::{Job, Pool, QUICK};
use crate::delivery::target::Target;
use crate::model::{FailureKind, Level, Surface};
use crate::stop::{Deadline, Stop};
use crate::store::{Accept, Pause};

/// Fails until it is mended, or panics.
#[derive(Default)]
struct Receiver {
    is_mended: AtomicBool,
    panics: AtomicBool,
}

impl Transport for Receiver {
    fn attempt(&self, _shipment: &Shipment, _job: &Job, _wall: Timestamp) -> Outcome {
        assert!(!self.panics.load(Ordering::SeqCst), "on purpose");
        if self.is_mended.load(Ordering::SeqCst) {
            Outcome::delivered()
        } else {
            Outcome::failed(Class::Transient, FailureKind::Refused, "down")
        }
    }

    fn abort(&self) {}
}

struct Scene {
    _directory: tempfile::TempDir,
    clock: Arc<FakeClock>,
    store: Store,
    wake: Wake,
    stop: Stop,
    receiver: Arc<Receiver>,
    dispatcher: Dispatcher,
}

fn context() -> (tempfile::TempDir, Arc<FakeClock>, Context) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = Config::default();
    config.database.path = directory.path().join("relay.db");
    config.database.min_free_bytes = 0;
    config.delivery.level = Some(Level::Durable);
    config.delivery.workers = 2;
    config.delivery.defaults.retry.schedule = Some(vec![Duration::from_secs(300)]);
    config.delivery.defaults.retry.jitter = Some(0.0);
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(1_700_000_000_000)));
    let metrics = Arc::new(Metrics::new(Level::Simulated));
    let wake = Wake::new();
    let on_work = {
        let wake = wake.clone();
        Arc::new(move |due: &[i64]| wake.due(due))
    };
    let config = config.resolve();
    let store = Store::open(
        &config.database,
        config.longest_wait(),
        Arc::<FakeClock>::clone(&clock),
        Arc::clone(&metrics),
        on_work,
        Arc::new(|| {}),
        Arc::new(|_| {}),
    )
    .expect("the store opens");
    let context = Context {
        config: Arc::new(config),
        stop: Stop::default(),
        store,
        clock: Arc::<FakeClock>::clone(&clock),
        metrics,
        fatal: Fatal::new(),
        own_listeners: Vec::new(),
        wake,
    };
    (directory, clock, context)
}

fn scene() -> Scene {
    let receiver = Arc::new(Receiver::default());
    let transport = Arc::<Receiver>::clone(&receiver);
    scene_of(receiver, transport, Box::new(Unlimited))
}

fn scene_of(
    receiver: Arc<Receiver>,
    transport: Arc<dyn Transport>,
    admission: Box<dyn Admission>,
) -> Scene {
    let (directory, clock, context) = context();
    scene_in(directory, clock, context, receiver, transport, admission)
}

fn scene_in(
    directory: tempfile::TempDir,
    clock: Arc<FakeClock>,
    context: Context,
    receiver: Arc<Receiver>,
    transport: Arc<dyn Transport>,
    admission: Box<dyn Admission>,
) -> Scene {
    let (store, wake) = (context.store.clone(), context.wake.clone());
    let stop = context.stop.clone();
    let pool = Pool::start(&context, Arc::clone(&transport)).expect("threads");
    let parts = Parts {
        transport,
        admission,
    };
    Scene {
        _directory: directory,
        clock,
        store,
        wake,
        stop,
        receiver,
        dispatcher: Dispatcher::new(context, parts, pool),
    }
}

impl Scene {
    fn accept(&self) {
        self.accept_body(b"{}".to_vec());
    }

    fn accept_body(&self, body: Vec<u8>) {
        self.accept_all_of("http://x", body);
    }

    fn accept_for(&self, origin: &str) {
        self.accept_all_of(origin, b"{}".to_vec());
    }

    fn accept_all_of(&self, origin: &str, body: Vec<u8>) {
        accept(&self.store, origin, body);
        // The writer tells that something is due, after it has answered: what follows waits for what
        // the workers tell.
        self.wake.wait(Duration::from_secs(60));
    }

    /// Waits for a worker to be done.
    fn worked(&self) {
        self.wake.wait(Duration::from_secs(60));
    }
}

fn accept(store: &Store, origin: &str, body: Vec<u8>) {
    let op = Accept {
        surface: Surface::Relay,
        label: "a".to_owned(),
        url: Some(format!("{origin}/")),
        destinations: Arc::from([origin.to_owned()]),
        owner: None,
        headers: Vec::new(),
        metadata: None,
        body: body.into(),
        key: None,
        window: Duration::ZERO,
    };
    store.write_blocking(op).expect("accepted");
}

/// What became of each delivery: its state, and the attempts that it spent.
fn deliveries(scene: &Scene) -> Vec<(i64, i64)> {
    scene
        .store
        .read_blocking(|sql| {
            let mut statement =
                sql.prepare("SELECT state, attempts FROM deliveries ORDER BY intent_id")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .expect("deliveries")
}

#[test]
fn a_pass_claims_settles_and_knows_when_to_look_again() {
    let mut scene = scene();
    assert_eq!(
        scene.dispatcher.run_once().look_again,
        None,
        "nothing waits"
    );
    scene.accept();
    assert_eq!(scene.dispatcher.run_once().claimed, 1);
    scene.worked();
    let pass = scene.dispatcher.run_once();
    assert_eq!((pass.claimed, pass.settled), (0, 1));
    // The retry that this very turn scheduled counts.
    assert_eq!(pass.look_again, Some(Duration::from_secs(300)));
    scene.clock.advance(Duration::from_secs(299));
    let early = scene.dispatcher.run_once();
    assert_eq!(
        (early.claimed, early.look_again),
        (0, Some(Duration::from_secs(1)))
    );
    scene.receiver.is_mended.store(true, Ordering::SeqCst);
    scene.clock.advance(Duration::from_secs(1));
    assert_eq!(scene.dispatcher.run_once().claimed, 1);
    scene.worked();
    assert_eq!(scene.dispatcher.run_once().settled, 1);
    assert_eq!(scene.dispatcher.run_once().look_again, None, "all is done");
    scene.store.stop();
}

#[test]
fn a_panic_in_an_attempt_costs_one_attempt() {
    let mut scene = scene();
    scene.receiver.panics.store(true, Ordering::SeqCst);
    scene.accept();
    assert_eq!(scene.dispatcher.run_once().claimed, 1);
    scene.worked();
    assert_eq!(scene.dispatcher.run_once().settled, 1);
    let row = |scene: &Scene| -> (i64, i64, Option<String>) {
        scene
            .store
            .read_blocking(|sql| {
                Ok(sql.query_row(
                    "SELECT state, attempts, last_error FROM deliveries",
                    [],
                    |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
                )?)
            })
            .expect("a row")
    };
    let (state, attempts, error) = row(&scene);
    assert_eq!((state, attempts), (2, 1));
    assert!(error.is_some_and(|error| error.contains("relay itself failed")));
    // The worker is there for the next one.
    scene.receiver.panics.store(false, Ordering::SeqCst);
    scene.receiver.is_mended.store(true, Ordering::SeqCst);
    scene.clock.advance(Duration::from_secs(3600));
    assert_eq!(scene.dispatcher.run_once().claimed, 1);
    scene.worked();
    assert_eq!(scene.dispatcher.run_once().settled, 1);
    let (state, attempts, _) = row(&scene);
    assert_eq!((state, attempts), (3, 2));
    scene.store.stop();
}

/// A clock that panics in workers: so often when one measures an attempt, or always.
#[derive(Debug)]
struct PanicsInWorkers {
    clock: Arc<FakeClock>,
    times: AtomicUsize,
    always: bool,
}

fn is_worker() -> bool {
    std::thread::current().name() == Some("relay-worker")
}

impl Clock for PanicsInWorkers {
    fn now(&self) -> Timestamp {
        assert!(!(self.always && is_worker()), "on purpose");
        self.clock.now()
    }
    fn wall(&self) -> Timestamp {
        self.clock.wall()
    }
    fn monotonic(&self) -> Duration {
        if is_worker() {
            let one_less = |times: usize| times.checked_sub(1);
            let order = Ordering::SeqCst;
            let panics = self.times.fetch_update(order, order, one_less);
            assert!(panics.is_err(), "on purpose");
        }
        self.clock.monotonic()
    }
    fn ahead(&self) -> i64 {
        self.clock.ahead()
    }
    fn resume(&self, now: Timestamp) {
        self.clock.resume(now);
    }
}

/// A scene whose workers panic outside the transport.
fn panicking(times: usize, always: bool) -> (Scene, Fatal) {
    let (directory, clock, mut context) = context();
    context.clock = Arc::new(PanicsInWorkers {
        clock: Arc::clone(&clock),
        times: AtomicUsize::new(times),
        always,
    });
    let fatal = context.fatal.clone();
    let receiver = Arc::new(Receiver::default());
    let transport = Arc::<Receiver>::clone(&receiver);
    (
        scene_in(
            directory,
            clock,
            context,
            receiver,
            transport,
            Box::new(Unlimited),
        ),
        fatal,
    )
}

#[test]
fn a_panic_outside_the_transport_costs_one_attempt_and_no_worker() {
    let (mut scene, fatal) = panicking(2, false);
    for attempt in 1..=2 {
        scene.accept();
        assert_eq!(scene.dispatcher.run_once().claimed, 1);
        scene.worked();
        assert_eq!(scene.dispatcher.run_once().settled, 1);
        assert_eq!(deliveries(&scene), vec![(2, 1); attempt]);
    }
    // Both workers are there, and nothing is lost.
    scene.receiver.is_mended.store(true, Ordering::SeqCst);
    scene.clock.advance(Duration::from_secs(300));
    assert_eq!(scene.dispatcher.run_once().claimed, 2);
    let mut settled = 0;
    while settled < 2 {
        scene.worked();
        settled += scene.dispatcher.run_once().settled;
    }
    assert_eq!(deliveries(&scene), [(3, 2), (3, 2)]);
    assert_eq!(fatal.get(), None);
    scene.store.stop();
}

#[test]
fn a_worker_that_cannot_go_on_ends_everything() {
    // The panic of an attempt can't even be reported.
    let (mut scene, fatal) = panicking(0, true);
    scene.accept();
    assert_eq!(scene.dispatcher.run_once().claimed, 1);
    let (tell, raised) = channel();
    std::thread::spawn(move || tell.send(crate::stop::block_on(fatal.raised())));
    let why = raised.recv_timeout(Duration::from_secs(60));
    assert_eq!(why.as_deref(), Ok("a delivery worker panicked"));
    scene.store.stop();
}

#[test]
fn a_panic_in_the_dispatcher_ends_everything_with_one_line() {
    /// Whoever asks is not let in.
    struct Broken;

    impl Admission for Broken {
        fn new_round(&mut self) {
            panic!("on purpose");
        }
        fn admit(&mut self, _: &Target, _: usize) -> Result<(), Refusal> {
            Ok(())
        }
    }

    let (_directory, _clock, context) = context();
    let (store, fatal) = (context.store.clone(), context.fatal.clone());
    let parts = Parts {
        transport: Arc::new(Receiver::default()),
        admission: Box::new(Broken),
    };
    let executor = run(context, parts).expect("threads");
    assert!(executor.dispatcher.wait(&soon()));
    assert_eq!(fatal.get().as_deref(), Some("the dispatcher panicked"));
    store.stop();
}

/// A minute, which no machine is slow enough for.
fn soon() -> Deadline {
    Deadline::within(Duration::from_secs(60))
}

/// A transport whose attempts hang until it is aborted, and which says when one has begun.
struct Hanging {
    begun: Mutex<Sender<()>>,
    aborted: (Mutex<bool>, Condvar),
}

impl Hanging {
    fn new() -> (Arc<Self>, mpsc::Receiver<()>) {
        let (begun, has_begun) = channel();
        let hanging = Self {
            begun: Mutex::new(begun),
            aborted: (Mutex::new(false), Condvar::new()),
        };
        (Arc::new(hanging), has_begun)
    }
}

impl Transport for Hanging {
    fn attempt(&self, _shipment: &Shipment, _job: &Job, _wall: Timestamp) -> Outcome {
        let begun = self.begun.lock().expect("no panics");
        begun.send(()).expect("the test waits");
        drop(begun);
        let aborted = self.aborted.0.lock().expect("no panics");
        let waited = self.aborted.1.wait_while(aborted, |aborted| !*aborted);
        drop(waited.expect("no panics"));
        Outcome::failed(Class::Transient, FailureKind::Reset, "aborted")
    }

    fn abort(&self) {
        *self.aborted.0.lock().expect("no panics") = true;
        self.aborted.1.notify_all();
    }
}

/// An executor in the middle of an attempt that hangs.
fn hanging() -> (tempfile::TempDir, Store, Stop, Executor, Arc<Hanging>) {
    let (directory, _clock, context) = context();
    let (store, stop) = (context.store.clone(), context.stop.clone());
    let (transport, begun) = Hanging::new();
    let parts = Parts {
        transport: Arc::<Hanging>::clone(&transport),
        admission: Box::new(Unlimited),
    };
    let executor = run(context, parts).expect("threads");
    accept(&store, "http://x", b"{}".to_vec());
    begun.recv().expect("an attempt begins");
    (directory, store, stop, executor, transport)
}

#[test]
fn an_outcome_that_a_stopped_store_refuses_ends_the_dispatcher() {
    let (_directory, store, _stop, executor, transport) = hanging();
    store.stop();
    transport.abort();
    assert!(executor.dispatcher.wait(&soon()));
    assert!(executor.workers.wait(&soon()));
}

#[test]
fn a_stop_without_a_store_does_not_wait_for_attempts() {
    let (_directory, store, stop, executor, _transport) = hanging();
    store.stop();
    stop.ask(Deadline::within(Duration::MAX));
    assert!(executor.dispatcher.wait(&soon()));
    assert!(executor.workers.wait(&soon()));
}

#[test]
fn a_stop_hands_back_what_hangs_and_ends_the_workers() {
    let (_directory, store, stop, executor, _transport) = hanging();
    stop.ask(Deadline::now());
    assert!(executor.dispatcher.wait(&soon()));
    assert!(executor.workers.wait(&soon()));
    let claimed = store.read_blocking(|sql| {
        let count = "SELECT count(*) FROM deliveries WHERE claim IS NOT NULL";
        Ok(sql.query_row(count, [], |row| row.get::<_, i64>(0))?)
    });
    assert_eq!(claimed.ok(), Some(0));
    store.stop();
}

#[test]
fn never_more_is_claimed_than_there_are_free_workers() {
    let mut scene = scene();
    for _ in 0..5 {
        scene.accept();
    }
    let pass = scene.dispatcher.run_once();
    assert_eq!(pass.claimed, 2, "two workers");
    scene.store.stop();
}

#[test]
fn outcomes_that_cannot_be_recorded_are_kept_and_nothing_is_claimed() {
    let mut scene = scene();
    scene.accept();
    assert_eq!(scene.dispatcher.run_once().claimed, 1);
    scene.worked();
    scene.store.stop();
    for _ in 0..2 {
        let pass = scene.dispatcher.run_once();
        assert_eq!((pass.claimed, pass.settled), (0, 0));
        assert!(pass.look_again.is_some(), "it is tried again");
        assert_eq!(scene.dispatcher.unsettled(), 1);
    }
}

#[test]
fn an_outcome_that_comes_too_late_leaves_a_finished_delivery_as_it_is() {
    use crate::store::{StoreError, Tx, WriteOp};

    /// What another owner would have done meanwhile: a recovery that gave up on it, say.
    struct Finish(&'static str);

    impl WriteOp for Finish {
        type Out = usize;

        fn apply(&self, tx: &Tx<'_>) -> Result<usize, StoreError> {
            Ok(tx.sql.execute(self.0, [])?)
        }
    }

    for (finish, state) in [
        ("UPDATE deliveries SET state = 3, claim = NULL", 3_i64),
        (
            "UPDATE deliveries SET state = 4, claim = NULL, last_error = 'x'",
            4,
        ),
        // Claimed anew, by somebody else.
        ("UPDATE deliveries SET claim = claim + 1", 1),
    ] {
        let mut scene = scene();
        scene.accept();
        assert_eq!(scene.dispatcher.run_once().claimed, 1);
        scene.worked();
        assert_eq!(scene.store.write_blocking(Finish(finish)).ok(), Some(1));
        assert_eq!(scene.dispatcher.run_once().settled, 1);
        let found: (i64, i64) = scene
            .store
            .read_blocking(|sql| {
                Ok(sql.query_row(
                    "SELECT state, (SELECT count(*) FROM attempts) FROM deliveries",
                    [],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )?)
            })
            .expect("a row");
        assert_eq!(found, (state, 0), "{finish}");
        scene.store.stop();
    }
}
