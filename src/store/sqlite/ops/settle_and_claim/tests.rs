//! Changes for many workers, and the plan of a claim.

use std::time::Duration;

use proptest::prelude::*;
use rusqlite::params;

use super::claim::SELECT_DUE;
use super::*;
use crate::clock::Timestamp;
use crate::model::{OnDead, Transition};
use crate::store::sqlite::tests::{open, schema};
use crate::store::types::{AttemptRecord, DestinationChange, IntentRow};

const DESTINATIONS: i64 = 16;

/// Makes this many deliveries due, spread over the destinations.
struct Fill(i64);

impl WriteOp for Fill {
    type Out = ();

    fn apply(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        const ROWS: &str =
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)";

        for sql in [
            "INSERT OR IGNORE INTO destinations (id, name) SELECT 1 + n % ?2, 1 + n % ?2 FROM n",
            "INSERT INTO intents (id, random, surface, created_at, label, headers, body)
             SELECT n, ?2, 1, 0, 's', x'', zeroblob(300) FROM n",
            "INSERT INTO deliveries (intent_id, destination_id, state, next_attempt_at, updated_at)
             SELECT n, 1 + n % ?2, 0, 1, 1 FROM n",
        ] {
            let sql = sql.replacen("INSERT", &format!("{ROWS} INSERT"), 1);
            tx.sql.execute(&sql, [self.0, DESTINATIONS])?;
        }
        Ok(())
    }
}

fn count(store: &Sqlite, what: &str) -> usize {
    let sql = format!("SELECT count(*) FROM {what}");
    let count: u32 = store
        .read_blocking(|connection| Ok(connection.query_row(&sql, [], |row| row.get(0))?))
        .expect("a count");
    count as usize
}

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

#[test]
fn a_change_for_many_workers_is_divided_into_bounded_transactions() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    store.write_blocking(Fill(25_000)).expect("rows");
    let mut claimed = Vec::new();
    // 1 024 workers claim, then settle and claim, and at last with eight prefetched deliveries
    // behind each of them.
    for (claim, wait) in [(1, 0), (2, 0), (3, 512), (4, 0)] {
        let settlements: Vec<_> = claimed.iter().map(settlement).collect();
        let settled = settlements.len();
        store.take_transactions();
        let mut change = SettleAndClaim::new(
            settlements,
            Vec::new(),
            Vec::new(),
            requests(64, wait),
            ClaimId(claim),
        );
        store.write_steps(&mut change).expect("a change");
        claimed = change.take_claimed();
        let transactions = store.take_transactions();
        let longest = transactions.iter().map(|one| one.took).max();
        println!(
            "settled {settled}, claimed {} in {} transactions, the longest of {longest:?}",
            claimed.len(),
            transactions.len()
        );
        let rows = transactions.iter().map(|one| one.rows).max();
        assert!(rows <= Some(1024), "{rows:?} rows in one transaction");
        assert_eq!(
            claimed
                .iter()
                .filter(|one| !one.claim.is_prefetched())
                .count(),
            1024
        );
        assert_eq!(
            claimed
                .iter()
                .filter(|one| one.claim.is_prefetched())
                .count(),
            16 * wait
        );
        assert_eq!(count(&store, "deliveries WHERE state = 1"), claimed.len());
    }
    assert_eq!(
        count(&store, "deliveries WHERE state = 3"),
        2 * 1024 + 9 * 1024
    );
    assert_eq!(count(&store, "attempts"), 2 * 1024 + 9 * 1024);
    store.stop();
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
            let all = change.next_step(usize::MAX).map_or(0, |step| step.rows());
            prop_assert!(change.has_at_most(all));
            prop_assert!(all == 0 || !change.has_at_most(all - 1));
            if change.next_step(most).is_some() {
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
    let step = change.next_step(64).expect("a step");
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
        while let Some(step) = change.next_step(rows) {
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

#[test]
fn a_change_that_fails_returns_only_its_undurable_part() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    store.write_blocking(Fill(3_000)).expect("rows");
    let mut change = SettleAndClaim::new(
        Vec::new(),
        Vec::new(),
        Vec::new(),
        requests(100, 0),
        ClaimId(1),
    );
    store.write_steps(&mut change).expect("a change");
    let claimed = change.take_claimed();
    let mut settlements: Vec<_> = claimed.iter().map(settlement).collect();
    let total = settlements.len();
    // No transition from processing leads there.
    settlements[600].transition = Transition::Replay;
    let release = Release {
        intent: IntentRow(1),
        destination: DestinationId(1),
        claim: ClaimId(1),
        due: None,
    };
    let mut change = SettleAndClaim::new(
        settlements,
        vec![release],
        Vec::new(),
        requests(100, 0),
        ClaimId(2),
    );
    let refused = store
        .write_steps(&mut change)
        .expect_err("it can't be settled");
    assert!(matches!(refused, StoreError::Unexpected(_)), "{refused}");
    let claimed_before = change.take_claimed().len();
    let (mut settlements, releases) = change.into_unfinished();
    let settled = count(&store, "attempts");
    assert!(settled > 0 && settled <= 600, "{settled}");
    assert_eq!(settlements.len(), total - settled);
    assert_eq!(releases.len(), 1);
    assert!(claimed_before > 0, "beside what was settled");
    assert_eq!(count(&store, "deliveries WHERE claim = 2"), claimed_before);
    // The rest can be settled later.
    settlements[600 - settled].transition = Transition::Deliver;
    let mut change =
        SettleAndClaim::new(settlements, Vec::new(), Vec::new(), Vec::new(), ClaimId(3));
    store.write_steps(&mut change).expect("settled");
    assert_eq!(count(&store, "attempts"), total);
    assert_eq!(
        count(&store, "attempts WHERE entry > 1"),
        0,
        "each of them once"
    );
    store.stop();
}

#[test]
fn claims_of_a_change_that_fails_later_are_the_callers() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    store.write_blocking(Fill(25_000)).expect("rows");
    let mut change = SettleAndClaim::new(
        Vec::new(),
        Vec::new(),
        Vec::new(),
        requests(500, 0),
        ClaimId(1),
    );
    assert!(store.settle_and_claim(&mut change).expect("a step"));
    let claimed = change.take_claimed();
    assert_eq!(
        claimed.len(),
        1021,
        "a row for each of three destinations, and the rest"
    );
    assert_eq!(count(&store, "deliveries WHERE claim = 1"), claimed.len());
    assert!(change.take_claimed().is_empty(), "each of them once");
    store.stop();
    let refused = store.write_steps(&mut change).expect_err("it has stopped");
    assert!(matches!(refused, StoreError::Stopped), "{refused}");
    assert!(change.take_claimed().is_empty());
    let (settlements, releases) = change.into_unfinished();
    assert!(settlements.is_empty() && releases.is_empty());
}

#[test]
fn a_claim_reads_only_its_own_part_of_the_index_of_due_deliveries() {
    let plan: String = schema()
        .query_row(
            &format!("EXPLAIN QUERY PLAN {SELECT_DUE}"),
            params![1, 1, 1],
            |row| row.get(3),
        )
        .expect("one step");
    assert_eq!(
        plan,
        "SEARCH deliveries USING INDEX due (destination_id=? AND next_attempt_at<?)"
    );
}
