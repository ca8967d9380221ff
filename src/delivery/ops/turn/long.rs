//! Turns of many workers, on a store of their own.

use std::sync::Arc;

use super::*;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::model::Level;
use crate::ops::metrics::Metrics;
use crate::store::Store;

fn open(directory: &tempfile::TempDir) -> Store {
    let mut config = Config::default();
    config.database.path = directory.path().join("relay.db");
    config.database.min_free_bytes = 0;
    let config = config.resolve();
    Store::open(
        &config.database,
        config.longest_wait(),
        Arc::new(SystemClock::new()),
        Arc::new(Metrics::new(Level::Off)),
        Arc::new(|_| {}),
        Arc::new(|| {}),
        Arc::new(|_| {}),
    )
    .expect("the store opens")
}

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
            "INSERT INTO intents SELECT n, ?2, 1, 0, 's', NULL, NULL, NULL, NULL, NULL, x'', zeroblob(300)
             FROM n",
            "INSERT INTO deliveries (intent_id, destination_id, state, next_attempt_at, updated_at)
             SELECT n, 1 + n % ?2, 0, 1, 1 FROM n",
        ] {
            tx.sql
                .execute(&sql.replacen("INSERT", &format!("{ROWS} INSERT"), 1), [self.0, DESTINATIONS])?;
        }
        Ok(())
    }
}

fn count(store: &Store, what: &str) -> usize {
    let sql = format!("SELECT count(*) FROM {what}");
    let count: u32 = store
        .read_blocking(|connection| Ok(connection.query_row(&sql, [], |row| row.get(0))?))
        .expect("a count");
    count as usize
}

fn wants(begin: usize, wait: usize) -> Vec<Want> {
    (1..=DESTINATIONS)
        .map(|destination| Want {
            destination,
            begin,
            wait,
        })
        .collect()
}

fn settlement(claimed: &Claimed) -> Settlement {
    Settlement {
        intent: claimed.intent,
        destination: claimed.destination,
        claim: claimed.claim,
        attempt: claimed.attempt,
        history: claimed.history,
        started_at: claimed.due,
        duration_ms: 3,
        step: Transition::Deliver,
        next_attempt_at: None,
        hold_until: None,
        pause: None,
        breaker: None,
        is_proven: None,
        outcome: 0,
        status_code: Some(200),
        failure: None,
        error: None,
        response: Some(vec![b'x'; 300]),
        address: Some("127.0.0.1:80".to_owned()),
        resolve_ms: None,
        connect_ms: None,
        first_byte_ms: Some(2),
        next: "done".to_owned(),
    }
}

#[test]
fn a_turn_of_many_workers_is_divided_into_bounded_transactions() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory);
    store.write_blocking(Fill(25_000)).expect("rows");
    let mut claimed = Vec::new();
    // As 1 024 workers claim at first, then as they settle and claim, with eight waiting behind
    // each of them at last.
    for (claim, wait) in [(1, 0), (2, 0), (3, 512), (4, 0)] {
        let settlements: Vec<_> = claimed.iter().map(settlement).collect();
        let settled = settlements.len();
        store.take_transactions();
        let mut turn = Turn::new(settlements, Vec::new(), Vec::new(), wants(64, wait), claim);
        store.write_steps(&mut turn).expect("a turn");
        claimed = turn.into_claimed();
        let transactions = store.take_transactions();
        let longest = transactions.iter().map(|one| one.took).max();
        println!(
            "settled {settled}, claimed {} in {} transactions, the longest of {longest:?}",
            claimed.len(),
            transactions.len()
        );
        let rows = transactions.iter().map(|one| one.rows).max();
        assert!(rows <= Some(1024), "{rows:?} rows in one transaction");
        assert_eq!(claimed.iter().filter(|one| one.claim > 0).count(), 1024);
        assert_eq!(
            claimed.iter().filter(|one| one.claim < 0).count(),
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

#[test]
fn a_turn_that_fails_keeps_just_what_is_not_durable() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory);
    store.write_blocking(Fill(3_000)).expect("rows");
    let mut turn = Turn::new(Vec::new(), Vec::new(), Vec::new(), wants(100, 0), 1);
    store.write_steps(&mut turn).expect("a turn");
    let claimed = turn.into_claimed();
    let mut settlements: Vec<_> = claimed.iter().map(settlement).collect();
    let total = settlements.len();
    // No step from processing leads there.
    settlements[600].step = Transition::Replay;
    let back = HandBack {
        intent: 1,
        destination: 1,
        claim: 1,
        due: None,
    };
    let mut turn = Turn::new(settlements, vec![back], Vec::new(), wants(100, 0), 2);
    let refused = store
        .write_steps(&mut turn)
        .expect_err("it can't be settled");
    assert!(matches!(refused, StoreError::Unexpected(_)), "{refused}");
    let (mut settlements, hand_backs) = turn.into_unfinished();
    let settled = count(&store, "attempts");
    assert!(settled > 0 && settled <= 600, "{settled}");
    assert_eq!(settlements.len(), total - settled);
    assert_eq!(hand_backs.len(), 1);
    assert_eq!(
        count(&store, "deliveries WHERE claim = 2"),
        0,
        "nor is anything claimed"
    );
    // The rest is gone on with.
    settlements[600 - settled].step = Transition::Deliver;
    let mut turn = Turn::new(settlements, Vec::new(), Vec::new(), Vec::new(), 3);
    store.write_steps(&mut turn).expect("settled");
    assert_eq!(count(&store, "attempts"), total);
    assert_eq!(
        count(&store, "attempts WHERE entry > 1"),
        0,
        "each of them once"
    );
    store.stop();
}

#[test]
fn claims_of_a_turn_that_fails_later_are_handed_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory);
    store.write_blocking(Fill(25_000)).expect("rows");
    let mut turn = Turn::new(Vec::new(), Vec::new(), Vec::new(), wants(500, 0), 1);
    assert!(store.write_step(&mut turn).expect("a step"));
    store.stop();
    let refused = store.write_steps(&mut turn).expect_err("it has stopped");
    assert!(matches!(refused, StoreError::Stopped), "{refused}");
    let store = open(&directory);
    let (settlements, hand_backs) = turn.into_unfinished();
    assert!(settlements.is_empty());
    // The start has handed them back itself; a running server has the dispatcher do it.
    assert_eq!(
        hand_backs.len(),
        1021,
        "a row for each of three destinations, and the rest"
    );
    assert!(
        hand_backs
            .iter()
            .all(|back| back.due.is_some() && back.claim == 1)
    );
    store.stop();
}
