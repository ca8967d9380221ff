//! Prefetched deliveries: when they begin, and when they are released.

use super::*;

/// A fixed number of attempts at once, and of prefetched deliveries.
pub(super) struct AtOnce {
    pub max_in_flight: usize,
    pub max_prefetched: usize,
}

impl AtOnce {
    fn new(max_in_flight: usize) -> Self {
        Self {
            max_in_flight,
            max_prefetched: usize::MAX,
        }
    }
}

impl Admission for AtOnce {
    fn admit(&self, request: &Request<'_>) -> Result<(), Refusal> {
        if request.in_flight + request.planned < self.max_in_flight {
            Ok(())
        } else {
            Err(Refusal::UntilAnAttemptEnds)
        }
    }

    fn max_prefetched(&self, _: &Target) -> usize {
        self.max_prefetched
    }

    fn prefetch_stalled(&mut self, _: &Target) {
        self.max_prefetched = 0;
    }
}

/// Reports each attempt that begins, and ends it with the outcome that the test sends.
pub(super) struct Scripted {
    pub begun: Sender<()>,
    pub outcomes: Mutex<mpsc::Receiver<Outcome>>,
}

impl Transport for Scripted {
    fn send(&self, _: &OutboundMessage, _: &Attempt, _wall: Timestamp) -> Outcome {
        // At its end the test is gone.
        let _ = self.begun.send(());
        let outcomes = self.outcomes.lock().expect("no panics");
        outcomes.recv().unwrap_or_else(|_| Outcome::delivered())
    }

    fn abort(&self) {}
}

fn scripted() -> (Scene, mpsc::Receiver<()>, Sender<Outcome>) {
    let (begun, has_begun) = channel();
    let (tell, outcomes) = channel();
    let scripted = Scripted {
        begun,
        outcomes: Mutex::new(outcomes),
    };
    let scene = scene_of(Arc::default(), Arc::new(scripted), Box::new(AtOnce::new(1)));
    (scene, has_begun, tell)
}

#[test]
fn a_prefetched_delivery_begins_after_a_quick_success_and_not_before() {
    const ALL: usize = 1 + PREFETCH_DEPTH + 2;
    let (mut scene, begun, tell) = scripted();
    for _ in 0..ALL {
        scene.accept();
    }
    assert_eq!(scene.dispatcher.tick().claimed, 1 + PREFETCH_DEPTH);
    begun.recv_timeout(PATIENCE).expect("the first one");
    assert_eq!(scene.dispatcher.tick().claimed, 0, "it is enough");
    assert!(begun.try_recv().is_err(), "a worker is free, and yet");
    tell.send(Outcome::delivered()).expect("it listens");
    begun
        .recv_timeout(PATIENCE)
        .expect("the next one, without a tick");
    let tick = scene.dispatcher.tick();
    assert_eq!((tick.settled, tick.claimed), (1, 1));
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
        settled += scene.dispatcher.tick().settled;
    }
    assert_eq!(deliveries(&scene), [well; ALL]);
    scene.store.stop();
}

/// Fails at random, and counts the attempts at once.
#[derive(Default)]
struct Flaky {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Transport for Flaky {
    fn send(&self, _: &OutboundMessage, attempt: &Attempt, _wall: Timestamp) -> Outcome {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let is_bad = rand::random_ratio(1, 4);
        self.now.fetch_sub(1, Ordering::SeqCst);
        if is_bad && attempt.number == 1 {
            Outcome::failed(Class::Transient, FailureKind::Refused, "down")
        } else {
            Outcome::delivered()
        }
    }

