use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use rusqlite::types::Value;

use super::*;
use crate::model::DeliveryState;
use crate::model::IntentId;
use crate::store::newest::MIN_ROWS_A_SEARCH;
use crate::store::sqlite::queries::SELECT_STATS;
use crate::store::types::DeliveryCursor;
use DeliveryState::{DeadLettered, Delivered, Processing, Queued, Retrying};

/// Now, in milliseconds.
const NOW: i64 = 1_000_000;

fn database() -> Connection {
    let sql = crate::store::sqlite::tests::schema();
    for destination in 1..=3 {
        sql.execute(
            "INSERT INTO destinations (id, name) VALUES (?1, 'd' || ?1)",
            [destination],
        )
        .expect("a destination");
    }
    sql
}

fn insert_intent(sql: &Connection, id: i64, source: &str) {
    sql.execute(
        "INSERT INTO intents (id, random, surface, created_at, label, headers, body)
         VALUES (?1, 0, 1, ?2, ?3, x'', x'')",
        params![id, IntentId::millis_of(id), source],
    )
    .expect("an intent");
}

/// A delivery as the operations leave it: an attempted one has a history, and another one is due
/// when it was accepted.
fn insert(sql: &Connection, intent: i64, destination: i64, state: DeliveryState, history: i64) {
    let due = match state {
        Queued if history == 0 => Some(IntentId::millis_of(intent)),
        // A replay, or a retry, comes at any later time.
        Queued => Some(NOW - intent % 97),
        Retrying => Some(NOW + intent % 89 * 100 - 4_000),
        _ => None,
    };
    sql.prepare_cached(
        "INSERT INTO deliveries (intent_id, destination_id, state, history, next_attempt_at, claim,
                                 updated_at, last_error)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )
    .expect("good SQL")
    .execute(params![
        intent,
        destination,
        state.number(),
        if matches!(state, Retrying | DeadLettered) {
            history.max(1)
        } else {
            history
        },
        due,
        (state == Processing).then_some(7),
        NOW,
        (state == DeadLettered).then_some("error"),
    ])
    .expect("a delivery");
}

fn query(state: Option<DeliveryState>, destination: Option<&str>, limit: u32) -> ListQuery {
    ListQuery {
        state,
        is_blocked: false,
        destination: destination.map(str::to_owned),
        limit,
        ..ListQuery::default()
    }
}

fn read(sql: &Connection, query: &ListQuery) -> Vec<(i64, String)> {
    page(sql, query).0
}

/// A page, and where the next one begins.
fn page(sql: &Connection, query: &ListQuery) -> (Vec<(i64, String)>, Option<DeliveryCursor>) {
    let listing = super::read(sql, query, Timestamp::from_millis(NOW)).expect("it reads");
    assert!(listing.searched_to.is_none() || listing.next.is_some());
    let found = listing.found.into_iter();
    let found = found.map(|row| (row.id.row(), row.destination));
    (found.collect(), listing.next)
}

/// All pages, one after the other.
fn pages(sql: &Connection, query: &ListQuery) -> Vec<(i64, String)> {
    let mut query = query.clone();
    let mut all = Vec::new();
    // Far more pages than rows.
    for _ in 0..1_000 {
        let (found, next) = page(sql, &query);
        let is_empty = query.max_rows.is_none() && found.is_empty();
        assert!(
            query.after.is_none() || !is_empty,
            "an empty page: {query:?}"
        );
        all.extend(found);
        let Some(next) = next else {
            return all;
        };
        assert_eq!(DeliveryCursor::parse(&next.to_string()), Some(next));
        query.after = Some(next);
    }
    panic!("the pages never end: {query:?}");
}

