//! The race of a claim against an act on a real server: the claim is written before the act looks,
//! and committed after it began.

use std::thread;

use super::{Made, make};
use crate::clock::{Stopwatch, Timestamp};
use crate::model::DeliveryState;
use crate::store::bulk::{Act, Does};
use crate::store::postgres::connection::Connection;
use crate::store::postgres::tests::support::{Database, database};
use crate::store::types::{BulkAction, DestinationId, IntentRow};

const NOW: Timestamp = Timestamp::from_millis(1_000);

/// A delivery of the event 1 to the destination 1, due.
const SEED: &str = "
    INSERT INTO relay.destinations (name, bucket) VALUES ('a', 1), ('b', 2);
    INSERT INTO relay.intents (id, random, surface, created_at, label, headers, body)
    VALUES (1, 1, 1, 1, 's', '', '{}');
    INSERT INTO relay.waiting (destination_id, next_attempt_at, intent_id, updated_at)
    VALUES (1, 1, 1, 1)";

/// The first statements of a claim, without its end.
const CLAIM: &str = "
    BEGIN;
    SELECT id FROM relay.destinations WHERE id = 1 ORDER BY id FOR KEY SHARE;
    INSERT INTO relay.claims (epoch, turn, made_at, intents, destinations, attempts, histories,
                              begun)
    VALUES (1, 1, 1, '{1}', '{1}', '{1}', '{0}', 1)";

fn act(does: Does) -> Vec<Act> {
    let intent = IntentRow::of_test(1);
    vec![Act {
        intent,
        does,
        rows: 1,
    }]
}

fn number(sql: &mut Connection, query: &str) -> i64 {
    let row = sql.one(query, &[]).expect("a row");
    row.try_get(0).expect("a number")
}

/// Makes acts while a claim is committed. The acts have begun, and wait or have ended, before.
fn make_beside_a_claim(
    database: &Database,
    mut sql: Connection,
    acts: Vec<Act>,
) -> (Made, Connection) {
    const WAITS: &str = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    sql.batch(SEED).expect("seeded");
    let (mut claim, mut watch) = (database.connection(), database.connection());
    claim.batch(CLAIM).expect("claimed");
    let acting = thread::spawn(move || {
        let made = make(&mut sql, &acts, None, (NOW, false)).expect("made");
        (made, sql)
    });
    let since = Stopwatch::start();
    while !acting.is_finished() && number(&mut watch, WAITS) == 0 {
        assert!(
            since.elapsed().as_secs() < 20,
            "the act neither waits nor ends"
        );
    }
    claim.batch("COMMIT").expect("committed");
    acting.join().expect("no panic")
}

#[test]
fn an_act_leaves_a_delivery_that_is_claimed_while_it_begins() {
    let destination = DestinationId::of_test(1);
    let change = |action| Does::Change {
        action,
        destination,
        state: DeliveryState::Queued,
        updated_at: Timestamp::from_millis(1),
        key: None,
    };
    let reroute = Does::Move {
        from: destination,
        to: "b".to_owned(),
        key: None,
    };
    for does in [change(BulkAction::Discard), reroute] {
        let Some((database, sql)) = database() else {
            return;
        };
        let (made, mut sql) = make_beside_a_claim(&database, sql, act(does.clone()));
        assert_eq!(made.tally.done, 0, "{does:?}");
        let left = number(
            &mut sql,
            "SELECT count(*) FROM relay.waiting WHERE destination_id = 1 AND intent_id = 1",
        );
        assert_eq!(left, 1, "{does:?}");
    }
}

#[test]
fn an_erasure_waits_for_an_attempt_that_is_claimed_while_it_begins() {
    let Some((database, sql)) = database() else {
        return;
    };
    let erase = act(Does::Erase { waits: true });
    let (made, mut sql) = make_beside_a_claim(&database, sql, erase);
    assert_eq!((made.tally.done, made.tally.in_flight), (0, 1));
    assert_eq!(made.stopped_at, Some(IntentRow::of_test(1)));
    let kept = number(
        &mut sql,
        "SELECT octet_length(body)::int8 FROM relay.intents",
    );
    assert_eq!(kept, 2);
}
