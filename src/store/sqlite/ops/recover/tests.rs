use super::*;

#[test]
fn claimed_deliveries_are_found_by_their_index_however_many_others_there_are() {
    let sql = crate::store::sqlite::tests::schema();
    let mut statement = sql
        .prepare(&format!("EXPLAIN QUERY PLAN {RELEASE}"))
        .expect("good SQL");
    let steps = statement
        .query_map(params![1, 1, 1], |row| row.get::<_, String>(3))
        .expect("a plan");
    let steps: Vec<String> = steps.map(|step| step.expect("text")).collect();
    let read: Vec<&String> = steps
        .iter()
        .filter(|step| step.contains("deliveries"))
        .collect();
    assert_eq!(
        read,
        [
            "SEARCH deliveries USING COVERING INDEX claimed (claim>?)",
            "SEARCH deliveries USING PRIMARY KEY (intent_id=? AND destination_id=?)",
        ]
    );
}

#[test]
fn a_prefetched_delivery_does_not_count_as_interrupted() {
    let directory = tempfile::tempdir().expect("a directory");
    let sql = crate::store::sqlite::open::writer(&directory.path().join("relay.db"), &|| 0)
        .expect("a database");
    sql.execute_batch(
        "INSERT INTO destinations (name) VALUES ('a');
         INSERT INTO intents (id, random, surface, created_at, label, headers, body)
         VALUES (1, 0, 1, 0, 's', x'', x'');
         INSERT INTO intents (id, random, surface, created_at, label, headers, body)
         VALUES (2, 0, 1, 0, 's', x'', x'');
         INSERT INTO deliveries (intent_id, destination_id, state, attempts, claim, updated_at)
         VALUES (1, 1, 1, 3, 7, 0), (2, 1, 1, 3, -7, 0);",
    )
    .expect("rows");
    for _ in 0..2 * MAX_INTERRUPTIONS {
        let now = Timestamp::from_millis(10);
        run(&sql, now, Duration::from_secs(1)).expect("recovered");
        sql.execute(
            "UPDATE deliveries SET state = 1, claim = -7, next_attempt_at = NULL, attempts = attempts + 1
             WHERE intent_id = 2 AND state = 0",
            [],
        )
        .expect("claimed ahead once more");
    }
    run(&sql, Timestamp::from_millis(10), Duration::from_secs(1)).expect("recovered");
    let mut statement = sql
        .prepare("SELECT state, attempts, interruptions, history FROM deliveries")
        .expect("good SQL");
    let rows = statement.query_map([], |row| {
        Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?])
    });
    let rows: Vec<[i64; 4]> = rows
        .expect("rows")
        .collect::<Result<_, _>>()
        .expect("numbers");
    assert_eq!(rows, [[0, 3, 1, 1], [0, 2, 0, 0]]);
}
