use super::*;
use crate::model::SourceCounts;
use crate::store::postgres::tests::support::database;

#[test]
fn counts_whose_answer_was_lost_are_added_once() {
    let Some((_database, mut sql)) = database() else {
        return;
    };
    let now = Timestamp::from_millis(1_700_000_000_000);
    let counted = SourceCounts {
        accepted: 3,
        ..SourceCounts::default()
    };
    let mut counts = RecordRollups::new(now, vec![("s".to_owned(), counted)], Vec::new());
    // Committed; nobody heard of it, and the caller begins anew.
    for _ in 0..2 {
        let names = counts.next_names(MAX_ROWS).expect("a name");
        let addition = Addition::of(&counts, names, now);
        addition.apply(&mut sql).expect("added");
    }
    counts.committed();
    let row = sql.one("SELECT max(accepted) FROM relay.source_rollups", &[]);
    assert_eq!(row.expect("a row").get::<_, i64>(0), 3);
    let next = RecordRollups::new(now, vec![("s".to_owned(), counted)], Vec::new());
    assert_ne!(next.token, counts.token, "each addition has its own");
}
