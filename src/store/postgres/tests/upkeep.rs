//! Dead rows, and the transaction that keeps them.

use crate::store::postgres::tests::support::database;
use crate::store::postgres::upkeep::{HorizonWatch, OldestTransaction, oldest_transaction};

#[test]
fn an_idle_transaction_is_named_as_the_oldest() {
    let Some((database, mut connection)) = database() else {
        return;
    };
    let oldest = oldest_transaction(&mut connection).expect("a read");
    assert_eq!(oldest, None, "nobody is in a transaction");
    let mut other = database.connection();
    other
        .batch(
            "SET application_name = 'report'; COMMIT;
             BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class",
        )
        .expect("it stays open");
    let oldest = oldest_transaction(&mut connection).expect("a read");
    let oldest = oldest.expect("it is seen");
    assert_eq!(oldest.application, "report");
    assert_eq!(oldest.state, "idle in transaction");
    assert!(oldest.pid > 0 && oldest.seconds >= 0.0, "{oldest:?}");
    other.batch("COMMIT").expect("it ends");
    let oldest = oldest_transaction(&mut connection).expect("a read");
    assert_eq!(oldest, None);
}

#[test]
fn an_old_transaction_is_told_once_and_so_is_its_end() {
    let aged = |seconds| OldestTransaction {
        pid: 7,
        application: "report".to_owned(),
        state: "idle in transaction".to_owned(),
        seconds,
    };
    let mut watch = HorizonWatch::default();
    let looks = [Some(30.0), Some(61.0), Some(70.0), None, None, Some(90.0)];
    let changes = looks.map(|seconds| watch.look(seconds.map(aged).as_ref()));
    assert_eq!(changes, [false, true, false, true, false, true]);
}
