//! The guards of the dispatcher's transactions, on a real server.

use std::time::Duration;

use super::claim::ClaimTurn;
use super::end::{EndClaims, Ended};
use super::look::{Found, Looks, choose, look, read_up_to};
use crate::clock::Timestamp;
use crate::model::{BreakerChange, OnDead};
use crate::store::postgres::connection::Connection;
use crate::store::postgres::in_flight::{Held, InFlight};
use crate::store::postgres::recover;
use crate::store::postgres::tests::support::{Database, database};
use crate::store::types::{
    AttemptRecord, Claim, ClaimId, ClaimRequest, DestinationChange, DestinationId, Release,
    Settlement,
};

const LIFE: (i16, i64) = (3, 11);
const D: DestinationId = DestinationId(1);
const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A node, and one destination of it.
struct Bed {
    database: Database,
    sql: Connection,
    in_flight: InFlight,
}

/// None if there is no server.
fn bed() -> Option<Bed> {
    let (database, mut sql) = database()?;
    sql.batch(
        "INSERT INTO relay.nodes VALUES (3, 11, 'a', '', clock_timestamp(), interval '1 h');
         UPDATE relay.buckets SET epoch = 11 WHERE bucket = 7;
         UPDATE relay.buckets SET epoch = 12 WHERE bucket = 8;
         INSERT INTO relay.destinations (id, name, bucket) OVERRIDING SYSTEM VALUE
         VALUES (1, 'd', 7), (2, 'of another node', 8), (3, 'e', 7)",
    )
    .expect("a node");
    Some(Bed {
        database,
        sql,
        in_flight: InFlight::default(),
    })
}

impl Bed {
    /// Deliveries that are due, of the line of a key if there is one.
    fn wait(&mut self, destination: i32, intents: &[i64], key: Option<i64>) {
        let now = NOW.as_millis();
        for (nth, intent) in intents.iter().enumerate() {
            let is_blocked = key.is_some() && nth > 0;
            let due = if is_blocked { i64::MAX } else { now };
            let place = key.map(|_| *intent);
            self.sql
                .execute(
                    "INSERT INTO relay.waiting (destination_id, next_attempt_at, intent_id,
                                                updated_at, order_key, place)
                     VALUES ($1, $2, $3, $4, $5, $6)",
                    &[&destination, &due, intent, &now, &key, &place],
                )
                .expect("a delivery");
        }
    }

    fn count(&mut self, from: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM relay.{from}");
        self.sql.one(&sql, &[]).expect("a count").get(0)
    }

    fn found(&mut self, destination: DestinationId, begin: usize, prefetch: usize) -> Vec<Found> {
        let request = ClaimRequest {
            destination,
            begin,
            prefetch,
        };
        let starts = self.in_flight.starts(&[destination], NOW);
        let looks = Looks::of(&[request], &starts);
        let found = look(&mut self.sql, &looks, NOW).expect("a look");
        choose(&[request], &starts, &found, ClaimId(5))
    }

    /// Claims what was found; none if the node's row is gone.
    fn send(&mut self, chosen: &[Found]) -> Option<Vec<Held>> {
        let claim = ClaimTurn {
            life: LIFE,
            turn: self.in_flight.next_turn(),
            now: NOW,
            over: &[],
            chosen,
        };
        let claimed = claim.send(&mut self.sql, None).expect("a claim")?;
        // Sent again, as after a lost connection, it is the same turn.
        assert_eq!(
            claim.send(&mut self.sql, None).expect("a claim"),
            Some(claimed.clone())
        );
        assert!(self.in_flight.claimed(LIFE.1, claim.turn, &claimed));
        Some(claimed)
    }

    fn claim(&mut self, begin: usize, prefetch: usize) -> Vec<Held> {
        let found = self.found(D, begin, prefetch);
        self.send(&found).expect("the node's row is there")
    }

    /// Settles and releases, as often as it is asked to.
    fn end(&mut self, settlements: &[Settlement], releases: &[Release], times: usize) -> Ended {
        let ending = self.in_flight.ending(settlements, releases);
        let end = EndClaims::of(&ending, &[], NOW).expect("columns");
        let mut ended = end.send(&mut self.sql, LIFE, NOW).expect("an end");
        for _ in 1..times {
            ended = end.send(&mut self.sql, LIFE, NOW).expect("an end");
        }
        self.in_flight.ended(&ending, NOW);
        ended
    }

    /// Another node takes this one's deliveries over.
    fn take_over(&mut self) {
        self.sql.batch("DELETE FROM relay.nodes").expect("gone");
    }
}

