use super::*;

#[test]
fn a_page_is_found_by_its_key_and_never_sorted() {
    let sql = crate::store::sqlite::tests::schema();
    let mut statement = sql
        .prepare(&format!("EXPLAIN QUERY PLAN {}", select_page()))
        .expect("good SQL");
    let steps: Vec<String> = statement
        .query_map(params![1, 1], |row| row.get(3))
        .expect("a plan")
        .collect::<Result<_, _>>()
        .expect("text");
    assert_eq!(
        steps,
        [
            "SEARCH i USING INDEX relays (surface=? AND rowid>?)",
            "SEARCH d USING PRIMARY KEY (intent_id=?)",
            "CORRELATED SCALAR SUBQUERY 1",
            "SEARCH t USING INTEGER PRIMARY KEY (rowid=?)",
            "SEARCH o USING PRIMARY KEY (intent_id=?)",
            "SEARCH p USING INTEGER PRIMARY KEY (rowid=?)"
        ]
    );
}
