use std::thread;
use std::time::Duration;

use crate::clock::Stopwatch;
use crate::stop::Stop;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::{Class, Failure};
use crate::store::postgres::retry::{CALL_LIMIT, Connector, Patience, once};
use crate::store::postgres::tests::support::{connection, empty_database, parsed, until};

fn pid(sql: &mut Connection) -> i32 {
    let row = sql.one("SELECT pg_backend_pid()", &[]).expect("a row");
    row.try_get(0).expect("a number")
}

fn class<T: std::fmt::Debug>(made: Result<T, Failure>) -> Class {
    made.expect_err("a failure").class()
}

#[test]
fn a_backend_that_is_terminated_is_lost_and_a_link_connects_anew() {
    let Some(database) = empty_database() else {
        return;
    };
    let stop = Stop::default();
    let patience = Patience {
        limit: Duration::from_secs(5),
        stop: &stop,
    };
    let mut link = Connector::new(parsed(database.url()), CALL_LIMIT).link();
    let first = link.call(patience, |sql| Ok(pid(sql))).expect("a backend");
    database.psql(&format!("SELECT pg_terminate_backend({first}, 5000)"));
    let lost = link
        .connection()
        .expect("it isn't known yet")
        .one("SELECT 1", &[]);
    assert_eq!(class(lost), Class::Lost);
    let second = link
        .call(patience, |sql| Ok(pid(sql)))
        .expect("a new backend");
    assert_ne!(first, second);

    database.psql(&format!("SELECT pg_terminate_backend({second}, 5000)"));
    let mut calls = 0;
    let made = link.call(patience, |sql| {
        calls += 1;
        sql.one("SELECT 1", &[]).map(|_| ())
    });
    assert_eq!((made.ok(), calls), (Some(()), 2));
}

#[test]
fn a_change_whose_answer_was_lost_is_not_said_to_have_found_nothing() {
    let Some(database) = empty_database() else {
        return;
    };
    let tables = "CREATE TABLE t AS SELECT 1 AS a; CREATE TABLE u AS SELECT 1 AS a";
    database.connection().batch(tables).expect("tables");
    let stop = Stop::default();
    let patience = Patience {
        limit: Duration::from_secs(5),
        stop: &stop,
    };
    let mut link = Connector::new(parsed(database.url()), CALL_LIMIT).link();
    let mut ends = Vec::new();
    for (table, is_committed) in [("t", true), ("u", false), ("u", false)] {
        let (delete, mut is_first) = (format!("DELETE FROM {table}"), true);
        let deleting = |sql: &mut Connection| {
            let is_lost = std::mem::take(&mut is_first);
            let deleted = if is_committed || !is_lost {
                sql.execute(&delete, &[])?
            } else {
                0
            };
            if is_lost {
                sql.one("SELECT pg_terminate_backend(pg_backend_pid())", &[])?;
            }
            Ok(deleted)
        };
        let made = link.call(patience, once(deleting, |deleted| *deleted > 0));
        ends.push(made.map_err(|failure| failure.class()));
    }
    // That the last one found nothing to do isn't certain to it.
    let unknown = Err(Class::AnswerLost);
    assert_eq!(ends, [unknown, Ok(1), unknown]);
}

#[test]
fn a_statement_that_is_cancelled_leaves_the_connection() {
    let Some(database) = empty_database() else {
        return;
    };
    let mut sql = database.connection();
    let backend = pid(&mut sql);
    thread::scope(|scope| {
        let slow = scope.spawn(|| (class(sql.rows("SELECT pg_sleep(60)", &[])), sql.is_lost()));
        until(
            &mut database.connection(),
            &format!("pid = {backend} AND wait_event = 'PgSleep'"),
        );
        database.psql(&format!("SELECT pg_cancel_backend({backend})"));
        let made = slow.join().expect("no panic");
        assert_eq!(made, (Class::TooSlow, false));
    });
}

