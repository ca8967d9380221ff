//! The indexes that the reads walk, on tables of some size.

use std::error::Error;

use serde_json::Value;
use tokio_postgres::types::{FromSql, Type, accepts};

use super::{
    alerts, backlog, blocking, destinations, export, listing, operations, relays, rollups, stats,
    tail, unrouted,
};
use crate::clock::Timestamp;
use crate::model::DeliveryState;
use crate::store::postgres::acts::end_hold::END_HOLD;
use crate::store::postgres::acts::making::locks;
use crate::store::postgres::connection::{Connection, Param};
use crate::store::postgres::counts;
use crate::store::postgres::nodes::rounds;
use crate::store::postgres::tests::support::database;
use crate::store::postgres::turn::settle;
use crate::store::types::{DestinationId, IntentRow};

/// 20 000 deliveries that wait and 20 000 that have ended, to 200 destinations: of the first a
/// tenth is due for a retry, of the second a tenth was given up.
const ROWS: &str = "
    INSERT INTO relay.destinations (name, bucket)
        SELECT 'd' || n, 0 FROM generate_series(1, 200) n;
    INSERT INTO relay.intents (id, random, surface, created_at, label, url, headers, body, unrouted)
        SELECT n::bigint << 12, n, (n % 2), n, 's', CASE WHEN n % 2 = 0 THEN 'u' END, '', '{}',
               CASE WHEN n % 100 = 1 THEN 1 END
        FROM generate_series(1, 40000) n;
    INSERT INTO relay.waiting (destination_id, next_attempt_at, intent_id, state, history, attempts,
                               updated_at)
        SELECT 1 + n % 199, n, n::bigint << 12, CASE WHEN n % 10 = 0 THEN 2 ELSE 0 END, n % 2,
               n % 2, n
        FROM generate_series(1, 20000) n;
    INSERT INTO relay.ended (intent_id, destination_id, state, attempts, history, updated_at,
                             last_error)
        SELECT n::bigint << 12, 1 + n % 199, CASE WHEN n % 10 = 0 THEN 4 ELSE 3 END, 1, 1, n, 'e'
        FROM generate_series(20001, 40000) n;
    INSERT INTO relay.claims (epoch, turn, made_at, intents, destinations, attempts, histories,
                              begun)
        SELECT 1, 1, 0, array_agg(intent_id), array_agg(destination_id), array_agg(attempts + 1),
               array_agg(history), 100
        FROM (SELECT * FROM relay.waiting ORDER BY intent_id LIMIT 100) w;
    INSERT INTO relay.jobs (operation, kind, states, since, until, cursor_at, cursor_intent,
                            cursor_more, created_at, ended_at)
        SELECT n, 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM generate_series(1, 20000) n;
    ANALYZE;";

