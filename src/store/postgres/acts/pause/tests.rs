use super::{pause, resume};
use crate::clock::Timestamp;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::tests::support::database;
use crate::store::types::Resumed;

#[test]
fn a_resume_that_could_not_be_told_is_not_made() {
    let Some((database, mut sql)) = database() else {
        return;
    };
    let now = Timestamp::from_millis(1_000);
    pause(&mut sql, "d", "reason", now).expect("paused");
    let poked = |sql: &mut Connection| {
        let row = sql.one("SELECT max(poked) FROM relay.buckets", &[]);
        row.expect("a row").get::<_, i64>(0)
    };
    assert_eq!(poked(&mut sql), 1, "the owner shows the pause");
    let mut other = database.connection();
    other
        .batch("BEGIN; SELECT 1 FROM relay.buckets FOR UPDATE")
        .expect("locked");
    sql.batch("SET lock_timeout = '100ms'").expect("set");
    resume(&mut sql, "d", None, now).expect_err("nobody can be poked");
    other.batch("COMMIT").expect("unlocked");
    let (resumed, _) = resume(&mut sql, "d", None, now).expect("resumed");
    assert_eq!(resumed, Resumed::Now);
    assert_eq!(poked(&mut sql), 2);
    let (resumed, _) = resume(&mut sql, "unknown", None, now).expect("an answer");
    assert_eq!(resumed, Resumed::Already);
}