    fn abort(&self) {}
}

#[test]
fn with_random_failures_each_delivery_is_attempted_and_the_limit_holds() {
    for _ in 0..20 {
        let flaky = Arc::new(Flaky::default());
        let transport = Arc::<Flaky>::clone(&flaky);
        let mut scene = scene_of(Arc::default(), transport, Box::new(AtOnce::new(2)));
        for _ in 0..60 {
            scene.accept();
        }
        let mut ticks = 0;
        while deliveries(&scene).iter().any(|(state, _)| *state != 3) {
            let tick = scene.dispatcher.tick();
            if tick.claimed + tick.settled == 0 && scene.dispatcher.is_idle() {
                scene.clock.advance(Duration::from_secs(300));
            } else if !scene.dispatcher.is_idle() {
                scene.wake.wait(Duration::from_secs(60));
            }
            ticks += 1;
            assert!(ticks < 1_000, "{:?}", deliveries(&scene));
        }
        assert!(scene.dispatcher.is_idle());
        assert!(flaky.most.load(Ordering::SeqCst) <= 2);
        scene.store.stop();
    }
}

#[test]
fn a_prefetched_delivery_begins_after_the_refusal_of_one_event() {
    let (mut scene, begun, tell) = scripted();
    for _ in 0..2 {
        scene.accept();
    }
    assert_eq!(scene.dispatcher.tick().claimed, 2);
    begun.recv_timeout(PATIENCE).expect("the first one");
    let refusal = Outcome::failed(Class::Permanent, FailureKind::Status, "answered 422");
    tell.send(refusal).expect("it listens");
    scene.worked();
    let tick = scene.dispatcher.tick();
    assert_eq!((tick.settled, tick.claimed), (1, 0));
    assert_eq!(deliveries(&scene), [(4, 1), (1, 1)], "none is released");
    begun.recv_timeout(PATIENCE).expect("the second one");
    scene.store.stop();
}

#[test]
fn a_prefetched_delivery_is_released_after_a_failure() {
    let (mut scene, begun, tell) = scripted();
    for _ in 0..2 {
        scene.accept();
    }
    assert_eq!(scene.dispatcher.tick().claimed, 2);
    begun.recv_timeout(PATIENCE).expect("the first one");
    tell.send(Outcome::failed(
        Class::Transient,
        FailureKind::Refused,
        "down",
    ))
    .expect("it listens");
    scene.worked();
    let tick = scene.dispatcher.tick();
    assert_eq!((tick.settled, tick.look_again), (1, Some(Duration::ZERO)));
    assert_eq!(deliveries(&scene), [(2, 1), (0, 0)]);
    assert!(begun.try_recv().is_err());
    assert_eq!(scene.dispatcher.tick().claimed, 1, "its turn");
    begun.recv_timeout(PATIENCE).expect("the second one");
    scene.store.stop();
}

#[test]
fn prefetched_deliveries_are_released_after_a_slow_success() {
    let (mut scene, begun, tell) = scripted();
    for _ in 0..3 {
        scene.accept();
    }
    assert_eq!(scene.dispatcher.tick().claimed, 3);
    begun.recv_timeout(PATIENCE).expect("the first one");
    scene.clock.advance(QUICK + Duration::from_millis(1));
    tell.send(Outcome::delivered()).expect("it listens");
    scene.worked();
    assert_eq!(scene.dispatcher.tick().settled, 1);
    assert_eq!(deliveries(&scene), [(3, 1), (0, 0), (0, 0)]);
    assert!(begun.try_recv().is_err());
    scene.store.stop();
}

#[test]
fn prefetched_deliveries_are_released_when_the_destination_is_paused() {
    const ALL: usize = 1 + PREFETCH_DEPTH + 1;
    let (mut scene, begun, tell) = scripted();
    for _ in 0..ALL {
        scene.accept();
    }
    assert_eq!(scene.dispatcher.tick().claimed, 1 + PREFETCH_DEPTH);
    begun.recv_timeout(PATIENCE).expect("the first one");
    scene
        .store
        .pause_blocking("http://x", "on purpose")
        .expect("it is known");
    // The destination is at its limit: it is looked at when an attempt ends.
    tell.send(Outcome::delivered()).expect("it listens");
    begun
        .recv_timeout(PATIENCE)
        .expect("the second one, which follows at once");
    let tick = scene.dispatcher.tick();
    assert_eq!((tick.claimed, tick.look_again), (0, Some(Duration::ZERO)));
    scene.dispatcher.tick();
    tell.send(Outcome::delivered()).expect("it listens");
    // The first completion may have left a wake-up behind.
    let mut settled = 0;
    while settled == 0 {
        scene.worked();
        settled = scene.dispatcher.tick().settled;
    }
    let mut expected = [(0, 0); ALL];
    (expected[0], expected[1]) = ((3, 1), (3, 1));
    assert_eq!(deliveries(&scene), expected);
    assert!(begun.try_recv().is_err());
    scene.store.stop();
}

#[test]
fn a_prefetched_delivery_is_released_after_a_second() {
    let (mut scene, begun, _tell) = scripted();
    for _ in 0..2 {
        scene.accept();
    }
    assert_eq!(scene.dispatcher.tick().claimed, 2);
    begun.recv_timeout(PATIENCE).expect("the first one");
    assert_eq!(deliveries(&scene), [(1, 1), (1, 1)]);
    scene.clock.advance(Duration::from_secs(1));
    scene.dispatcher.tick();
    assert_eq!(deliveries(&scene), [(1, 1), (0, 0)]);
    assert_eq!(scene.dispatcher.tick().claimed, 0, "not at once again");
    scene.store.stop();
}

#[test]
fn a_small_pool_prefetches_nothing_while_another_destination_wants_a_worker() {
    let (mut scene, begun, tell) = scripted();
    for name in ["http://a", "http://b", "http://c"] {
        for _ in 0..10 {
            scene.accept_for(name);
        }
    }
    // Two workers, and three destinations with a backlog.
    assert_eq!(scene.dispatcher.tick().claimed, 2);
    for _ in 0..28 {
        begun.recv_timeout(PATIENCE).expect("an attempt");
        tell.send(Outcome::delivered()).expect("it listens");
        scene.worked();
        scene.dispatcher.tick();
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
fn a_prefetched_delivery_is_released_by_a_stop() {
    let (mut scene, begun, tell) = scripted();
    for _ in 0..2 {
        scene.accept();
    }
    assert_eq!(scene.dispatcher.tick().claimed, 2);
    begun.recv_timeout(PATIENCE).expect("the first one");
    scene.stop.ask(soon());
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| scene.dispatcher.run());
        // The first attempt keeps the stop waiting until it ends.
        let queued = Some(DeliveryState::Queued);
        while scene.store.all_deliveries(queued).is_empty() {
            std::thread::yield_now();
        }
        tell.send(Outcome::delivered()).expect("it listens");
        stopping.join().expect("no panics");
    });
    assert!(begun.try_recv().is_err(), "it never began");
    assert_eq!(deliveries(&scene), [(3, 1), (0, 0)]);
    scene.store.stop();
}

