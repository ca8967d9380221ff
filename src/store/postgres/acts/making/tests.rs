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

/// A delivery of the event 1 to the destination 1, delivered.
const SEED_DELIVERED: &str = "
    INSERT INTO relay.destinations (name, bucket) VALUES ('a', 1);
    INSERT INTO relay.intents (id, random, surface, created_at, label, headers, body)
    VALUES (1, 1, 1, 1, 's', '', '{}');
    INSERT INTO relay.ended (intent_id, destination_id, state, attempts, history, updated_at)
    VALUES (1, 1, 3, 1, 1, 1)";

/// The statements that shed the payload of the event 1, without their end.
const SHED: &str = "
    BEGIN;
    SELECT 1 FROM relay.intents WHERE id = 1 ORDER BY id FOR NO KEY UPDATE;
    SELECT 1 FROM relay.ended WHERE intent_id = 1 FOR UPDATE;
    UPDATE relay.intents SET body = '', headers = '', gone = 2, gone_at = 1 WHERE id = 1";

fn make_beside_a_claim(database: &Database, sql: Connection, acts: Vec<Act>) -> (Made, Connection) {
    make_beside(database, sql, (SEED, CLAIM), acts)
}

/// Makes acts while other statements are committed. The acts have begun, and wait or have ended,
/// before.
fn make_beside(
    database: &Database,
    mut sql: Connection,
    (seed, other): (&str, &str),
    acts: Vec<Act>,
) -> (Made, Connection) {
    const WAITS: &str = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    sql.batch(seed).expect("seeded");
    let (mut beside, mut watch) = (database.connection(), database.connection());
    beside.batch(other).expect("begun");
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
    beside.batch("COMMIT").expect("committed");
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

#[test]
fn a_replay_leaves_an_event_whose_payload_is_shed_while_it_begins() {
    let Some((database, sql)) = database() else {
        return;
    };
    let replay = act(Does::Change {
        action: BulkAction::Replay,
        destination: DestinationId::of_test(1),
        state: DeliveryState::Delivered,
        updated_at: Timestamp::from_millis(1),
        key: None,
    });
    let (made, mut sql) = make_beside(&database, sql, (SEED_DELIVERED, SHED), replay);
    assert_eq!((made.tally.done, made.tally.payload_gone), (0, 1));
    let left = number(&mut sql, "SELECT count(*) FROM relay.ended WHERE state = 3");
    assert_eq!(left, 1);
}