fn record(held: &Held, error: Option<&str>) -> AttemptRecord {
    AttemptRecord {
        attempt: held.claimed.attempt,
        history: held.claimed.history,
        started_at: NOW,
        took: Duration::from_millis(3),
        status_code: Some(500),
        failure: error.map(|_| "status"),
        is_transient: true,
        error: error.map(str::to_owned),
        response: Some(b"an\0swer".to_vec()),
        address: Some("127.0.0.1".to_owned()),
        resolve: None,
        connect: None,
        tls: None,
        first_byte: None,
        next: "next\0".to_owned(),
    }
}

fn claim_of(held: &Held) -> Claim {
    held.claimed.claim()
}

fn delivered(held: &Held) -> Settlement {
    let change = DestinationChange::default();
    Settlement::delivered(claim_of(held), record(held, None), change)
}

fn retry(held: &Held) -> Settlement {
    let change = DestinationChange::default();
    Settlement::retry(claim_of(held), record(held, Some("e\0")), NOW, change)
}

fn dead(held: &Held, on_dead: OnDead) -> Settlement {
    let change = DestinationChange::default();
    Settlement::dead_letter(claim_of(held), record(held, Some("e")), change).ordered(Some(on_dead))
}

#[test]
fn a_settlement_that_is_sent_twice_counts_once() {
    let Some(mut bed) = bed() else { return };
    bed.wait(1, &[1, 2, 3], None);
    let held = bed.claim(3, 0);
    let settlements = [
        delivered(&held[0]),
        retry(&held[1]),
        dead(&held[2], OnDead::Skip),
    ];
    assert!(bed.end(&settlements, &[], 3).is_own);
    assert_eq!(bed.count("ended WHERE history = 1 AND attempts = 1"), 2);
    assert_eq!(
        bed.count("waiting WHERE history = 1 AND attempts = 1 AND state = 2"),
        1
    );
    assert_eq!((bed.count("attempts"), bed.count("claims")), (3, 0));
}

/// Settles what is held, and claims what is due to a destination, in one transaction that is sent
/// twice.
fn settle_and_claim(
    bed: &mut Bed,
    settlements: &[Settlement],
    destination: DestinationId,
) -> Option<Vec<Held>> {
    let chosen = bed.found(destination, 2, 0);
    let ending = bed.in_flight.ending(settlements, &[]);
    let end = EndClaims::of(&ending, &[], NOW).expect("columns");
    assert!(end.is_settling_alone());
    let claim = ClaimTurn {
        life: LIFE,
        turn: bed.in_flight.next_turn(),
        now: NOW,
        over: &[],
        chosen: &chosen,
    };
    let first = claim.send(&mut bed.sql, Some(&end)).expect("a turn");
    let again = claim.send(&mut bed.sql, Some(&end)).expect("a turn");
    assert_eq!(first, again);
    first
}

#[test]
fn a_turn_that_settles_and_claims_and_is_sent_twice_counts_once() {
    let Some(mut bed) = bed() else { return };
    bed.wait(1, &[1, 2, 3, 4], None);
    let held = bed.claim(2, 0);
    let next = settle_and_claim(&mut bed, &[delivered(&held[0]), retry(&held[1])], D);
    let next = next.expect("the node's row is there");
    let intents = next.iter().map(|held| held.claimed.intent.0);
    assert_eq!(intents.collect::<Vec<_>>(), [3, 4]);
    assert_eq!((bed.count("ended"), bed.count("waiting")), (1, 3));
    // The first turn is over.
    assert_eq!((bed.count("attempts"), bed.count("claims")), (2, 1));
}