#[test]
fn a_held_lock_is_a_conflict() {
    let Some(database) = empty_database() else {
        return;
    };
    let mut holder = database.connection();
    holder
        .batch("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
        .expect("a table");
    holder.batch("BEGIN; UPDATE t SET a = 2").expect("a lock");
    let mut sql = database.connection();
    sql.batch("SET lock_timeout = '50ms'").expect("set");
    assert_eq!(
        class(sql.execute("UPDATE t SET a = 3", &[])),
        Class::Conflict
    );
    assert!(!sql.is_lost());
}

#[test]
fn a_server_that_says_nothing_is_left_after_the_limit() {
    let Some(database) = empty_database() else {
        return;
    };
    let mut sql = connection(database.url(), Duration::from_millis(300));
    let clock = Stopwatch::start();
    // To the client a stopped backend is the same: it acknowledges, and says nothing.
    let silent = sql.rows("SELECT pg_sleep(60)", &[]);
    assert_eq!(class(silent), Class::Lost);
    assert!(clock.elapsed() < Duration::from_secs(5));
    assert!(sql.is_lost());
    assert_eq!(class(sql.rows("SELECT 1", &[])), Class::Lost);
}

#[test]
fn a_session_that_may_not_write_is_not_connected_to() {
    let Some(database) = empty_database() else {
        return;
    };
    let name = database.psql("SELECT current_database()");
    let set = format!(
        "ALTER DATABASE {} SET default_transaction_read_only = on",
        name.trim()
    );
    let mut sql = database.connection();
    sql.batch(&set).expect("set");
    let connector = Connector::new(parsed(database.url()), CALL_LIMIT);
    let refused = connector.connect().err().expect("a standby");
    assert_eq!(refused.class(), Class::ReadOnly);
    assert!(connector.away_for().is_some());

    // A connection that was made before finds it out by its first write.
    sql.batch("SET default_transaction_read_only = on")
        .expect("set");
    assert_eq!(class(sql.batch("CREATE TABLE t ()")), Class::ReadOnly);
    assert!(sql.is_lost());
}

#[test]
fn an_outage_is_waited_for_while_patience_lasts_and_not_by_one_that_stops() {
    let url = "postgres://nobody@127.0.0.1:1/x";
    let stop = Stop::default();
    let mut link = Connector::new(parsed(url), CALL_LIMIT).link();
    let patience = Patience {
        limit: Duration::from_millis(400),
        stop: &stop,
    };
    let clock = Stopwatch::start();
    assert_eq!(class(link.call(patience, |_| Ok(()))), Class::Lost);
    assert!(
        clock.elapsed() >= Duration::from_millis(100),
        "{:?}",
        clock.elapsed()
    );

    stop.ask(crate::stop::Deadline::now());
    let patience = Patience {
        limit: Duration::from_secs(60),
        stop: &stop,
    };
    let clock = Stopwatch::start();
    assert_eq!(class(link.call(patience, |_| Ok(()))), Class::Lost);
    assert!(clock.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_transaction_is_made_as_a_whole_or_not_at_all() {
    let Some(database) = empty_database() else {
        return;
    };
    let mut sql = database.connection();
    sql.batch("CREATE TABLE t (a int PRIMARY KEY)")
        .expect("a table");
    let insert = "INSERT INTO t VALUES ($1) RETURNING a";
    let made = sql
        .transaction(&[(insert, &[&1_i32]), (insert, &[&2_i32])])
        .expect("made");
    let rows: Vec<i32> = made.iter().map(|rows| rows[0].get(0)).collect();
    assert_eq!(rows, [1, 2]);

    let refused = sql.transaction(&[
        (insert, &[&3_i32]),
        (insert, &[&1_i32]),
        (insert, &[&4_i32]),
    ]);
    assert_eq!(class(refused), Class::Duplicate);
    assert!(!sql.is_lost());
    assert_eq!(
        database.psql("SELECT string_agg(a::text, ',') FROM t"),
        "1,2\n"
    );
}

#[test]
fn notifications_are_read_while_idle_and_after_calls() {
    let Some(database) = empty_database() else {
        return;
    };
    let mut sql = database.connection();
    sql.batch("LISTEN relay").expect("listens");
    assert_eq!(
        sql.notifications(Duration::from_millis(1)).expect("none"),
        []
    );
    database.psql("NOTIFY relay, 'a'");
    let told = sql.notifications(Duration::from_secs(10)).expect("one");
    assert_eq!(told[0].payload, "a");
    database.psql("NOTIFY relay, 'b'");
    sql.one("SELECT 1", &[]).expect("a row");
    let told = sql.notifications(Duration::from_secs(10)).expect("one");
    assert_eq!(
        (told[0].channel.as_str(), told[0].payload.as_str()),
        ("relay", "b")
    );
}
