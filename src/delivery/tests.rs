//! The dispatcher's tick, driven by hand on a fake clock.

mod fairness;
mod ordering;
mod prefetch;
mod steps;
mod tokens;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::*;
use crate::clock::{Clock, FakeClock, Timestamp};
use crate::config::{Config, Live};
use crate::delivery::admission::{Admission, Occupancy, Refusal, Reputation, Request, Unlimited};
use crate::delivery::attempt::{Attempt, QUICK};
use crate::delivery::dispatcher::{Dispatcher, MAX_PRELOADED, PREFETCH_DEPTH};
use crate::delivery::levels::LevelParts;
use crate::delivery::outcome::{Class, Outcome};
use crate::delivery::pool::Pool;
use crate::delivery::target::Target;
use crate::delivery::transport::Transport;
use crate::model::{DeliveryState, FailureKind, Level, Surface};
use crate::ops::fatal::Fatal;
use crate::ops::metrics::Metrics;
use crate::stop::{Deadline, Stop};
use crate::store::testing::Overtake;
use crate::store::{Accept, DestinationId, OutboundMessage, Store, StoreContext};

/// Fails until it is repaired, or panics.
#[derive(Default)]
struct Receiver {
    is_repaired: AtomicBool,
    panics: AtomicBool,
}

impl Transport for Receiver {
    fn send(&self, _: &OutboundMessage, _: &Attempt, _wall: Timestamp) -> Outcome {
        assert!(!self.panics.load(Ordering::SeqCst), "on purpose");
        if self.is_repaired.load(Ordering::SeqCst) {
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
    stop_workers: Stop,
    receiver: Arc<Receiver>,
    dispatcher: Dispatcher,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stop_workers.ask(Deadline::now());
    }
}

fn context() -> (tempfile::TempDir, Arc<FakeClock>, Context) {
    context_with(|_| {})
}

fn context_with(change: impl FnOnce(&mut Config)) -> (tempfile::TempDir, Arc<FakeClock>, Context) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = Config::default();
    config.database.path = directory.path().join("relay.db");
    config.database.min_free_bytes = 0;
    config.delivery.level = Some(Level::Durable);
    config.delivery.workers = 2;
    config.delivery.defaults.retry.schedule = Some(vec![Duration::from_secs(300)]);
    config.delivery.defaults.retry.jitter = Some(0.0);
    change(&mut config);
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(1_700_000_000_000)));
    let metrics = Arc::new(Metrics::new(Level::Simulated));
    let wake = Wake::new();
    let on_work = {
        let wake = wake.clone();
        Arc::new(move |due: &[DestinationId]| wake.due(due))
    };
    let config = config.resolve();
    let surroundings = StoreContext {
        clock: Arc::<FakeClock>::clone(&clock),
        metrics: Arc::clone(&metrics),
        stop: Stop::default(),
        on_work,
        on_outside_write: Arc::new(|| {}),
        on_broken: Arc::new(|_| {}),
    };
    let store = Store::open(&config.database, config.longest_wait(), surroundings)
        .expect("the store opens");
    let context = Context {
        config: Live::from(config),
        stop: Stop::default(),
        stop_workers: Stop::default(),
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
    let (stop, stop_workers) = (context.stop.clone(), context.stop_workers.clone());
    let pool = Pool::start(&context, &transport).expect("threads");
    let parts = LevelParts {
        transport,
        admission,
    };
    Scene {
        _directory: directory,
        clock,
        store,
        wake,
        stop,
        stop_workers,
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
        // The writer wakes the dispatcher after it has answered. The next wait is for a worker.
        self.wake.wait(Duration::from_secs(60));
    }

    /// Waits for a completion.
    fn worked(&self) {
        self.wake.wait(Duration::from_secs(60));
    }
}

fn accept(store: &Store, origin: &str, body: Vec<u8>) {
    let op = intent(origin, body);
    store.accept_blocking(op).expect("accepted");
}

/// A relay to this origin.
fn intent(origin: &str, body: Vec<u8>) -> Accept {
    Accept {
        surface: Surface::Relay,
        label: "a".to_owned(),
        url: Some(format!("{origin}/")),
        event_type: None,
        query: None,
        destinations: Arc::from([origin.to_owned()]),
        order_keys: Vec::new(),
        owner: None,
        headers: Vec::new(),
        metadata: None,
        body: body.into(),
        key: None,
        window: Duration::ZERO,
    }
}

/// Each delivery's state, and the attempts that it has spent.
fn deliveries(scene: &Scene) -> Vec<(i64, i64)> {
    let deliveries = scene.store.all_deliveries(None).into_iter();
    deliveries
        .map(|one| (one.state.number(), i64::from(one.attempts)))
        .collect()
}

