use std::sync::Barrier;
use std::thread;

use crate::store::postgres::open::{Absent, prepare};
use crate::store::postgres::tests::support::{database, empty_database};

#[test]
fn nodes_that_start_at_once_create_the_tables_once() {
    let Some(empty) = empty_database() else {
        return;
    };
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut sql = empty.connection();
                start.wait();
                prepare(&mut sql, Absent::IsCreated).expect("the tables");
            });
        }
    });
    let rows = "SELECT (SELECT count(*) FROM relay.about), (SELECT count(*) FROM relay.buckets)";
    assert_eq!(empty.psql(rows), "1|256\n");
}

#[test]
fn tables_of_another_version_are_refused_and_left_alone() {
    let Some((database, mut sql)) = database() else {
        return;
    };
    for (version, minimum, expected) in [
        (3, 2, "newer than this relay's 1, and works with 2 or newer"),
        (0, 0, "older than this relay's 1"),
    ] {
        database.psql(&format!(
            "UPDATE relay.about SET version = {version}, minimum = {minimum}"
        ));
        let refused = prepare(&mut sql, Absent::IsCreated).expect_err("another version");
        assert!(refused.to_string().contains(expected), "{refused}");
        assert_eq!(
            database.psql("SELECT version FROM relay.about"),
            format!("{version}\n")
        );
    }
}

#[test]
fn tables_that_are_newer_and_still_work_with_this_version_are_taken() {
    let Some((database, mut sql)) = database() else {
        return;
    };
    database.psql("UPDATE relay.about SET version = 2");
    prepare(&mut sql, Absent::IsCreated).expect("an upgrade that goes on");
}

#[test]
fn a_command_creates_no_tables() {
    let Some(empty) = empty_database() else {
        return;
    };
    let refused = prepare(&mut empty.connection(), Absent::IsAnError).expect_err("no tables");
    assert!(
        refused.to_string().contains("relay has no tables here"),
        "{refused}"
    );
    assert_eq!(empty.psql("SELECT to_regnamespace('relay') IS NULL"), "t\n");
}

#[test]
fn a_schema_of_somebody_else_is_refused() {
    let Some(empty) = empty_database() else {
        return;
    };
    empty.psql("CREATE SCHEMA relay");
    let refused = prepare(&mut empty.connection(), Absent::IsCreated).expect_err("no tables");
    assert!(refused.to_string().contains("somebody else's"), "{refused}");
}

#[test]
fn a_setting_that_loses_events_is_refused_in_one_line() {
    let Some(empty) = empty_database() else {
        return;
    };
    let mut sql = empty.connection();
    sql.batch("SET synchronous_commit = off").expect("set");
    let refused = prepare(&mut sql, Absent::IsCreated).expect_err("not durable");
    let expected = "synchronous_commit is off, expected on, local, remote_write, remote_apply: \
                    acknowledged events would be lost with a crash of the server";
    assert_eq!(refused.to_string(), expected);
    assert_eq!(empty.psql("SELECT to_regnamespace('relay') IS NULL"), "t\n");
}

#[test]
fn a_pooler_s_session_is_taken() {
    let Some(empty) = empty_database() else {
        return;
    };
    let mut sql = empty.connection();
    sql.batch("SET enable_seqscan = on").expect("set");
    prepare(&mut sql, Absent::IsCreated).expect("slower, and as durable");
}