/// The lines of a plan.
fn plan(sql: &mut Connection, select: &str, params: &[Param<'_>]) -> Vec<String> {
    let rows = sql.rows(&format!("EXPLAIN {select}"), params);
    let rows = rows.unwrap_or_else(|error| panic!("{error}: {select}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// The plan of a statement that doesn't read these indexes, or reads a table as a whole or sorts
/// it.
fn problem(
    sql: &mut Connection,
    select: &str,
    params: &[Param<'_>],
    indexes: &[&str],
) -> Option<Vec<String>> {
    let plan = plan(sql, select, params);
    let is_used = |index: &&str| {
        let using = format!(" using {index} ");
        plan.iter().any(|line| line.contains(&using))
    };
    let reads_all = |line: &String| {
        let is_whole = line.contains("Seq Scan") && !line.contains(" on claims ");
        is_whole || line.contains("Sort  (")
    };
    let is_good = indexes.iter().all(is_used) && !plan.iter().any(reads_all);
    (!is_good).then_some(plan)
}

#[test]
fn each_filter_of_a_list_walks_one_index() {
    let Some((_database, mut connection)) = database() else {
        return;
    };
    let sql = &mut connection;
    sql.batch(ROWS).expect("rows");
    let destination = Some(DestinationId(3));
    let cases = [
        (listing::Walk::Waiting, None, "waiting_intent"),
        (listing::Walk::Ended, None, "ended_pkey"),
        (listing::Walk::Retrying, None, "retrying"),
        (listing::Walk::Dead, None, "dead_latest"),
        (
            listing::Walk::AttemptedOf(DeliveryState::Queued),
            destination,
            "waiting_listed",
        ),
        (
            listing::Walk::AttemptedOf(DeliveryState::Retrying),
            destination,
            "waiting_listed",
        ),
        (listing::Walk::DeadOf, destination, "dead_listed"),
        (listing::Walk::BlockedOf, destination, "waiting_pkey"),
        (listing::Walk::Due, destination, "waiting_pkey"),
    ];
    let (intent, place) = (IntentRow(30_000 << 12), DestinationId(0));
    let (none, due) = (None::<Vec<u8>>, Timestamp::from_millis(15_000));
    for (walk, destination, index) in cases {
        let params: &[Param<'_>] = &[
            &intent,
            &place,
            &IntentRow(0),
            &destination,
            &none,
            &none,
            &none,
            &51_i64,
            &due,
        ];
        assert_eq!(
            problem(sql, walk.select(), params, &[index]),
            None,
            "{walk:?}"
        );
    }
}

#[test]
fn each_read_walks_its_indexes() {
    let Some((_database, mut connection)) = database() else {
        return;
    };
    let sql = &mut connection;
    sql.batch(ROWS).expect("rows");
    let (id, none) = (IntentRow(1_000 << 12), None::<Vec<u8>>);
    let destination = DestinationId(3);
    let (ids, at) = (vec![destination], Timestamp::from_millis(0));
    let (names, any_pause) = (vec!["d3"], None::<Timestamp>);
    let cases: &[(&str, &[Param<'_>], &[&str])] = &[
        (relays::SELECT_SIZES, &[&0_i64, &51_i64, &id], &["relays"]),
        (
            unrouted::SELECT,
            &[&IntentRow(0), &id, &none, &none, &none, &51_i64],
            &["unrouted"],
        ),
        (unrouted::COUNT, &[], &["unrouted"]),
        (counts::COUNT_WAITING, &[], &["waiting_intent"]),
        (counts::COUNT_DEAD, &[], &["dead_latest"]),
        (
            counts::COUNT_SOME,
            &[&ids, &51_i64],
            &["waiting_pkey", "ended_line"],
        ),
        (backlog::SELECT_WAITING, &[], &["waiting_pkey"]),
        (
            blocking::SELECT,
            &[&destination, &at, &id, &51_i64],
            &["dead"],
        ),
        (
            alerts::SELECT_DEAD,
            &[&destination, &at, &at, &51_i64],
            &["dead"],
        ),
        (alerts::SELECT_WITH_DEAD, &[&at, &51_i64], &["dead"]),
        (
            operations::SELECT_PAGE,
            &[&10_000_i64, &51_i64],
            &["jobs_together"],
        ),
        (
            tail::SELECT_ACCEPTED,
            &[&id, &id, &51_i64],
            &["intents_pkey"],
        ),
        (tail::SELECT_WAITING, &[&51_i64], &["waiting_pkey"]),
        (
            tail::SELECT_DUE,
            &[&ids, &at, &51_i64, &51_i64],
            &["waiting_pkey"],
        ),
        (
            END_HOLD,
            &[&names, &at, &any_pause],
            &["waiting_pkey", "waiting_intent"],
        ),
    ];
    let problems = cases.iter().filter_map(|(select, params, indexes)| {
        problem(sql, select, params, indexes).map(|plan| (select, plan))
    });
    let problems: Vec<_> = problems.collect();
    assert!(problems.is_empty(), "{problems:#?}");
}

/// With few destinations it seems cheaper to go through all that waits for each of them.
#[test]
fn a_round_reads_what_arrived_lately_however_few_destinations_there_are() {
    let Some((_database, mut connection)) = database() else {
        return;
    };
    let sql = &mut connection;
    sql.batch(
        "INSERT INTO relay.destinations (name, bucket)
             SELECT 'd' || n, n FROM generate_series(1, 100) n;
         INSERT INTO relay.waiting (destination_id, next_attempt_at, intent_id, updated_at)
             SELECT 1 + n % 100, n, n::bigint << 12, n FROM generate_series(1, 60000) n;",
    )
    .expect("rows");
    sql.batch("VACUUM ANALYZE").expect("vacuumed");
    let buckets: Vec<i16> = (0..256).collect();
    let params: &[Param<'_>] = &[&0_i64, &1_i64, &buckets];
    let found = problem(sql, rounds::ARRIVED, params, &["waiting_intent"]);
    assert_eq!(found, None);
}

/// Sessions have neither hash nor merge joins: two lists without an index would be compared row by
/// row. Nor are workers started for what an index answers.
#[test]
fn a_turn_is_settled_without_comparing_each_row_with_each() {
    let Some((_database, mut connection)) = database() else {
        return;
    };
    let sql = &mut connection;
    sql.batch(ROWS).expect("rows");
    let columns = settle::Columns::default();
    let none = Vec::<i64>::new();
    let mut params: Vec<Param<'_>> = vec![&1_i16, &1_i64, &1_i64, &none];
    params.extend(columns.params());
    let plan = plan(sql, settle::SETTLE, &params);
    let is_bad = |line: &&String| line.contains("Join Filter") || line.contains("Gather");
    assert_eq!(plan.iter().find(is_bad), None, "{plan:#?}");
    let workers = sql.one(
        "SELECT current_setting('max_parallel_workers_per_gather')",
        &[],
    );
    assert_eq!(workers.expect("a setting").get::<_, String>(0), "0");
}

/// Beside [`ROWS`], 2 000 destinations more and 2 000 claims, and the counts of two days.
const MANY: &str = "
    INSERT INTO relay.destinations (name, bucket)
        SELECT 'many' || n, n % 256 FROM generate_series(1, 2000) n;
    INSERT INTO relay.claims (epoch, turn, made_at, intents, destinations, attempts, histories,
                              begun)
        SELECT 1, 2 + n / 100, 0, array_agg(intent_id), array_agg(destination_id),
               array_agg(attempts + 1), array_agg(history), 100
        FROM (SELECT row_number() OVER (ORDER BY intent_id) AS n, * FROM relay.waiting) w
        WHERE n BETWEEN 1000 AND 2999 GROUP BY n / 100;
    INSERT INTO relay.destination_rollups (grain, at, destination, delivered, failed, dead)
        SELECT 3600, h * 3600000::bigint, 'd' || n, 1, 0, 0
        FROM generate_series(1, 48) h, generate_series(1, 200) n;
    ANALYZE;";

/// A value of the type `json`.
struct Json(Value);

impl<'a> FromSql<'a> for Json {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(serde_json::from_slice(raw)?))
    }

    accepts!(JSON);
}

/// Rows that a statement may compare or read from what it holds in memory. Each claim once is
/// 2 000, and each claim for each destination 4 million.
const MOST_COMPARED: f64 = 25_000.0;

/// The rows that a part of a plan looks at without an index, in all of its loops.
fn compared(node: &Value) -> f64 {
    let number = |name: &str| node[name].as_f64().unwrap_or(0.0);
    let kind = node["Node Type"].as_str().unwrap_or_default();
    let is_held = matches!(kind, "CTE Scan" | "Function Scan" | "Materialize");
    let filtered = number("Rows Removed by Filter");
    let held = if is_held {
        number("Actual Rows") + filtered
    } else {
        filtered
    };
    let own = (held + number("Rows Removed by Join Filter")) * number("Actual Loops");
    let parts = node["Plans"].as_array().into_iter().flatten();
    own + parts.map(compared).sum::<f64>()
}

/// Without hash and merge joins, two lists are compared row by row unless an index joins them.
#[test]
fn no_read_compares_all_destinations_or_all_that_waits_with_all_claims() {
    let Some((_database, mut connection)) = database() else {
        return;
    };
    let sql = &mut connection;
    sql.batch(ROWS).expect("rows");
    sql.batch(MANY).expect("rows");
    let (none, no_states) = (None::<Vec<u8>>, None::<Vec<DeliveryState>>);
    let (no_destination, at) = (None::<DestinationId>, Timestamp::from_millis(15_000));
    let (latest, first) = (IntentRow(50_000 << 12), IntentRow(0));
    let place = DestinationId(0);
    let all: Vec<DestinationId> = (1..=2200).map(DestinationId).collect();
    let ids: Vec<i64> = (1..=256).map(|n| (n * 150) << 12).collect();
    let names = vec!["d1".to_owned()];
    let end = Timestamp::from_millis(i64::MAX);
    let cases: &[(&str, &[Param<'_>])] = &[
        (
            listing::Walk::Claimed.select(),
            &[
                &latest,
                &place,
                &first,
                &no_destination,
                &none,
                &none,
                &none,
                &51_i64,
                &at,
            ],
        ),
        (counts::COUNT_SOME, &[&all, &51_i64]),
        (backlog::SELECT_WAITING, &[]),
        (destinations::SELECT, &[&names]),
        (destinations::SELECT_ONE, &[&"d1"]),
        (stats::SELECT_STATS, &[]),
        (relays::SELECT_SOME, &[&ids]),
        (
            export::SELECT_OF,
            &[
                &first,
                &latest,
                &none,
                &none,
                &none,
                &no_states,
                &no_destination,
                &none,
                &1000_i64,
                &ids,
            ],
        ),
        (
            rollups::SELECT_DESTINATION,
            &[
                &3600_i32,
                &Timestamp::from_millis(0),
                &"",
                &end,
                &5000_i64,
                &"d1",
            ],
        ),
        (locks::LOCK_DESTINATIONS_OF, &[&ids]),
        (locks::POKE_OF, &[&ids]),
        (locks::POKE, &[&all]),
    ];
    let mut problems = Vec::new();
    for (select, params) in cases {
        sql.batch("BEGIN").expect("a transaction");
        let explained = format!("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {select}");
        let row = sql.one(&explained, params);
        let row = row.unwrap_or_else(|error| panic!("{error}: {select}"));
        sql.batch("ROLLBACK").expect("undone");
        let Json(plan) = row.get(0);
        let count = compared(&plan[0]["Plan"]);
        if count > MOST_COMPARED {
            problems.push((select, count));
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}