#[test]
fn a_tick_claims_settles_and_schedules_the_next_look() {
    let mut scene = scene();
    assert_eq!(
        scene.dispatcher.tick().look_again,
        None,
        "no delivery waits"
    );
    scene.accept();
    assert_eq!(scene.dispatcher.tick().claimed, 1);
    scene.worked();
    let tick = scene.dispatcher.tick();
    assert_eq!((tick.claimed, tick.settled), (0, 1));
    // The retry that this very commit scheduled counts.
    assert_eq!(tick.look_again, Some(Duration::from_secs(300)));
    scene.clock.advance(Duration::from_secs(299));
    let early = scene.dispatcher.tick();
    assert_eq!(
        (early.claimed, early.look_again),
        (0, Some(Duration::from_secs(1)))
    );
    scene.receiver.is_repaired.store(true, Ordering::SeqCst);
    scene.clock.advance(Duration::from_secs(1));
    assert_eq!(scene.dispatcher.tick().claimed, 1);
    scene.worked();
    assert_eq!(scene.dispatcher.tick().settled, 1);
    assert_eq!(
        scene.dispatcher.tick().look_again,
        None,
        "no delivery is left"
    );
    scene.store.stop();
}

#[test]
fn a_panic_in_an_attempt_costs_one_attempt() {
    let mut scene = scene();
    scene.receiver.panics.store(true, Ordering::SeqCst);
    scene.accept();
    assert_eq!(scene.dispatcher.tick().claimed, 1);
    scene.worked();
    assert_eq!(scene.dispatcher.tick().settled, 1);
    let row = |scene: &Scene| -> (i64, i64, Option<String>) {
        let one = scene.store.all_deliveries(None).remove(0);
        (one.state.number(), i64::from(one.attempts), one.last_error)
    };
    let (state, attempts, error) = row(&scene);
    assert_eq!((state, attempts), (2, 1));
    assert!(error.is_some_and(|error| error.contains("relay itself failed")));
    // The worker makes the next attempt.
    scene.receiver.panics.store(false, Ordering::SeqCst);
    scene.receiver.is_repaired.store(true, Ordering::SeqCst);
    scene.clock.advance(Duration::from_secs(3600));
    assert_eq!(scene.dispatcher.tick().claimed, 1);
    scene.worked();
    assert_eq!(scene.dispatcher.tick().settled, 1);
    let (state, attempts, _) = row(&scene);
    assert_eq!((state, attempts), (3, 2));
    scene.store.stop();
}

/// A clock that panics in workers: a number of times when one measures an attempt, or always.
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
        assert_eq!(scene.dispatcher.tick().claimed, 1);
        scene.worked();
        assert_eq!(scene.dispatcher.tick().settled, 1);
        assert_eq!(deliveries(&scene), vec![(2, 1); attempt]);
    }
    // Both workers make attempts, and no delivery is lost.
    scene.receiver.is_repaired.store(true, Ordering::SeqCst);
    scene.clock.advance(Duration::from_secs(300));
    assert_eq!(scene.dispatcher.tick().claimed, 2);
    let mut settled = 0;
    while settled < 2 {
        scene.worked();
        settled += scene.dispatcher.tick().settled;
    }
    assert_eq!(deliveries(&scene), [(3, 2), (3, 2)]);
    assert_eq!(fatal.get(), None);
    scene.store.stop();
}

#[test]
fn a_panic_in_a_workers_loop_is_fatal() {
    // The panic of an attempt can't even be reported.
    let (mut scene, fatal) = panicking(0, true);
    scene.accept();
    assert_eq!(scene.dispatcher.tick().claimed, 1);
    let (tell, raised) = channel();
    std::thread::spawn(move || tell.send(crate::stop::block_on(fatal.raised())));
    let why = raised.recv_timeout(Duration::from_secs(60));
    assert_eq!(why.as_deref(), Ok("a delivery worker panicked"));
    scene.store.stop();
}

#[test]
fn a_panic_in_the_dispatcher_is_fatal_with_one_line() {
    struct Broken;

    impl Admission for Broken {
        fn has_room(&self, _: bool, _: bool, _: &Occupancy) -> bool {
            panic!("on purpose");
        }
    }

    let (_directory, _clock, context) = context();
    let (store, fatal) = (context.store.clone(), context.fatal.clone());
    let stop_workers = context.stop_workers.clone();
    let parts = LevelParts {
        transport: Arc::new(Receiver::default()),
        admission: Box::new(Broken),
    };
    accept(&store, "http://x", b"{}".to_vec());
    let executor = run(context, parts).expect("threads");
    assert!(executor.dispatcher.wait(&soon()));
    assert_eq!(fatal.get().as_deref(), Some("the dispatcher panicked"));
    stop_workers.ask(Deadline::now());
    assert!(executor.workers.wait(&soon()));
    store.stop();
}

