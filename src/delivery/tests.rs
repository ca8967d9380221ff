//! The dispatcher's single pass, driven by hand on a fake clock.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender, channel};
use std::time::Duration;

use super::dispatcher::{Dispatcher, WAITING};
use super::level::{Admission, Parts, Transport, Unlimited};
use super::ops::Shipment;
use super::outcome::{Class, Outcome};
use super::pool::{Job, Pool};
use super::target::Target;
use super::*;
use crate::clock::{FakeClock, Timestamp};
use crate::model::{Failure, Level, RetryPlan, Surface};
use crate::store::Accept;

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
            Outcome::failed(Class::Transient, Failure::Refused, "down")
        }
    }

    fn abort(&self) {}
}

struct Scene {
    _directory: tempfile::TempDir,
    clock: Arc<FakeClock>,
    store: Store,
    wake: Wake,
    receiver: Arc<Receiver>,
    dispatcher: Dispatcher,
}

fn context() -> (tempfile::TempDir, Arc<FakeClock>, Context) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = Config::default();
    config.database.path = directory.path().join("relay.db");
    config.database.min_free_bytes = 0;
    config.delivery.workers = 2;
    config.delivery.defaults.retry.schedule = Some(vec![Duration::from_secs(300)]);
    config.delivery.defaults.retry.jitter = Some(0.0);
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(1_700_000_000_000)));
    let metrics = Arc::new(Metrics::new(Level::Simulated));
    let wake = Wake::new();
    let on_work = {
        let wake = wake.clone();
        Arc::new(move || wake.wake())
    };
    let store = Store::open(
        &config.database,
        config.longest_wait(),
        Arc::<FakeClock>::clone(&clock),
        Arc::clone(&metrics),
        on_work,
        Arc::new(|_| {}),
    )
    .expect("the store opens");
    let context = Context {
        config: Arc::new(config),
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
    let (store, wake) = (context.store.clone(), context.wake.clone());
    let pool = Pool::start(&context, Arc::clone(&transport)).expect("threads");
    let parts = Parts {
        transport,
        retry: RetryPlan::Schedule,
        admission,
    };
    Scene {
        _directory: directory,
        clock,
        store,
        wake,
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
        let op = Accept {
            surface: Surface::Relay,
            label: "a".to_owned(),
            url: Some(format!("{origin}/")),
            destinations: Arc::from([origin.to_owned()]),
            headers: Vec::new(),
            metadata: None,
            body: body.into(),
            key: None,
            window: Duration::ZERO,
        };
        self.store.write_blocking(op).expect("accepted");
        // The writer tells that something is due, after it has answered: what follows waits for what
        // the workers tell.
        self.wake.wait(Duration::from_secs(60));
    }

    /// Waits for a worker to be done.
    fn worked(&self) {
        self.wake.wait(Duration::from_secs(60));
    }
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

#[test]
fn a_panic_in_the_dispatcher_ends_everything_with_one_line() {
    /// Whoever asks is not let in.
    struct Broken;

    impl Admission for Broken {
        fn new_round(&mut self) {
            panic!("on purpose");
        }
        fn admit(&mut self, _: &Target, _: usize) -> Result<(), Option<Duration>> {
            Ok(())
        }
    }

    let (_directory, _clock, context) = context();
    let (store, fatal) = (context.store.clone(), context.fatal.clone());
    let parts = Parts {
        transport: Arc::new(Receiver::default()),
        retry: RetryPlan::Schedule,
        admission: Box::new(Broken),
    };
    let mut executor = run(context, parts).expect("threads");
    executor.join();
    let mut raised = std::pin::pin!(fatal.raised());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let why = raised.as_mut().poll(&mut context);
    assert_eq!(
        why,
        std::task::Poll::Ready("the dispatcher panicked".to_owned())
    );
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

/// So many attempts at once, and as many as there may be that wait.
struct AtOnce(usize);

impl Admission for AtOnce {
    fn admit(&mut self, _: &Target, in_flight: usize) -> Result<(), Option<Duration>> {
        if in_flight < self.0 {
            Ok(())
        } else {
            Err(None)
        }
    }

    fn may_wait(&mut self, _: &Target) -> bool {
        true
    }
}

/// Says when an attempt begins, and ends it as it is told.
struct Told {
    begun: Sender<()>,
    outcomes: Mutex<mpsc::Receiver<Outcome>>,
}

impl Transport for Told {
    fn attempt(&self, _shipment: &Shipment, _job: &Job, _wall: Timestamp) -> Outcome {
        // At its end the test is gone.
        let _ = self.begun.send(());
        let outcomes = self.outcomes.lock().expect("no panics");
        outcomes.recv().unwrap_or_else(|_| Outcome::delivered())
    }

    fn abort(&self) {}
}

fn told() -> (Scene, mpsc::Receiver<()>, Sender<Outcome>) {
    let (begun, has_begun) = channel();
    let (tell, outcomes) = channel();
    let told = Told {
        begun,
        outcomes: Mutex::new(outcomes),
    };
    let scene = scene_of(Arc::default(), Arc::new(told), Box::new(AtOnce(1)));
    (scene, has_begun, tell)
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
fn what_waits_begins_when_the_one_before_went_well_and_no_sooner() {
    const ALL: usize = 1 + WAITING + 2;
    let (mut scene, begun, tell) = told();
    for _ in 0..ALL {
        scene.accept();
    }
    assert_eq!(scene.dispatcher.run_once().claimed, 1 + WAITING);
    begun.recv().expect("the first one");
    assert_eq!(scene.dispatcher.run_once().claimed, 0, "it is enough");
    assert!(begun.try_recv().is_err(), "a worker is free, and yet");
    tell.send(Outcome::delivered()).expect("it listens");
    begun.recv().expect("the next one, without a pass");
    let pass = scene.dispatcher.run_once();
    assert_eq!((pass.settled, pass.claimed), (1, 1));
    let (well, claimed) = ((3, 1), (1, 1));
    let mut expected = vec![claimed; ALL];
    (expected[0], expected[ALL - 1]) = (well, (0, 0));
    assert_eq!(deliveries(&scene), expected);
    for _ in 1..ALL {
        tell.send(Outcome::delivered()).expect("it listens");
    }
    let mut settled = 1;
    while settled < ALL {
        scene.worked();
        settled += scene.dispatcher.run_once().settled;
    }
    assert_eq!(deliveries(&scene), [well; ALL]);
    scene.store.stop();
}

/// Now this attempt fails, now that one; and says how many there were at once at most.
#[derive(Default)]
struct Moody {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Transport for Moody {
    fn attempt(&self, _shipment: &Shipment, job: &Job, _wall: Timestamp) -> Outcome {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let is_bad = rand::random_ratio(1, 4);
        self.now.fetch_sub(1, Ordering::SeqCst);
        if is_bad && job.attempt == 1 {
            Outcome::failed(Class::Transient, Failure::Refused, "down")
        } else {
            Outcome::delivered()
        }
    }

    fn abort(&self) {}
}

#[test]
fn whatever_fails_meanwhile_each_is_attempted_and_never_more_at_once_than_may() {
    for _ in 0..20 {
        let moody = Arc::new(Moody::default());
        let transport = Arc::<Moody>::clone(&moody);
        let mut scene = scene_of(Arc::default(), transport, Box::new(AtOnce(2)));
        for _ in 0..60 {
            scene.accept();
        }
        let mut passes = 0;
        while deliveries(&scene).iter().any(|(state, _)| *state != 3) {
            let pass = scene.dispatcher.run_once();
            if pass.claimed + pass.settled == 0 && scene.dispatcher.is_idle() {
                scene.clock.advance(Duration::from_secs(300));
            } else if !scene.dispatcher.is_idle() {
                scene.wake.wait(Duration::from_secs(60));
            }
            passes += 1;
            assert!(passes < 1_000, "{:?}", deliveries(&scene));
        }
        assert!(scene.dispatcher.is_idle());
        assert!(moody.most.load(Ordering::SeqCst) <= 2);
        scene.store.stop();
    }
}

#[test]
fn what_waits_comes_back_untouched_when_the_one_before_failed() {
    let (mut scene, begun, tell) = told();
    for _ in 0..2 {
        scene.accept();
    }
    assert_eq!(scene.dispatcher.run_once().claimed, 2);
    begun.recv().expect("the first one");
    tell.send(Outcome::failed(Class::Transient, Failure::Refused, "down"))
        .expect("it listens");
    scene.worked();
    let pass = scene.dispatcher.run_once();
    assert_eq!((pass.settled, pass.look_again), (1, Some(Duration::ZERO)));
    assert_eq!(deliveries(&scene), [(2, 1), (0, 0)]);
    assert!(begun.try_recv().is_err());
    assert_eq!(scene.dispatcher.run_once().claimed, 1, "its turn");
    begun.recv().expect("the second one");
    scene.store.stop();
}

#[test]
fn what_waits_for_long_is_handed_back() {
    let (mut scene, begun, _tell) = told();
    for _ in 0..2 {
        scene.accept();
    }
    assert_eq!(scene.dispatcher.run_once().claimed, 2);
    begun.recv().expect("the first one");
    assert_eq!(deliveries(&scene), [(1, 1), (1, 1)]);
    scene.clock.advance(Duration::from_secs(1));
    scene.dispatcher.run_once();
    assert_eq!(deliveries(&scene), [(1, 1), (0, 0)]);
    scene.store.stop();
}

#[test]
fn nothing_waits_for_a_worker_that_another_destination_wants() {
    let (mut scene, begun, tell) = told();
    for name in ["http://a", "http://b", "http://c"] {
        for _ in 0..10 {
            scene.accept_for(name);
        }
    }
    // Two workers, three destinations with more to do.
    assert_eq!(scene.dispatcher.run_once().claimed, 2);
    for _ in 0..28 {
        begun.recv().expect("an attempt");
        tell.send(Outcome::delivered()).expect("it listens");
        scene.worked();
        scene.dispatcher.run_once();
        let done = |place: usize| {
            let states = deliveries(&scene);
            let of_one = &states[10 * place..10 * (place + 1)];
            of_one.iter().filter(|(state, _)| *state == 3).count()
        };
        let all = [done(0), done(1), done(2)];
        let (most, least) = (all.iter().max(), all.iter().min());
        assert!(
            most.zip(least)
                .is_some_and(|(most, least)| most - least <= 4),
            "{all:?}"
        );
    }
    scene.store.stop();
}

#[test]
fn what_waits_at_a_stop_is_handed_back() {
    let (mut scene, begun, tell) = told();
    for _ in 0..2 {
        scene.accept();
    }
    assert_eq!(scene.dispatcher.run_once().claimed, 2);
    begun.recv().expect("the first one");
    scene.wake.stop(Duration::from_secs(60));
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| scene.dispatcher.run());
        // Until it is told, the first one keeps the stop waiting.
        while scene.store.read_blocking(handed_back).expect("a count") == 0 {
            std::thread::yield_now();
        }
        tell.send(Outcome::delivered()).expect("it listens");
        stopping.join().expect("no panics");
    });
    assert!(begun.try_recv().is_err(), "it never began");
    assert_eq!(deliveries(&scene), [(3, 1), (0, 0)]);
    scene.store.stop();
}

fn handed_back(sql: &rusqlite::Connection) -> Result<i64, crate::store::StoreError> {
    let count = "SELECT count(*) FROM deliveries WHERE state = 0";
    Ok(sql.query_row(count, [], |row| row.get(0))?)
}

/// Takes down how long each body was.
#[derive(Default)]
struct Scales(Mutex<Vec<usize>>);

impl Transport for Scales {
    fn attempt(&self, shipment: &Shipment, _job: &Job, _wall: Timestamp) -> Outcome {
        let mut lengths = self.0.lock().expect("no panics");
        lengths.push(shipment.body.len());
        Outcome::delivered()
    }

    fn abort(&self) {}
}

#[test]
fn bodies_of_any_size_arrive_whole() {
    let scales = Arc::new(Scales::default());
    let transport = Arc::<Scales>::clone(&scales);
    let mut scene = scene_of(Arc::default(), transport, Box::new(AtOnce(1)));
    let lengths = [0, 16 * 1024, 16 * 1024 + 1, 1 << 20];
    for length in lengths {
        scene.accept_body(vec![b'1'; length]);
    }
    let mut settled = 0;
    while settled < lengths.len() {
        settled += scene.dispatcher.run_once().settled;
        if settled < lengths.len() {
            scene.worked();
        }
    }
    assert_eq!(*scales.0.lock().expect("no panics"), lengths);
    assert_eq!(deliveries(&scene), [(3, 1); 4]);
    assert!(scene.dispatcher.is_idle());
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
