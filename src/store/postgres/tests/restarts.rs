use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::stop::Stop;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::{Class, Failure};
use crate::store::postgres::retry::{CALL_LIMIT, Connector, Patience};
use crate::store::postgres::tests::own_server::own_server;
use crate::store::postgres::tests::support::{connection, parsed};

fn is_standby(sql: &mut Connection) -> Result<bool, Failure> {
    let row = sql.one("SELECT pg_is_in_recovery()", &[])?;
    Ok(row.try_get(0)?)
}

/// Inserts a number, once only: the caller's token for a change whose answer was lost.
fn insert(sql: &mut Connection, number: i32) -> Result<(), Failure> {
    let insert = "INSERT INTO t VALUES ($1) ON CONFLICT DO NOTHING";
    sql.execute(insert, &[&number]).map(|_| ())
}

#[test]
fn changes_go_on_after_each_kind_of_restart_and_each_is_made_once() {
    let Some(mut server) = own_server() else {
        return;
    };
    server.tell("start");
    let url = server.url();
    connection(&url, CALL_LIMIT)
        .batch("CREATE TABLE t (a int PRIMARY KEY)")
        .expect("a table");
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let stop = Stop::default();
            let limit = Duration::from_secs(60);
            let mut link = Connector::new(parsed(&url), CALL_LIMIT).link();
            for number in 0..20_000 {
                let patience = Patience { limit, stop: &stop };
                let made = link.call(patience, |sql| insert(sql, number));
                made.expect("an outage shorter than the patience");
                if number > 2_000 && stop_after(&mut link, number) {
                    return number;
                }
            }
            20_000
        });
        for mode in ["fast", "immediate", "fast"] {
            server.restart(mode);
        }
        let mut sql = connection(&url, CALL_LIMIT);
        sql.batch("CREATE TABLE over ()").expect("a table");
        let last = writer.join().expect("no panic");
        let row = sql.one("SELECT count(*) FROM t", &[]).expect("a row");
        assert_eq!(row.get::<_, i64>(0), i64::from(last) + 1);
    });
}

/// Whether the test is over.
fn stop_after(link: &mut crate::store::postgres::retry::Link, number: i32) -> bool {
    let is_over = "SELECT to_regclass('over') IS NOT NULL";
    number % 100 == 0
        && link.connection().is_ok_and(|sql| {
            let row = sql.one(is_over, &[]);
            row.is_ok_and(|row| row.get(0))
        })
}

#[test]
fn a_backend_that_is_stopped_is_left_after_the_limit() {
    let Some(mut server) = own_server() else {
        return;
    };
    server.tell("start");
    let mut sql = connection(&server.url(), Duration::from_millis(500));
    let row = sql.one("SELECT pg_backend_pid()", &[]).expect("a row");
    let backend: i32 = row.get(0);
    let signal = |name: &str| {
        let status = Command::new("kill")
            .args([name, &backend.to_string()])
            .status();
        assert!(status.expect("kill is there").success());
    };
    signal("-STOP");
    let silent = sql.one("SELECT 1", &[]).expect_err("no answer");
    signal("-CONT");
    assert_eq!(silent.class(), Class::Lost);
    assert_eq!(silent.to_string(), "no answer within 500ms");
    assert!(sql.is_lost());
}

#[test]
fn a_standby_is_passed_over_and_found_once_it_is_promoted() {
    let Some(mut primary) = own_server() else {
        return;
    };
    primary.tell("start");
    let mut standby = primary.standby();
    standby.tell("start");
    let hosts = format!("{},{}", standby.address(), primary.address());
    let url = format!("postgres://postgres@{hosts}/postgres");
    let stop = Stop::default();
    let mut link = Connector::new(parsed(&url), CALL_LIMIT).link();
    let patience = Patience {
        limit: Duration::from_secs(60),
        stop: &stop,
    };
    assert!(!link.call(patience, is_standby).expect("the primary"));

    let alone = format!("postgres://postgres@{}/postgres", standby.address());
    let refused = Connector::new(parsed(&alone), CALL_LIMIT).connect();
    assert_eq!(
        refused.err().map(|failure| failure.class()),
        Some(Class::ReadOnly)
    );

    primary.tell("immediate");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| link.call(patience, is_standby));
        standby.tell("promote");
        let found = waiting.join().expect("no panic");
        assert!(!found.expect("the new primary"));
    });
}