/// Records the length of each body.
#[derive(Default)]
struct Scales(Mutex<Vec<usize>>);

impl Transport for Scales {
    fn send(&self, message: &OutboundMessage, _: &Attempt, _wall: Timestamp) -> Outcome {
        let mut lengths = self.0.lock().expect("no panics");
        lengths.push(message.body.len());
        Outcome::delivered()
    }

    fn abort(&self) {}
}

#[test]
fn bodies_of_any_size_arrive_whole() {
    let scales = Arc::new(Scales::default());
    let transport = Arc::<Scales>::clone(&scales);
    let mut scene = scene_of(Arc::default(), transport, Box::new(AtOnce::new(1)));
    let small = usize::try_from(MAX_PRELOADED).expect("it is small");
    let lengths = [0, small, small + 1, 1 << 20];
    for length in lengths {
        scene.accept_body(vec![b'1'; length]);
    }
    let mut settled = 0;
    while settled < lengths.len() {
        settled += scene.dispatcher.tick().settled;
        if settled < lengths.len() {
            scene.worked();
        }
    }
    assert_eq!(*scales.0.lock().expect("no panics"), lengths);
    assert_eq!(deliveries(&scene), [(3, 1); 4]);
    assert!(scene.dispatcher.is_idle());
    scene.store.stop();
}
