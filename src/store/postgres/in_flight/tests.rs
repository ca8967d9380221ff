use super::*;
use crate::store::types::{AttemptRecord, Claim, DestinationChange};

const D: DestinationId = DestinationId(1);
const EPOCH: i64 = 4;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn held(turn: i64, nth: i32, intent: i64, due: i64) -> Held {
    Held {
        turn,
        nth,
        claimed: Claimed {
            intent: IntentRow(intent),
            destination: D,
            claim: ClaimId(turn),
            due: at(due),
            attempt: 1,
            history: 0,
        },
        line: None,
        is_adhoc: false,
    }
}

/// A turn of deliveries, which are due at these times.
fn claimed(in_flight: &InFlight, turn: i64, due: &[(i64, i64)]) -> Vec<Held> {
    let held: Vec<Held> = (1..)
        .zip(due)
        .map(|(nth, (intent, due))| held(turn, nth, *intent, *due))
        .collect();
    assert!(in_flight.claimed(EPOCH, turn, &held));
    held
}

fn settlement(held: &Held, next: Option<i64>) -> Settlement {
    let record = AttemptRecord {
        attempt: 1,
        history: 0,
        started_at: at(0),
        took: Duration::ZERO,
        status_code: None,
        failure: None,
        is_transient: true,
        error: Some("failed".to_owned()),
        response: None,
        address: None,
        resolve: None,
        connect: None,
        tls: None,
        first_byte: None,
        next: String::new(),
    };
    let claim = Claim {
        intent: held.claimed.intent,
        destination: D,
        id: held.claimed.claim,
    };
    match next {
        Some(next) => Settlement::retry(claim, record, at(next), DestinationChange::default()),
        None => Settlement::delivered(claim, record, DestinationChange::default()),
    }
}

fn start(in_flight: &InFlight, now: i64) -> Start {
    in_flight.starts(&[D], at(now)).remove(0)
}

#[test]
fn a_turn_is_over_once_all_of_it_is_settled_or_released() {
    let in_flight = InFlight::default();
    let held = claimed(&in_flight, 1, &[(1, 10), (2, 20)]);
    let ending = in_flight.ending(&[settlement(&held[0], None)], &[]);
    assert!(ending.over.is_empty() && ending.settled.len() == 1);
    in_flight.ended(&ending, at(100));
    assert_eq!(in_flight.all().len(), 1);
    let release = Release::untouched(&held[1].claimed);
    let ending = in_flight.ending(&[], &[release]);
    assert_eq!(ending.over, [1]);
    in_flight.ended(&ending, at(100));
    assert!(in_flight.all().is_empty());
}

#[test]
fn a_settlement_counts_once_and_only_for_its_own_claim() {
    let in_flight = InFlight::default();
    let held = claimed(&in_flight, 1, &[(1, 10)]);
    let settled = settlement(&held[0], None);
    let twice = [settled.clone(), settled.clone()];
    let ending = in_flight.ending(&twice, &[]);
    assert_eq!((ending.settled.len(), &ending.over[..]), (1, &[1][..]));
    // Nothing is forgotten before it is durable.
    assert_eq!(in_flight.ending(&twice, &[]).settled.len(), 1);
    in_flight.ended(&ending, at(100));
    assert!(in_flight.ending(&twice, &[]).is_empty());
    claimed(&in_flight, 2, &[(1, 10)]);
    assert!(in_flight.ending(&twice, &[]).is_empty(), "another claim");
}

#[test]
fn a_look_begins_behind_what_was_read_and_passes_over_what_is_in_flight() {
    let in_flight = InFlight::default();
    let now = 100_000;
    let held = claimed(&in_flight, 1, &[(1, 10), (2, 20), (3, now)]);
    in_flight.read_up_to(D, (at(20), IntentRow(2)), at(now));
    let look = start(&in_flight, now);
    assert_eq!(look.after, (at(20), IntentRow(2)));
    assert_eq!(look.in_flight, [(at(now), IntentRow(3))]);
    assert!(look.skips((at(now), IntentRow(3))));
    // A delivery that was due lately may have neighbours that are committed later.
    in_flight.read_up_to(D, (at(now), IntentRow(3)), at(now));
    let late = i64::try_from(LATE.as_millis()).expect("a number");
    assert_eq!(start(&in_flight, now).after.0, at(now - late));
    // A delivery that is released stands where it was.
    let ending = in_flight.ending(&[], &[Release::untouched(&held[0].claimed)]);
    in_flight.ended(&ending, at(now));
    let look = start(&in_flight, now);
    assert!(look.after < (at(10), IntentRow(1)));
    assert!(!look.skips((at(10), IntentRow(1))) && look.skips((at(20), IntentRow(2))));
}

#[test]
fn a_retry_that_is_due_before_the_cursor_moves_it_back() {
    let in_flight = InFlight::default();
    let held = claimed(&in_flight, 1, &[(1, 10), (2, 20)]);
    in_flight.read_up_to(D, (at(20), IntentRow(2)), at(100_000));
    let ending = in_flight.ending(&[settlement(&held[1], Some(15))], &[]);
    in_flight.ended(&ending, at(100_000));
    assert!(start(&in_flight, 100_000).after < (at(15), IntentRow(2)));
}

#[test]
fn a_clock_that_is_set_back_and_a_full_scan_begin_at_the_beginning() {
    let in_flight = InFlight::default();
    for is_scan in [false, true] {
        let held = claimed(&in_flight, 1, &[(1, 10)]);
        in_flight.read_up_to(D, (at(10), IntentRow(1)), at(100_000));
        assert!(start(&in_flight, 100_000).after > BEGINNING);
        if is_scan {
            in_flight.look_from_start();
        }
        let now = if is_scan { 100_000 } else { 50_000 };
        assert_eq!(start(&in_flight, now).after, BEGINNING);
        let ending = in_flight.ending(&[], &[Release::untouched(&held[0].claimed)]);
        in_flight.ended(&ending, at(now));
    }
}

#[test]
fn a_void_claim_is_neither_settled_nor_passed_over_and_no_turn_is_used_twice() {
    let in_flight = InFlight::default();
    let turn = in_flight.next_turn();
    let held = claimed(&in_flight, turn, &[(1, 10)]);
    in_flight.doubt(99);
    let claim = Claim {
        intent: held[0].claimed.intent,
        destination: D,
        id: held[0].claimed.claim,
    };
    assert_eq!(in_flight.holder(claim), Some(EPOCH));
    in_flight.void(EPOCH);
    assert_eq!(in_flight.holder(claim), None);
    assert!(
        in_flight
            .ending(&[settlement(&held[0], None)], &[])
            .is_empty()
    );
    assert!(start(&in_flight, 1).in_flight.is_empty() && in_flight.all().is_empty());
    assert!(in_flight.next_turn() > turn);
    // A claim that was durable before the life ended, and is told of after.
    assert!(!in_flight.claimed(EPOCH, turn + 1, &held[..1]));
    assert!(in_flight.all().is_empty());
    assert!(in_flight.claimed(EPOCH + 1, turn + 2, &held[..1]));
    in_flight.void(EPOCH);
    assert_eq!(in_flight.holder(claim), Some(EPOCH + 1));
}

#[test]
fn a_turn_in_doubt_ends_with_the_next_transaction() {
    let in_flight = InFlight::default();
    in_flight.doubt(5);
    let ending = in_flight.ending(&[], &[]);
    assert_eq!(ending.over, [5]);
    in_flight.ended(&ending, at(1));
    assert!(in_flight.doubtful().is_empty());
}
