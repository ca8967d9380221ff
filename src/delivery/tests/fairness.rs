//! More destinations than a tick looks at at first.

use std::collections::HashMap;

use super::*;
use crate::store::ListedDelivery;

/// More than the first looks with two workers, and no multiple of their number.
const MANY: i64 = 73;

/// Attempts by destination.
fn attempts(scene: &Scene) -> HashMap<String, u32> {
    let mut attempts = HashMap::new();
    for one in scene.store.all_deliveries(None) {
        *attempts.entry(one.destination).or_default() += one.attempts;
    }
    attempts
}

fn accept_for_all(scene: &Scene) {
    for destination in 0..MANY {
        scene.accept_for(&format!("http://d{destination}"));
    }
}

#[test]
fn many_destinations_are_served_in_turn() {
    let mut scene = scene();
    scene.receiver.is_repaired.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        accept_for_all(&scene);
    }
    let is_delivered = |one: &ListedDelivery| one.state == DeliveryState::Delivered;
    let mut claimed = 0;
    while !scene.store.all_deliveries(None).iter().all(is_delivered) {
        let tick = scene.dispatcher.tick();
        claimed += tick.claimed;
        let attempts = attempts(&scene);
        let (most, least) = (attempts.values().max(), attempts.values().min());
        let spread = most.zip(least).map_or(0, |(most, least)| most - least);
        assert!(spread <= 1, "{spread} ahead after {claimed} claims");
        if tick.claimed + tick.settled == 0 {
            scene.wake.wait(Duration::from_secs(60));
        }
    }
    assert_eq!(i64::try_from(claimed).ok(), Some(3 * MANY));
    scene.store.stop();
}

/// Slow destinations share one worker.
struct OneForSlow;

const SLOW: Reputation = Reputation::Suspect;

impl Admission for OneForSlow {
    fn reputation(&self, target: &Target) -> Reputation {
        if target.name.starts_with("http://slow") {
            SLOW
        } else {
            Reputation::Proven
        }
    }

    fn reputation_of(&self, _: DestinationId, _: bool) -> Reputation {
        SLOW
    }

    fn admit(&self, request: &Request<'_>) -> Result<(), Refusal> {
        let is_slow = self.reputation(request.target) == SLOW;
        if is_slow && request.occupancy.count(false, &[SLOW]) > 0 {
            return Err(Refusal::NoShare);
        }
        Ok(())
    }
}

#[test]
fn destinations_that_share_a_worker_take_turns_while_others_are_served() {
    const COUNT: u32 = 40;
    let receiver = Arc::new(Receiver::default());
    receiver.is_repaired.store(true, Ordering::SeqCst);
    let transport = Arc::<Receiver>::clone(&receiver);
    let mut scene = scene_of(receiver, transport, Box::new(OneForSlow));
    // The quick destination comes first, and has a delivery due before each turn of the others.
    scene.accept_for("http://quick");
    for _ in 0..8 {
        for slow in 0..COUNT {
            scene.accept_for(&format!("http://slow{slow}"));
        }
    }
    let of_slow = |scene: &Scene| -> Vec<u32> {
        let all = attempts(scene).into_iter();
        all.filter(|(name, _)| name.starts_with("http://slow"))
            .map(|(_, attempts)| attempts)
            .collect()
    };
    while of_slow(&scene).iter().sum::<u32>() < 2 * COUNT {
        scene.accept_for("http://quick");
        let tick = scene.dispatcher.tick();
        if tick.claimed + tick.settled == 0 {
            scene.wake.wait(Duration::from_secs(60));
        }
    }
    let fewest = of_slow(&scene).into_iter().min();
    assert!(fewest >= Some(1), "each destination gets a turn");
    scene.store.stop();
}

/// An attempt to a slow destination costs four rounds.
struct FourRounds;

impl Admission for FourRounds {
    fn cost(&self, target: &Target) -> u64 {
        if target.name.starts_with("http://slow") {
            4
        } else {
            1
        }
    }
}

#[test]
fn a_slow_destination_lets_the_others_go_first_as_often_as_its_attempts_cost() {
    let receiver = Arc::new(Receiver::default());
    receiver.is_repaired.store(true, Ordering::SeqCst);
    let transport = Arc::<Receiver>::clone(&receiver);
    let mut scene = scene_of(receiver, transport, Box::new(FourRounds));
    for _ in 0..40 {
        for name in [
            "http://slow",
            "http://a",
            "http://b",
            "http://c",
            "http://d",
        ] {
            scene.accept_for(name);
        }
    }
    let mut claimed = 0;
    while claimed < 4 * 34 {
        let tick = scene.dispatcher.tick();
        claimed += tick.claimed;
        if tick.claimed + tick.settled == 0 {
            scene.wake.wait(Duration::from_secs(60));
        }
    }
    let attempts = attempts(&scene);
    let (slow, quick) = (attempts["http://slow"], attempts["http://a"]);
    assert!((7..=9).contains(&slow), "{attempts:?}");
    assert!((31..=33).contains(&quick), "{attempts:?}");
    scene.store.stop();
}
