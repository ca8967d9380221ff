//! Deliveries that are claimed ahead, and what becomes of them.

use super::*;

/// So many attempts at once, and as many as there may be that wait.
struct AtOnce {
    most: usize,
    may_wait: usize,
}

impl AtOnce {
    fn new(most: usize) -> Self {
        let may_wait = usize::MAX;
        Self { most, may_wait }
    }
}

impl Admission for AtOnce {
    fn admit(&mut self, _: &Target, in_flight: usize) -> Result<(), Refusal> {
        if in_flight < self.most {
            Ok(())
        } else {
            Err(Refusal::UntilAnAttemptEnds)
        }
    }

    fn may_wait(&mut self, _: &Target) -> usize {
        self.may_wait
    }

    fn stuck(&mut self, _: &Target) {
        self.may_wait = 0;
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
    let scene = scene_of(Arc::default(), Arc::new(told), Box::new(AtOnce::new(1)));
    (scene, has_begun, tell)
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
            Outcome::failed(Class::Transient, FailureKind::Refused, "down")
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
        let mut scene = scene_of(Arc::default(), transport, Box::new(AtOnce::new(2)));
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
    tell.send(Outcome::failed(
        Class::Transient,
        FailureKind::Refused,
        "down",
    ))
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
fn what_waits_comes_back_untouched_when_the_one_before_was_slow() {
    let (mut scene, begun, tell) = told();
    for _ in 0..3 {
        scene.accept();
    }
    assert_eq!(scene.dispatcher.run_once().claimed, 3);
    begun.recv().expect("the first one");
    scene.clock.advance(QUICK + Duration::from_millis(1));
    tell.send(Outcome::delivered()).expect("it listens");
    scene.worked();
    assert_eq!(scene.dispatcher.run_once().settled, 1);
    assert_eq!(deliveries(&scene), [(3, 1), (0, 0), (0, 0)]);
    assert!(begun.try_recv().is_err());
    scene.store.stop();
}

#[test]
fn what_waits_is_handed_back_when_its_destination_is_paused() {
    const ALL: usize = 1 + WAITING + 1;
    let (mut scene, begun, tell) = told();
    for _ in 0..ALL {
        scene.accept();
    }
    assert_eq!(scene.dispatcher.run_once().claimed, 1 + WAITING);
    begun.recv().expect("the first one");
    let pause = Pause {
        destination: "http://x".to_owned(),
        reason: "on purpose".to_owned(),
    };
    scene.store.write_blocking(pause).expect("it is known");
    // The destination has as many under way as it may: it is looked at when one ends.
    tell.send(Outcome::delivered()).expect("it listens");
    begun.recv().expect("the second one, which follows at once");
    let pass = scene.dispatcher.run_once();
    assert_eq!((pass.claimed, pass.look_again), (0, Some(Duration::ZERO)));
    scene.dispatcher.run_once();
    tell.send(Outcome::delivered()).expect("it listens");
    // The first one's end may have left a wake-up behind.
    let mut settled = 0;
    while settled == 0 {
        scene.worked();
        settled = scene.dispatcher.run_once().settled;
    }
    let mut expected = [(0, 0); ALL];
    (expected[0], expected[1]) = ((3, 1), (3, 1));
    assert_eq!(deliveries(&scene), expected);
    assert!(begun.try_recv().is_err());
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
    assert_eq!(scene.dispatcher.run_once().claimed, 0, "not at once again");
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
    scene.stop.ask(soon());
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
    let mut scene = scene_of(Arc::default(), transport, Box::new(AtOnce::new(1)));
    let small = usize::try_from(SMALL).expect("it is small");
    let lengths = [0, small, small + 1, 1 << 20];
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