/// The expected list, by reading all deliveries.
fn read_all(sql: &Connection, query: &ListQuery) -> Vec<(i64, String)> {
    let mut statement = sql
        .prepare(
            "SELECT d.intent_id, t.name FROM deliveries d JOIN intents i ON i.id = d.intent_id
                  JOIN destinations t ON t.id = d.destination_id
             WHERE (?1 IS NULL OR d.state = ?1) AND (?2 IS NULL OR t.name = ?2)
               AND (?3 IS NULL OR i.label = ?3) AND d.intent_id >= ?4
             ORDER BY d.intent_id DESC, d.destination_id LIMIT ?5",
        )
        .expect("good SQL");
    let since = query
        .since
        .map_or(0, |since| IntentId::first_row_at(since.as_millis()));
    let rows = statement
        .query_map(
            params![
                query.state.map(DeliveryState::number),
                query.destination,
                query.source,
                since,
                query.limit
            ],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .expect("rows");
    rows.collect::<Result<_, _>>().expect("good rows")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_filter_finds_what_reading_everything_finds(
        deliveries in prop::collection::vec(
            (0..60i64, 0..40i64, 1..=3i64, 0..5usize, 0..3i64),
            0..80,
        ),
        limit in 1..12u32,
        since in prop::option::of(0..70i64),
        source in prop::option::of(0..2usize),
        max_rows in prop::option::of(prop_oneof![Just(3), Just(MIN_ROWS_A_SEARCH)]),
    ) {
        let sql = database();
        for (milli, counter, destination, state, history) in deliveries {
            let intent = IntentId::first_row_at(NOW - 60 + milli) + counter;
            let exists = |select: &str, values: &[Value]| {
                let mut statement = sql.prepare(select).expect("good SQL");
                statement.exists(rusqlite::params_from_iter(values)).expect("it reads")
            };
            if !exists("SELECT 1 FROM intents WHERE id = ?1", &[intent.into()]) {
                insert_intent(&sql, intent, ["a", "b"][usize::from(intent % 3 == 0)]);
            }
            let key = [intent.into(), destination.into()];
            let delivery =
                "SELECT 1 FROM deliveries WHERE intent_id = ?1 AND destination_id = ?2";
            if !exists(delivery, &key) {
                insert(&sql, intent, destination, DeliveryState::ALL[state], history);
            }
        }
        let states = DeliveryState::ALL.into_iter().map(Some).chain([None]);
        for state in states {
            for destination in [None, Some("d1"), Some("d2"), Some("none")] {
                let query = ListQuery {
                    source: source.map(|at| ["a", "b"][at].to_owned()),
                    since: since.map(|milli| Timestamp::from_millis(NOW - 60 + milli)),
                    ..query(state, destination, limit)
                };
                prop_assert_eq!(read(&sql, &query), read_all(&sql, &query), "{:?}", query);
                let bounded = ListQuery { max_rows, ..query.clone() };
                let all = ListQuery { limit: u32::MAX, ..query };
                prop_assert_eq!(pages(&sql, &bounded), read_all(&sql, &all), "{:?}", bounded);
            }
        }
    }
}

/// The steps of a plan.
fn plan(sql: &Connection, select: &str) -> Vec<String> {
    let mut statement = sql
        .prepare(&format!("EXPLAIN QUERY PLAN {select}"))
        .expect("good SQL");
    let parameters = vec![Value::Integer(1); statement.parameter_count()];
    statement
        .query_map(rusqlite::params_from_iter(parameters), |row| row.get(3))
        .expect("a plan")
        .collect::<Result<_, _>>()
        .expect("text")
}

#[test]
fn a_state_is_found_by_an_index_and_never_by_reading_all_deliveries() {
    let sql = database();
    for state in DeliveryState::ALL {
        if state == Delivered {
            continue;
        }
        for access in Access::of(Some(state), false) {
            let selects = [false, true].map(|is_bounded| access.select(is_bounded));
            let selects = selects.into_iter().chain(access.destinations());
            for select in selects.chain([SELECT_ONE.to_owned()]) {
                let steps = plan(&sql, &select);
                let is_of_rows = |step: &&String| {
                    step.contains(" d ") || step.contains(" i ") || step.contains(" deliveries ")
                };
                let reads: Vec<_> = steps.iter().filter(is_of_rows).collect();
                assert!(!reads.is_empty(), "{steps:?}");
                for step in reads {
                    assert!(step.starts_with("SEARCH"), "{state}: {step}\n{select}");
                }
                // The claimed deliveries are few, and sorted.
                let is_sorted = steps.iter().any(|step| step.contains("TEMP B-TREE"));
                assert_eq!(
                    is_sorted,
                    *access == Access::Claimed && select != SELECT_ONE,
                    "{state}: {steps:?}"
                );
            }
        }
    }
}

#[test]
fn a_walk_begins_at_the_newest_and_sorts_nothing_but_the_deliveries_of_one_intent() {
    let sql = database();
    for state in [None, Some(Delivered)] {
        let steps = plan(&sql, &Access::of(state, false)[0].select(true));
        assert_eq!(
            steps[0],
            "SEARCH d USING PRIMARY KEY (intent_id>? AND intent_id<?)"
        );
        let sorts: Vec<_> = steps
            .iter()
            .filter(|step| step.contains("B-TREE"))
            .collect();
        assert_eq!(sorts, ["USE TEMP B-TREE FOR LAST TERM OF ORDER BY"]);
    }
}

/// The instructions that SQLite executes for a list.
fn instructions(sql: &Connection, query: &ListQuery) -> usize {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    sql.progress_handler(
        1,
        Some(move || {
            counter.fetch_add(1, Ordering::Relaxed);
            false
        }),
    )
    .expect("a handler");
    assert_eq!(read(sql, query).len(), query.limit as usize);
    sql.progress_handler(1, None::<fn() -> bool>)
        .expect("no handler");
    count.load(Ordering::Relaxed)
}

#[test]
fn listing_a_state_costs_the_same_however_many_deliveries_there_are() {
    let cost = |rows: i64| -> Vec<usize> {
        let sql = database();
        sql.execute_batch("BEGIN").expect("a transaction");
        for row in 1..=rows {
            let intent = IntentId::first_row_at(NOW - 1_000) + row * 4;
            insert_intent(&sql, intent, "a");
            // A few of each state, then many dead letters, then many delivered ones, which are the
            // newest.
            let state = if row <= 60 {
                DeliveryState::ALL[usize::try_from(row % 3).expect("small")]
            } else if row <= rows / 2 {
                DeadLettered
            } else {
                Delivered
            };
            insert(&sql, intent, row % 2 + 1, state, row % 5);
        }
        sql.execute_batch("COMMIT").expect("room");
        [Queued, Processing, Retrying, DeadLettered]
            .into_iter()
            .flat_map(|state| [None, Some("d2")].map(|to| query(Some(state), to, 10)))
            .map(|query| instructions(&sql, &query))
            .collect()
    };
    let (few, many) = (cost(200), cost(20_000));
    for (few, many) in few.iter().zip(&many) {
        assert!(
            *many <= few * 3 / 2,
            "{few} instructions, and {many} of many rows"
        );
    }
}

#[test]
fn a_bounded_page_of_a_state_costs_the_same_however_many_retries_are_due() {
    const PAGE: u32 = 10;
    let cost = |retries: i64| -> Vec<usize> {
        let sql = database();
        sql.execute_batch("BEGIN").expect("a transaction");
        for row in 1..=retries + 20 {
            let intent = IntentId::first_row_at(NOW - 100_000) + row * 4;
            insert_intent(&sql, intent, "a");
            let state = if row <= retries { Retrying } else { Queued };
            insert(&sql, intent, row % 2 + 1, state, 0);
        }
        // All retries are due, since nothing is sent for a while.
        sql.execute(
            "UPDATE deliveries SET next_attempt_at = ?1 + intent_id % 1000 WHERE state = 2",
            [NOW - 1_000],
        )
        .expect("they are due");
        sql.execute_batch("COMMIT").expect("room");
        let queries = [None, Some("d2")].map(|to| ListQuery {
            max_rows: Some(200),
            ..query(Some(Queued), to, PAGE)
        });
        queries
            .iter()
            .map(|query| instructions(&sql, query))
            .collect()
    };
    let (few, many) = (cost(1_000), cost(20_000));
    for (few, many) in few.iter().zip(&many) {
        assert!(
            *many <= few * 3 / 2,
            "{few} instructions, and {many} with many retries"
        );
    }
}

#[test]
fn stats_read_the_partial_indexes_alone() {
    let sql = database();
    let steps = plan(&sql, SELECT_STATS);
    let reads: Vec<_> = steps.iter().filter(|step| step.contains(" d ")).collect();
    assert_eq!(
        reads,
        [
            "SEARCH d USING COVERING INDEX claimed (claim>?)",
            "SEARCH d USING COVERING INDEX due (destination_id=? AND next_attempt_at>?)",
            "SEARCH d USING COVERING INDEX dead (destination_id=? AND discarded_at=?)",
            "SEARCH d USING COVERING INDEX discarded (destination_id=? AND discarded_at>?)",
            "SEARCH d USING COVERING INDEX due (destination_id=? AND next_attempt_at<?)",
        ]
    );
}

#[test]
fn a_delivery_without_its_destination_hides_no_other_one() {
    let sql = database();
    insert_intent(&sql, 1, "s");
    insert(&sql, 1, 1, Delivered, 1);
    insert(&sql, 1, 2, Delivered, 1);
    sql.execute("DELETE FROM destinations WHERE id = 1", [])
        .expect("deleted");
    let now = Timestamp::from_millis(NOW);
    let page = super::read(&sql, &query(Some(Delivered), None, 10), now).expect("a page");
    let found: Vec<&str> = page
        .found
        .iter()
        .map(|one| one.destination.as_str())
        .collect();
    assert_eq!(found, ["d2"]);
}