#[test]
fn a_turn_of_a_node_whose_row_is_gone_settles_and_claims_nothing() {
    let Some(mut bed) = bed() else { return };
    bed.wait(1, &[1, 2], None);
    let held = bed.claim(1, 0);
    bed.take_over();
    assert_eq!(settle_and_claim(&mut bed, &[delivered(&held[0])], D), None);
    assert_eq!((bed.count("ended"), bed.count("waiting")), (0, 2));
    assert_eq!((bed.count("attempts"), bed.count("claims")), (0, 1));
}

#[test]
fn a_settlement_whose_delivery_has_another_history_changes_nothing() {
    let Some(mut bed) = bed() else { return };
    bed.wait(1, &[1, 2], None);
    let held = bed.claim(2, 0);
    // A replay has the attempts of before, and a longer history.
    bed.sql
        .batch("UPDATE relay.waiting SET history = history + 2")
        .expect("a replay");
    bed.end(&[delivered(&held[0]), retry(&held[1])], &[], 1);
    assert_eq!(
        (bed.count("waiting WHERE history = 2"), bed.count("ended")),
        (2, 0)
    );
    assert_eq!(bed.count("attempts"), 0);
}

#[test]
fn a_settlement_whose_delivery_has_other_attempts_changes_nothing() {
    let Some(mut bed) = bed() else { return };
    bed.wait(1, &[1, 2], None);
    let held = bed.claim(2, 0);
    bed.sql
        .batch("UPDATE relay.waiting SET attempts = 4")
        .expect("other attempts");
    bed.end(&[delivered(&held[0]), retry(&held[1])], &[], 1);
    assert_eq!(
        (bed.count("waiting WHERE attempts = 4"), bed.count("ended")),
        (2, 0)
    );
}

#[test]
fn a_release_is_for_the_claim_that_it_names() {
    let Some(mut bed) = bed() else { return };
    bed.wait(1, &[1, 2], None);
    let held = bed.claim(2, 0);
    let first = Release::untouched(&held[0].claimed).delayed();
    bed.end(&[], &[first], 2);
    let due = format!("waiting WHERE next_attempt_at > {}", NOW.as_millis());
    assert_eq!((bed.count(&due), bed.count("claims")), (1, 1));
    assert_eq!(
        bed.count("claimed WHERE intent_id = 1"),
        0,
        "it is not in flight"
    );
    assert_eq!(bed.count("claimed WHERE intent_id = 2"), 1);
    // One whose turn has another attempt by now, and one of a settled delivery.
    bed.sql
        .batch("UPDATE relay.claims SET attempts = '{0,0}'")
        .expect("released before");
    bed.end(&[], &[Release::untouched(&held[1].claimed).delayed()], 1);
    assert_eq!(bed.count(&due), 1);
}

#[test]
fn a_node_whose_row_is_gone_changes_nothing() {
    let Some(mut bed) = bed() else { return };
    bed.wait(1, &[1, 2, 3, 4, 5], None);
    bed.wait(1, &[6, 7], Some(1));
    let held = bed.claim(6, 0);
    assert_eq!(held.len(), 6);
    let found = bed.found(D, 1, 0);
    bed.take_over();
    assert!(
        bed.send(&found).is_none_or(|held| held.is_empty()),
        "a claim"
    );
    let mut changing = delivered(&held[0]);
    changing.change = DestinationChange {
        hold_until: Some(NOW),
        pause: Some("gone"),
        breaker: Some(BreakerChange::Open(Duration::from_secs(1))),
        is_proven: Some(true),
    };
    let settlements = [
        changing,
        retry(&held[1]),
        dead(&held[2], OnDead::Block),
        delivered(&held[5]),
    ];
    let release = Release::untouched(&held[3].claimed).delayed();
    let alone = bed.end(&[delivered(&held[4])], &[], 1);
    let together = bed.end(&settlements, &[release], 1);
    assert!(!alone.is_own && !together.is_own && together.advanced.is_empty());
    assert_eq!(
        (
            bed.count("waiting WHERE history = 0 AND attempts = 0"),
            bed.count("ended")
        ),
        (7, 0)
    );
    assert_eq!(
        (
            bed.count("attempts"),
            bed.count("claims WHERE 0 <> ALL (attempts)")
        ),
        (0, 1)
    );
    let changed = "destinations WHERE held_until IS NOT NULL OR paused_at IS NOT NULL
                   OR probe_at IS NOT NULL OR proven_at IS NOT NULL";
    assert_eq!(bed.count(changed), 0);
}