/// A minute, which is longer than any machine needs.
fn soon() -> Deadline {
    Deadline::within(Duration::from_secs(60))
}

/// A transport whose attempts hang until it is aborted. It reports each attempt that begins.
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
    fn send(&self, _: &OutboundMessage, _: &Attempt, _wall: Timestamp) -> Outcome {
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
struct HangingExecutor {
    _directory: tempfile::TempDir,
    store: Store,
    stop: Stop,
    stop_workers: Stop,
    executor: Executor,
    transport: Arc<Hanging>,
}

impl HangingExecutor {
    /// Asserts that the dispatcher ends, and then the workers when they are asked.
    fn assert_ends(&self) {
        assert!(self.executor.dispatcher.wait(&soon()));
        assert!(!self.executor.workers.wait(&Deadline::now()));
        self.stop_workers.ask(Deadline::now());
        assert!(self.executor.workers.wait(&soon()));
    }
}

fn hanging() -> HangingExecutor {
    let (directory, _clock, context) = context();
    let (store, stop) = (context.store.clone(), context.stop.clone());
    let stop_workers = context.stop_workers.clone();
    let (transport, begun) = Hanging::new();
    let parts = LevelParts {
        transport: Arc::<Hanging>::clone(&transport),
        admission: Box::new(Unlimited),
    };
    let executor = run(context, parts).expect("threads");
    accept(&store, "http://x", b"{}".to_vec());
    begun.recv().expect("an attempt begins");
    HangingExecutor {
        _directory: directory,
        store,
        stop,
        stop_workers,
        executor,
        transport,
    }
}

#[test]
fn an_outcome_that_a_stopped_store_refuses_ends_the_dispatcher() {
    let running = hanging();
    running.store.stop();
    running.transport.abort();
    running.assert_ends();
}

#[test]
fn a_stop_without_a_store_does_not_wait_for_attempts() {
    let running = hanging();
    running.store.stop();
    running.stop.ask(Deadline::within(Duration::MAX));
    running.assert_ends();
}

#[test]
fn a_stop_releases_attempts_that_hang_and_ends_the_workers() {
    let running = hanging();
    running.stop.ask(Deadline::now());
    running.assert_ends();
    let store = &running.store;
    let claimed = store.all_deliveries(Some(DeliveryState::Processing));
    assert!(claimed.is_empty());
    store.stop();
}

#[test]
fn no_more_is_claimed_than_there_are_free_workers() {
    let mut scene = scene();
    for _ in 0..5 {
        scene.accept();
    }
    let tick = scene.dispatcher.tick();
    assert_eq!(tick.claimed, 2, "two workers");
    scene.store.stop();
}

#[test]
fn outcomes_that_cannot_be_recorded_are_kept_and_nothing_is_claimed() {
    let mut scene = scene();
    scene.accept();
    assert_eq!(scene.dispatcher.tick().claimed, 1);
    scene.worked();
    scene.store.stop();
    for _ in 0..2 {
        let tick = scene.dispatcher.tick();
        assert_eq!((tick.claimed, tick.settled), (0, 0));
        assert!(tick.look_again.is_some(), "the commit is repeated");
        assert_eq!(scene.dispatcher.unsettled(), 1);
    }
}

#[test]
fn a_late_outcome_leaves_a_finished_delivery_as_it_is() {
    for (overtake, state) in [
        (Overtake::Deliver, DeliveryState::Delivered),
        (Overtake::DeadLetter, DeliveryState::DeadLettered),
        (Overtake::Claim, DeliveryState::Processing),
    ] {
        let mut scene = scene();
        scene.accept();
        assert_eq!(scene.dispatcher.tick().claimed, 1);
        scene.worked();
        assert_eq!(scene.store.overtake(overtake).ok(), Some(1));
        assert_eq!(scene.dispatcher.tick().settled, 1);
        let found = scene.store.all_deliveries(None).remove(0);
        assert_eq!(found.state, state, "{overtake:?}");
        let intent = scene.store.intent(found.id).expect("a read");
        let deliveries = intent.expect("it is there").deliveries;
        assert!(deliveries[0].history.is_empty(), "{overtake:?}");
        scene.store.stop();
    }
}
