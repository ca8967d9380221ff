//! Changes for many workers, and the plan of a claim.

use std::time::Duration;

use rusqlite::params;

use super::claim::SELECT_DUE;
use super::*;
use crate::model::Transition;
use crate::store::sqlite::tests::{open, schema};
use crate::store::types::{
    AttemptRecord, ClaimId, ClaimRequest, DestinationChange, DestinationId, IntentRow, Release,
    Settlement,
};

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

/// Damages the number of entries in histories: there is an entry of the next number already.
struct Damage;

impl WriteOp for Damage {
    type Out = ();

    fn apply(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        tx.sql.execute_batch(
            "UPDATE deliveries SET history = 0;
             INSERT OR IGNORE INTO attempts (intent_id, destination_id, entry, attempt, started_at,
                                             duration_ms, outcome)
             SELECT intent_id, destination_id, 1, 7, 0, 0, 1 FROM deliveries",
        )?;
        Ok(())
    }
}

#[test]
fn a_history_with_more_entries_than_its_number_stops_neither_a_start_nor_a_settlement() {
    let directory = tempfile::tempdir().expect("a directory");
    let claim = |store: &Sqlite, settlements| {
        let requests = requests(1, 0);
        let mut change =
            SettleAndClaim::new(settlements, Vec::new(), Vec::new(), requests, ClaimId(1));
        store.write_steps(&mut change).expect("a change");
        change.take_claimed()
    };
    let (store, _end) = open(&directory);
    store.write_blocking(Fill(1)).expect("rows");
    assert_eq!(claim(&store, Vec::new()).len(), 1);
    store.write_blocking(Damage).expect("damaged");
    store.stop();
    let (store, _end) = open(&directory);
    assert_eq!(
        count(&store, "attempts WHERE outcome = 3"),
        1,
        "interrupted"
    );
    let claimed = claim(&store, Vec::new());
    store.write_blocking(Damage).expect("damaged");
    claim(&store, claimed.iter().map(settlement).collect());
    assert_eq!(count(&store, "attempts WHERE outcome = 0"), 1, "delivered");
    assert_eq!(count(&store, "attempts"), 1);
    store.stop();
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