#[test]
fn a_claim_passes_over_what_is_in_flight_paused_held_or_another_nodes() {
    let Some(mut bed) = bed() else { return };
    bed.wait(1, &[1, 2, 3], None);
    bed.wait(2, &[1, 2, 3], None);
    assert_eq!(bed.claim(2, 0).len(), 2);
    let found = bed.found(D, 5, 5);
    assert_eq!(found.len(), 1, "the others are in flight");
    for why in [
        "paused_at = 1, pause_reason = ''",
        &format!("held_until = {}", i64::MAX),
    ] {
        let sql = format!("UPDATE relay.destinations SET {why}");
        bed.sql.batch(&sql).expect("kept back");
        assert!(bed.send(&found).expect("own").is_empty(), "{why}");
        let none = "UPDATE relay.destinations
                    SET paused_at = NULL, pause_reason = NULL, held_until = NULL";
        bed.sql.batch(none).expect("free");
    }
    let others = bed.found(DestinationId(2), 5, 0);
    assert_eq!(others.len(), 3);
    assert!(
        bed.send(&others).expect("own").is_empty(),
        "another node's bucket"
    );
    assert_eq!(bed.send(&found).expect("own").len(), 1);
}

#[test]
fn a_claim_takes_nothing_that_a_command_has_changed_since_it_was_found() {
    let Some(mut bed) = bed() else { return };
    bed.wait(1, &[1, 2, 3, 4], None);
    let found = bed.found(D, 4, 0);
    bed.sql
        .batch(
            "DELETE FROM relay.waiting WHERE intent_id = 1;
             UPDATE relay.waiting SET next_attempt_at = 5 WHERE intent_id = 2;
             UPDATE relay.waiting SET history = 1 WHERE intent_id = 3",
        )
        .expect("commands");
    let held = bed.send(&found).expect("own");
    let intents: Vec<_> = held.iter().map(|held| held.claimed.intent.0).collect();
    assert_eq!(intents, [4]);
}

#[test]
fn a_claim_waits_for_a_command_that_has_locked_the_destination() {
    let Some(mut bed) = bed() else { return };
    bed.wait(1, &[1], None);
    let found = bed.found(D, 1, 0);
    let url = bed.database.url().to_owned();
    std::thread::scope(|scope| {
        let (locked, is_locked) = std::sync::mpsc::channel();
        scope.spawn(move || {
            let limit = Duration::from_secs(10);
            let mut command = crate::store::postgres::tests::support::connection(&url, limit);
            command
                .batch("BEGIN; SELECT 1 FROM relay.destinations WHERE id = 1 FOR UPDATE")
                .expect("a lock");
            locked.send(()).expect("it waits");
            // Until the claim stands behind the lock.
            let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
            while command.one(waits, &[]).expect("a count").get::<_, i64>(0) == 0 {}
            command
                .batch("DELETE FROM relay.waiting WHERE intent_id = 1; COMMIT")
                .expect("discarded");
        });
        is_locked.recv().expect("a lock");
        assert!(
            bed.send(&found).expect("own").is_empty(),
            "it was discarded"
        );
    });
    assert_eq!(bed.count("claims"), 0);
}

#[test]
fn a_turn_waits_for_a_command_that_has_locked_a_destination_which_it_only_settles() {
    let Some(mut bed) = bed() else { return };
    bed.wait(1, &[1], None);
    bed.wait(3, &[2], None);
    let held = bed.claim(1, 0);
    let url = bed.database.url().to_owned();
    std::thread::scope(|scope| {
        let (locked, is_locked) = std::sync::mpsc::channel();
        scope.spawn(move || {
            let limit = Duration::from_secs(10);
            let mut command = crate::store::postgres::tests::support::connection(&url, limit);
            command
                .batch("BEGIN; SELECT 1 FROM relay.destinations WHERE id = 1 FOR UPDATE")
                .expect("a lock");
            locked.send(()).expect("it waits");
            // Until the turn stands behind the lock, or has passed it by.
            let looks = "SELECT (SELECT count(*) FROM pg_locks WHERE NOT granted)
                 + (SELECT count(*) FROM relay.ended)";
            while command.one(looks, &[]).expect("a count").get::<_, i64>(0) == 0 {}
            command
                .batch("DELETE FROM relay.waiting WHERE intent_id = 1; COMMIT")
                .expect("discarded");
        });
        is_locked.recv().expect("a lock");
        let claimed = settle_and_claim(&mut bed, &[delivered(&held[0])], DestinationId(3));
        assert_eq!(claimed.expect("own").len(), 1);
    });
    assert_eq!(bed.count("ended"), 0, "it was discarded");
}

