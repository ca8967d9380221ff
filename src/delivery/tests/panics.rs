//! Panics: which cost an attempt, and which are fatal.

use super::*;

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
        fn has_room(&self, _: bool, _: Reputation, _: &Occupancy) -> bool {
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
