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
