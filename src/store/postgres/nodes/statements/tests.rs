use std::thread;

use super::*;
use crate::clock::Stopwatch;
use crate::store::postgres::tests::support::database;

#[test]
fn an_exchange_locks_buckets_in_the_order_of_a_poke() {
    const WAITS: &str = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let Some((database, mut sql)) = database() else {
        return;
    };
    sql.batch(
        "INSERT INTO relay.nodes VALUES (3, 11, 'a', '', clock_timestamp(), interval '1 h');
         UPDATE relay.buckets SET epoch = 11 WHERE bucket = 7",
    )
    .expect("a node");
    let own = Own {
        name: "a".to_owned(),
        lease_millis: 1_000,
        identity: Some(Identity { slot: 3, epoch: 11 }),
        is_leaving: false,
        now: Timestamp::from_millis(1_000),
    };
    let mut poke = database.connection();
    poke.batch("BEGIN; SELECT 1 FROM relay.buckets WHERE bucket = 3 FOR NO KEY UPDATE")
        .expect("the first is locked");
    let exchange = thread::spawn(move || {
        let (give, grab) = ([7].into_iter().collect(), [3].into_iter().collect());
        make(&mut sql, &Step::Exchange { give, grab }, &own)
    });
    let (mut watch, since) = (database.connection(), Stopwatch::start());
    while watch.one(WAITS, &[]).expect("a row").get::<_, i64>(0) == 0 {
        assert!(since.elapsed().as_secs() < 20, "the exchange doesn't wait");
    }
    poke.batch("SELECT 1 FROM relay.buckets WHERE bucket = 7 FOR NO KEY UPDATE NOWAIT; COMMIT")
        .expect("the second is free");
    let made = exchange.join().expect("no panic").expect("exchanged");
    let Answer::Exchanged { gave, grabbed } = made.answer else {
        panic!("not an exchange");
    };
    assert_eq!((gave.to_array(), grabbed.to_array()), (vec![7], vec![3]));
}
