//! Deliveries of one ordering key follow each other without a pause.

use super::*;
use crate::config::{Destination, Ordering as OrderingSettings};
use crate::delivery::dispatcher::Tick;
use crate::model::{OnDead, OrderKey};

const NAME: &str = "ledger";

/// A scene whose destination `ledger` makes one delivery at a time.
fn ordered(on_dead: OnDead) -> Scene {
    let (directory, clock, context) = context_with(|config| {
        let mut to = Destination::new("http://127.0.0.1:9/".parse().expect("a URL"));
        to.ordering = Some(OrderingSettings {
            on_dead,
            ..OrderingSettings::by("all")
        });
        config.destinations.insert(NAME.to_owned(), to);
    });
    let receiver = Arc::new(Receiver::default());
    let transport = Arc::<Receiver>::clone(&receiver);
    let admission = Box::new(Unlimited);
    scene_in(directory, clock, context, receiver, transport, admission)
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
