//! One tick after the other.

use super::*;

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
