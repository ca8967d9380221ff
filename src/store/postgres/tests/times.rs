use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, FakeClock, Timestamp};
use crate::store::conformance::scene::event;
use crate::store::postgres::tests::nodes::{open, open_by, until};
use crate::store::postgres::tests::support::empty_database;

#[test]
fn the_owner_looks_from_the_beginning_for_an_event_that_is_committed_late() {
    let Some(database) = empty_database() else {
        return;
    };
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(1_700_000_000_000)));
    let (own, name) = (Arc::clone(&clock) as Arc<dyn Clock>, "only");
    let node = open_by(own, &database, name);
    let poked = || database.psql("SELECT sum(poked) FROM relay.buckets");
    node.accept_blocking(event("d")).expect("accepted");
    assert_eq!(poked(), "0\n");
    let mut sql = database.connection();
    sql.batch("BEGIN; LOCK TABLE relay.intents IN ACCESS EXCLUSIVE MODE")
        .expect("a lock");
    std::thread::scope(|scope| {
        let accepting = scope.spawn(|| node.accept_blocking(event("d")));
        until(&database, "the writer waits for the lock", || {
            let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                 AND datname = current_database()";
            database.psql(waiting) != "0\n"
        });
        clock.advance(Duration::from_secs(3));
        sql.batch("COMMIT").expect("no lock");
        accepting.join().expect("no panic").expect("accepted");
    });
    assert_eq!(poked(), "1\n");
}

#[test]
fn a_node_that_starts_beside_another_leaves_times_as_they_are() {
    let Some(database) = empty_database() else {
        return;
    };
    let first = open(&database, "first");
    let due = || database.psql("SELECT next_attempt_at > 10^14 FROM relay.waiting");
    first.accept_blocking(event("d")).expect("accepted");
    // As another node's clock, which is ahead, writes it.
    database.psql("UPDATE relay.waiting SET next_attempt_at = 10^14::int8 + 1");
    let second = open(&database, "second");
    assert_eq!(due(), "t\n");
    second.stop();
    first.stop();
    let alone = open(&database, "alone");
    assert_eq!(due(), "f\n");
    alone.stop();
}