#[test]
fn a_line_advances_once_its_first_has_ended() {
    let Some(mut bed) = bed() else { return };
    bed.wait(1, &[1, 2, 3], Some(9));
    let due = "waiting WHERE next_attempt_at < 9223372036854775807";
    for (intent, on_dead, is_last) in [
        (1, None, false),
        (2, Some(OnDead::Skip), false),
        (3, Some(OnDead::Block), true),
    ] {
        let held = bed.claim(5, 0);
        assert_eq!((held.len(), held[0].claimed.intent.0), (1, intent));
        let settlement = on_dead.map_or(delivered(&held[0]), |on_dead| dead(&held[0], on_dead));
        let ended = bed.end(&[settlement], &[], if is_last { 1 } else { 2 });
        assert_eq!(bed.count(due), i64::from(!is_last), "{intent}");
        // Sent again, it advances nothing more.
        assert!(ended.advanced.is_empty());
    }
    assert_eq!(
        bed.count("ended WHERE place IS NOT NULL AND intent_id = 3"),
        1
    );
}

#[test]
fn an_epoch_without_a_row_loses_its_claims_and_only_live_ones_are_interrupted() {
    let Some(mut bed) = bed() else { return };
    bed.wait(1, &[1, 2, 3, 4], None);
    let held = bed.claim(3, 1);
    bed.end(
        &[retry(&held[0])],
        &[Release::untouched(&held[1].claimed)],
        1,
    );
    let taken = recover::take_back(&mut bed.sql, LIFE.1, NOW).expect("an answer");
    assert_eq!((taken.handed_back, bed.count("claims")), (0, 1), "it lives");
    bed.take_over();
    let taken = recover::take_back_all(&mut bed.sql, NOW).expect("taken back");
    assert_eq!((taken.handed_back, taken.untouched), (1, 1));
    assert_eq!(
        (bed.count("claims"), bed.count("attempts WHERE outcome = 3")),
        (0, 1)
    );
    assert_eq!(
        bed.count("waiting WHERE interruptions = 1 AND intent_id = 3"),
        1
    );
    let untouched = "waiting WHERE attempts = 0 AND history = 0 AND intent_id IN (2, 4)";
    assert_eq!(bed.count(untouched), 2);
}

#[test]
fn a_history_with_more_entries_than_its_number_stops_no_recovery() {
    let Some(mut bed) = bed() else { return };
    bed.wait(1, &[1], None);
    bed.claim(1, 0);
    bed.sql
        .batch("INSERT INTO relay.attempts VALUES (1, 1, 1, 7, 0, 0, 1)")
        .expect("damaged");
    bed.take_over();
    let taken = recover::take_back_all(&mut bed.sql, NOW).expect("taken back");
    assert_eq!((taken.handed_back, bed.count("claims")), (1, 0));
    assert_eq!(bed.count("attempts"), 1);
}

#[test]
fn cursors_move_over_what_is_in_flight_and_no_further() {
    let Some(mut bed) = bed() else { return };
    bed.wait(1, &[1, 2, 3], None);
    let request = ClaimRequest {
        destination: D,
        begin: 3,
        prefetch: 0,
    };
    let starts = bed.in_flight.starts(&[D], NOW);
    let looks = Looks::of(&[request], &starts);
    let found = look(&mut bed.sql, &looks, NOW).expect("a look");
    let chosen = choose(&[request], &starts, &found, ClaimId(5));
    let held = bed.send(&[chosen[0], chosen[2]]).expect("own");
    let read = read_up_to(&[request], &starts, &found, &held);
    assert_eq!(read.get(&D), Some(&chosen[0].position()));
}
