//! The division of a change into parts.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::model::OnDead;
use crate::store::types::{AttemptRecord, DestinationChange, IntentRow};

const DESTINATIONS: i64 = 16;

fn requests(begin: usize, prefetch: usize) -> Vec<ClaimRequest> {
    (1..=DESTINATIONS)
        .map(|destination| ClaimRequest {
            destination: DestinationId(destination),
            begin,
            prefetch,
        })
        .collect()
}

fn settlement(claimed: &Claimed) -> Settlement {
    let record = AttemptRecord {
        attempt: claimed.attempt,
        history: claimed.history,
        started_at: claimed.due,
        took: Duration::from_millis(3),
        status_code: Some(200),
        failure: None,
        is_transient: false,
        error: None,
        response: Some(vec![b'x'; 300]),
        address: Some("127.0.0.1:80".to_owned()),
        resolve: None,
        connect: None,
        tls: None,
        first_byte: Some(Duration::from_millis(2)),
        next: "done".to_owned(),
    };
    Settlement::delivered(claimed.claim(), record, DestinationChange::default())
}

fn claimed(intent: i64, history: u32) -> Claimed {
    Claimed {
        intent: IntentRow(intent),
        destination: DestinationId(1),
        claim: ClaimId(1),
        due: Timestamp::from_millis(0),
        attempt: 1,
        history,
    }
}

proptest! {
    #[test]
    fn a_change_knows_whether_the_rows_of_its_steps_are_few(
        histories in prop::collection::vec(40_u32..60, 0..20),
        (released, closed) in (0_i64..5, 0_i64..5),
        claims in prop::collection::vec((0_usize..9, 0_usize..9), 0..5),
        first in 1_usize..60,
    ) {
        let claimed_of = |histories: &[u32]| -> Vec<Claimed> {
            (1..).zip(histories).map(|(row, history)| claimed(row, *history)).collect()
        };
        let requests = claims.iter().map(|(begin, prefetch)| ClaimRequest {
            destination: DestinationId(1),
            begin: *begin,
            prefetch: *prefetch,
        });
        let mut change = SettleAndClaim::new(
            claimed_of(&histories).iter().map(settlement).collect(),
            (1..=released).map(|row| Release::untouched(&claimed(row, 0))).collect(),
            (1..=closed).map(DestinationId).collect(),
            requests.filter(|one| one.begin + one.prefetch > 0).collect(),
            ClaimId(1),
        );
        // Also of what the first step leaves.
        for most in [first, usize::MAX] {
            let all = change.next_part(usize::MAX).map_or(0, |step| step.rows());
            prop_assert!(change.has_at_most(all));
            prop_assert!(all == 0 || !change.has_at_most(all - 1));
            if change.next_part(most).is_some() {
                change.committed(Vec::new());
            }
        }
        prop_assert!(change.has_at_most(0));
    }
}

#[test]
fn the_first_step_claims_beside_what_it_settles() {
    let claimed: Vec<_> = (1..=1024).map(|row| claimed(row, 0)).collect();
    let mut change = SettleAndClaim::new(
        claimed.iter().map(settlement).collect(),
        Vec::new(),
        Vec::new(),
        requests(64, 0),
        ClaimId(1),
    );
    let step = change.next_part(64).expect("a step");
    // Two rows of each settlement, one of each claim and of its destination.
    assert_eq!(step.settlements().len(), 21);
    assert_eq!(step.rows(), 64);
}

/// How a settlement bears on the claims of its destination.
#[derive(Clone, Copy, Debug)]
enum Bears {
    Not,
    Holds,
    Pauses,
    Orders,
}

fn settlement_of(destination: i64, bears: Bears) -> Settlement {
    let mut settled = settlement(&Claimed {
        destination: DestinationId(destination),
        ..claimed(1, 0)
    });
    match bears {
        Bears::Not => {}
        Bears::Holds => settled.change.hold_until = Some(Timestamp::from_millis(1)),
        Bears::Pauses => settled.change.pause = Some("410 Gone"),
        Bears::Orders => settled.on_dead = Some(OnDead::Skip),
    }
    settled
}

fn bears() -> impl Strategy<Value = Bears> {
    prop_oneof![
        6 => Just(Bears::Not),
        1 => Just(Bears::Holds),
        1 => Just(Bears::Pauses),
        1 => Just(Bears::Orders),
    ]
}

proptest! {
    #[test]
    fn steps_settle_before_they_claim_where_it_matters_and_make_everything_once(
        settled in prop::collection::vec((1_i64..6, bears()), 0..60),
        wanted in prop::collection::vec((1_usize..20, 0_usize..20), 0..6),
        // The largest change here has four rows.
        rows in 4_usize..40,
    ) {
        let requests: Vec<ClaimRequest> = (1..)
            .map(DestinationId)
            .zip(&wanted)
            .map(|(destination, &(begin, prefetch))| ClaimRequest { destination, begin, prefetch })
            .collect();
        let settlements = settled.iter().map(|&(to, bears)| settlement_of(to, bears)).collect();
        let mut change =
            SettleAndClaim::new(settlements, Vec::new(), Vec::new(), requests, ClaimId(1));
        let (mut durable, mut made) = (0, vec![(0, 0); wanted.len()]);
        while let Some(step) = change.next_part(rows) {
            prop_assert!(step.rows() <= rows, "{} rows of {rows}", step.rows());
            prop_assert_eq!(step.settled.start, durable);
            durable = step.settled.end;
            for request in &step.requests {
                let to = request.destination.0;
                let later = &settled[durable..];
                let is_early = later
                    .iter()
                    .any(|&(other, bears)| other == to && !matches!(bears, Bears::Not));
                prop_assert!(!is_early, "a claim before the settlement that guides it");
                let made = &mut made[usize::try_from(to - 1).expect("from 1 on")];
                *made = (made.0 + request.begin, made.1 + request.prefetch);
            }
            prop_assert!(!step.settled.is_empty() || !step.requests.is_empty(), "an empty step");
            change.committed(Vec::new());
        }
        prop_assert_eq!(durable, settled.len());
        prop_assert_eq!(made, wanted);
    }
}
