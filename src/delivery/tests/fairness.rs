//! More destinations than a tick looks at at first.

use super::*;
use crate::store::StoreError;

/// More than the first looks with two workers, and no multiple of their number.
const MANY: i64 = 73;

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
    let count = |sql: &str| -> Result<i64, StoreError> {
        let read = |db: &rusqlite::Connection| Ok(db.query_row(sql, [], |row| row.get(0))?);
        scene.store.read_blocking(read)
    };
    let mut claimed = 0;
    while count("SELECT count(*) FROM deliveries WHERE state <> 3").expect("a count") > 0 {
        let tick = scene.dispatcher.tick();
        claimed += tick.claimed;
        let spread = "SELECT max(c) - min(c) FROM
             (SELECT sum(attempts) c FROM deliveries GROUP BY destination_id)";
        let spread = count(spread).expect("a spread");
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
    const COUNT: i64 = 40;
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
    let count = |sql: &str| -> i64 {
        let read = |db: &rusqlite::Connection| Ok(db.query_row(sql, [], |row| row.get(0))?);
        scene.store.read_blocking(read).expect("a count")
    };
    let each = "SELECT sum(attempts) c FROM deliveries JOIN destinations t ON t.id = destination_id
         WHERE t.name LIKE 'http://slow%' GROUP BY destination_id";
    while count(&format!("SELECT sum(c) FROM ({each})")) < 2 * COUNT {
        scene.accept_for("http://quick");
        let tick = scene.dispatcher.tick();
        if tick.claimed + tick.settled == 0 {
            scene.wake.wait(Duration::from_secs(60));
        }
    }
    let fewest = count(&format!("SELECT min(c) FROM ({each})"));
    assert!(fewest >= 1, "each destination gets a turn");
    scene.store.stop();
}
