//! Deliveries of one ordering key follow each other without a pause.

use super::prefetch::{AtOnce, Scripted};
use super::*;
use crate::config::{Destination, Ordering as OrderingSettings};
use crate::delivery::dispatcher::Tick;
use crate::model::{OnDead, OrderKey};

const NAME: &str = "ledger";

/// A scene whose destination `ledger` makes one delivery at a time.
fn ordered(on_dead: OnDead) -> Scene {
    let (directory, clock, context) = context_in_order(on_dead, 2);
    let receiver = Arc::new(Receiver::default());
    let transport = Arc::<Receiver>::clone(&receiver);
    let admission = Box::new(Unlimited);
    scene_in(directory, clock, context, receiver, transport, admission)
}

fn context_in_order(
    on_dead: OnDead,
    workers: usize,
) -> (tempfile::TempDir, Arc<FakeClock>, Context) {
    context_with(|config| {
        config.delivery.workers = workers;
        let mut to = Destination::new("http://127.0.0.1:9/".parse().expect("a URL"));
        to.ordering = Some(OrderingSettings {
            on_dead,
            ..OrderingSettings::by("all")
        });
        config.destinations.insert(NAME.to_owned(), to);
    })
}

fn accept_ordered(scene: &Scene, count: usize) {
    for _ in 0..count {
        let op = Accept {
            surface: Surface::Event,
            url: None,
            destinations: Arc::from([NAME.to_owned()]),
            order_keys: vec![(0, OrderKey::from_number(1))],
            ..intent("", b"{}".to_vec())
        };
        scene.store.accept_blocking(op).expect("accepted");
    }
    scene.wake.wait(Duration::from_secs(60));
}

/// The tick that settles an attempt. Others, for which the writer woke the dispatcher, find
/// nothing.
fn settling_tick(scene: &mut Scene) -> Tick {
    loop {
        scene.worked();
        let tick = scene.dispatcher.tick();
        if tick.settled > 0 {
            return tick;
        }
        assert_eq!(tick.claimed, 0);
    }
}

#[test]
fn a_successor_is_claimed_in_the_tick_that_settles_the_one_before_it() {
    let mut scene = ordered(OnDead::Skip);
    scene.receiver.is_repaired.store(true, Ordering::SeqCst);
    accept_ordered(&scene, 3);
    assert_eq!(scene.dispatcher.tick().claimed, 1);
    for left in [2, 1, 0] {
        let tick = settling_tick(&mut scene);
        assert_eq!(
            (tick.settled, tick.claimed),
            (1, left.min(1)),
            "{left} left"
        );
    }
    assert_eq!(deliveries(&scene), [(3, 1); 3]);
    scene.store.stop();
}

#[test]
fn nothing_follows_a_retry_or_a_dead_letter_that_blocks() {
    let mut scene = ordered(OnDead::Block);
    accept_ordered(&scene, 2);
    assert_eq!(scene.dispatcher.tick().claimed, 1);
    for expected in [[(2, 1), (0, 0)], [(4, 2), (0, 0)]] {
        let tick = settling_tick(&mut scene);
        assert_eq!((tick.settled, tick.claimed), (1, 0));
        assert_eq!(deliveries(&scene), expected);
        // The retry comes, and after it nothing for as long as one looks.
        scene.clock.advance(Duration::from_secs(300));
        let is_retry = expected[0].0 == 2;
        assert_eq!(scene.dispatcher.tick().claimed, usize::from(is_retry));
    }
    scene.clock.advance(Duration::from_secs(3600));
    for _ in 0..3 {
        assert_eq!(scene.dispatcher.tick().claimed, 0);
    }
    let tick = scene.dispatcher.tick();
    assert_eq!(tick.look_again, None, "no delivery is due");
    scene.store.stop();
}

/// The plan keeps a worker for the successor that may follow an attempt. If there is none, another
/// destination has it at once.
#[test]
fn a_worker_for_which_no_successor_came_goes_to_another_destination() {
    let (directory, clock, context) = context_in_order(OnDead::Skip, 1);
    let (begun, has_begun) = channel();
    let (tell, outcomes) = channel();
    let transport = Arc::new(Scripted {
        begun,
        outcomes: Mutex::new(outcomes),
    });
    let admission = Box::new(AtOnce {
        max_in_flight: 1,
        max_prefetched: 0,
    });
    let receiver = Arc::default();
    let mut scene = scene_in(directory, clock, context, receiver, transport, admission);
    for _ in 0..3 {
        scene.accept_for("http://other");
    }
    assert_eq!(scene.dispatcher.tick().claimed, 1);
    accept_ordered(&scene, 1);
    let mut left = 4;
    while left > 0 {
        has_begun.recv_timeout(PATIENCE).expect("an attempt");
        // One that finds nothing more for the destination whose only delivery is under way.
        scene.dispatcher.tick();
        tell.send(Outcome::delivered()).expect("it listens");
        let mut tick = settling_tick(&mut scene);
        left -= tick.settled;
        if tick.claimed == 0 && left > 0 {
            assert_eq!(tick.look_again, Some(Duration::ZERO), "{left} left");
            tick = scene.dispatcher.tick();
        }
        assert_eq!(tick.claimed, left.min(1));
    }
    scene.store.stop();
}
