//! More destinations than are looked at in one go.

use super::*;
use crate::store::StoreError;

/// More than are looked at in one go with two workers, and no multiple of it.
const MANY: i64 = 73;

fn accept_for_all(scene: &Scene) {
    for destination in 0..MANY {
        scene.accept_for(&format!("http://d{destination}"));
    }
}

#[test]
fn none_of_many_destinations_gets_ahead_of_another() {
    let mut scene = scene();
    scene.receiver.is_mended.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        accept_for_all(&scene);
    }
    let count = |sql: &str| -> Result<i64, StoreError> {
        let read = |db: &rusqlite::Connection| Ok(db.query_row(sql, [], |row| row.get(0))?);
        scene.store.read_blocking(read)
    };
    let mut claimed = 0;
    while count("SELECT count(*) FROM deliveries WHERE state <> 3").expect("a count") > 0 {
        let pass = scene.dispatcher.run_once();
        claimed += pass.claimed;
        let spread = "SELECT max(c) - min(c) FROM
             (SELECT sum(attempts) c FROM deliveries GROUP BY destination_id)";
        let spread = count(spread).expect("a spread");
        assert!(spread <= 1, "{spread} ahead after {claimed} claims");
        if pass.claimed + pass.settled == 0 {
            scene.wake.wait(Duration::from_secs(60));
        }
    }
    assert_eq!(i64::try_from(claimed).ok(), Some(3 * MANY));
    scene.store.stop();
}

/// Those that are slow share one worker.
#[derive(Default)]
struct OneForSlow {
    busy: usize,
    promised: usize,
}

fn is_slow(target: &Target) -> bool {
    target.name.starts_with("http://slow")
}

impl Admission for OneForSlow {
    fn new_round(&mut self) {
        self.promised = 0;
    }

    fn admit(&mut self, target: &Target, _: usize) -> Result<(), Refusal> {
        if is_slow(target) {
            if self.busy + self.promised > 0 {
                return Err(Refusal::NoShare);
            }
            self.promised += 1;
        }
        Ok(())
    }

    fn began(&mut self, target: &Target) {
        self.busy += usize::from(is_slow(target));
    }

    fn ended(&mut self, target: &Target, _: &Outcome, _: Duration) -> Change {
        self.busy -= usize::from(is_slow(target));
        Change::default()
    }
}

#[test]
fn those_that_share_a_worker_take_turns_while_others_are_served() {
    const SLOW: i64 = 40;
    let receiver = Arc::new(Receiver::default());
    receiver.is_mended.store(true, Ordering::SeqCst);
    let transport = Arc::<Receiver>::clone(&receiver);
    let mut scene = scene_of(receiver, transport, Box::<OneForSlow>::default());
    // It comes first, and before each of the others' turns it has something again.
    scene.accept_for("http://quick");
    for _ in 0..8 {
        for slow in 0..SLOW {
            scene.accept_for(&format!("http://slow{slow}"));
        }
    }
    let count = |sql: &str| -> i64 {
        let read = |db: &rusqlite::Connection| Ok(db.query_row(sql, [], |row| row.get(0))?);
        scene.store.read_blocking(read).expect("a count")
    };
    let each = "SELECT sum(attempts) c FROM deliveries JOIN destinations t ON t.id = destination_id
         WHERE t.name LIKE 'http://slow%' GROUP BY destination_id";
    while count(&format!("SELECT sum(c) FROM ({each})")) < 2 * SLOW {
        scene.accept_for("http://quick");
        let pass = scene.dispatcher.run_once();
        if pass.claimed + pass.settled == 0 {
            scene.wake.wait(Duration::from_secs(60));
        }
    }
    let fewest = count(&format!("SELECT min(c) FROM ({each})"));
    assert!(fewest >= 1, "somebody never got a turn");
    scene.store.stop();
}
