//! Moves there and back. Without a server of PostgreSQL they are skipped, which the engine's tests
//! say.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use proptest::prelude::*;

use super::{abandon_move, move_store};
use crate::clock::SystemClock;
use crate::config;
use crate::model::OrderKey;
use crate::store::conformance::NewStore;
use crate::store::conformance::same_states::{Operation, Outcome, Run, operations};
use crate::store::conformance::scene::event_to;
use crate::store::move_error::MoveError;
use crate::store::types::{MoveProgress, MoveReport};
use crate::store::{Operator, Store, postgres, sqlite};

fn new_postgres() -> Option<NewStore> {
    postgres::tests::new_store()
}

fn new_file() -> NewStore {
    sqlite::tests::new_store()
}

fn moved(from: &config::Database, to: &config::Database) -> Result<MoveReport, MoveError> {
    move_store(from, to, &config::Node::default(), &|_| {})
}

fn rows(report: &MoveReport, table: &str) -> u64 {
    let tables = report.tables.as_ref().expect("they were copied");
    let found = tables.iter().find(|counted| counted.table == table);
    found.expect("a table").rows
}

/// A copy of a file that was stopped.
fn copy_of(from: &config::Database) -> NewStore {
    let copy = new_file();
    for ending in ["", ".lock"] {
        let with = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(ending);
            name
        };
        let copied = std::fs::copy(with(&from.path), with(&copy.settings.path));
        copied.expect("a copy");
    }
    copy
}

/// Makes the same on two stores, and compares answers and states.
fn compare(one: &mut Run, other: &mut Run, operations: &[Operation]) {
    assert_eq!(one.states(), other.states(), "after the move");
    for (at, operation) in operations.iter().enumerate() {
        let answers = (one.make(operation), other.make(operation));
        let step = format!("after the move and {:#?}", &operations[..=at]);
        assert_eq!(answers.0, answers.1, "the answers, {step}");
        assert_eq!(one.states(), other.states(), "the states, {step}");
    }
}

/// Fills a file, moves it to PostgreSQL, goes on there and beside in a copy of the file, and moves
/// that back.
fn there_and_back(first: &[Operation], second: &[Operation], third: &[Operation]) {
    let Some(server) = new_postgres() else {
        return;
    };
    let to = server.settings.clone();
    let mut filled = Run::new(new_file());
    for operation in first {
        filled.make(operation);
    }
    filled.scene.stop();
    let copy = copy_of(filled.scene.settings());
    moved(filled.scene.settings(), &to).expect("a move");
    let (mut moved_run, mut stayed) = (filled.in_other(server), filled.in_other(copy));
    compare(&mut stayed, &mut moved_run, second);
    moved_run.scene.stop();
    let back = new_file();
    moved(&to, &back.settings).expect("a move back");
    let unchecked = Operator::reading(&back.settings)
        .expect("a store")
        .count_unchecked();
    assert_eq!(
        unchecked.expect("a count"),
        0,
        "each payload has a checksum"
    );
    let mut back = moved_run.in_other(back);
    stayed.restart();
    compare(&mut stayed, &mut back, third);
    back.scene.stop();
    stayed.scene.stop();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_random_store_is_the_same_there_and_back(
        first in operations(), second in operations(), third in operations()
    ) {
        there_and_back(&first, &second, &third);
    }
}

/// One of each kind: keys, lines, dead letters, claims, an erased event, a discarded one, a pause.
fn everything() -> Vec<Operation> {
    use Operation::{Accept, Claim, Discard, End, Erase, Pause, Reroute, Retry, Wait};

    let accept = |to, key, line| Accept { to, key, line };
    vec![
        accept(1, Some(0), None),
        accept(1, Some(1), Some(0)),
        accept(1, None, Some(0)),
        accept(3, Some(2), Some(1)),
        accept(0, Some(3), None),
        Claim(0),
        End(0, Outcome::Delivered),
        End(0, Outcome::Dead(crate::model::OnDead::Block)),
        Wait(10),
        accept(2, None, None),
        accept(2, None, None),
        Claim(1),
        End(0, Outcome::Retried(30)),
        End(0, Outcome::Dead(crate::model::OnDead::Skip)),
        Erase(0),
        Discard(5),
        Retry(6),
        Reroute(6, 1, 2),
        accept(4, None, None),
        Pause(1),
        accept(4, None, None),
        Claim(2),
    ]
}

#[test]
fn a_store_with_everything_goes_on_there_and_back() {
    let again = |to, key| Operation::Accept {
        to,
        key: Some(key),
        line: None,
    };
    // The keys name what they named, the erased event's too.
    let second = [
        again(1, 0),
        again(1, 1),
        again(3, 2),
        again(1, 3),
        Operation::Claim(0),
        Operation::Claim(2),
        Operation::End(0, Outcome::Delivered),
        Operation::ReplayAll,
        Operation::Resume(1),
        Operation::Claim(1),
    ];
    there_and_back(&everything(), &second, &second);
}

/// A stopped file with everything.
fn filled() -> Run {
    let mut run = Run::new(new_file());
    for operation in everything() {
        run.make(&operation);
    }
    run.scene.stop();
    run
}

fn is_refused(settings: &config::Database, why: &str) {
    let context = sqlite::tests::context(std::sync::Arc::new(SystemClock::new()));
    let opened = Store::open(settings, std::time::Duration::from_secs(60), context);
    let error = opened.err().expect("it is refused").to_string();
    assert!(error.contains(why), "{error}");
    let error = Operator::writing(settings)
        .err()
        .expect("refused")
        .to_string();
    assert!(error.contains(why), "{error}");
}

/// Ends a move after so many steps, as abruptly as a thread can; false if it came to its end.
fn interrupted(from: &config::Database, to: &config::Database, after: usize) -> bool {
    let steps = Cell::new(0);
    let run = || {
        move_store(from, to, &config::Node::default(), &|_| {
            steps.set(steps.get() + 1);
            assert!(steps.get() <= after, "interrupted");
        })
        .map(|_| ())
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(made) => {
            made.expect("a move");
            false
        }
        Err(_) => true,
    }
}

/// Interrupts moves at each step, and begins again.
fn interrupt_at_each_step(from: &config::Database, to: &config::Database) {
    let mut after = 0;
    while interrupted(from, to, after) {
        is_refused(to, "isn't finished");
        after += 1;
    }
    assert!(after > 12, "{after} steps");
    is_refused(from, "was moved to");
}

#[test]
fn a_move_that_is_interrupted_at_any_step_is_begun_again() {
    let Some(server) = new_postgres() else {
        return;
    };
    let to = server.settings.clone();
    let filled = filled();
    let states = {
        let copy = filled.in_other(copy_of(filled.scene.settings()));
        let states = copy.states();
        copy.scene.stop();
        states
    };
    interrupt_at_each_step(filled.scene.settings(), &to);
    let there = filled.in_other(server);
    assert_eq!(there.states(), states);
    there.scene.stop();
    let back = new_file();
    interrupt_at_each_step(&to, &back.settings);
    let back = there.in_other(back);
    assert_eq!(back.states(), states);
    back.scene.stop();
}

#[test]
fn until_the_target_is_complete_the_source_can_be_served() {
    let Some(server) = new_postgres() else {
        return;
    };
    let filled = filled();
    let from = filled.scene.settings();
    let last = Cell::new(None);
    let end = |step: MoveProgress| {
        last.set(Some(step));
        assert!(step != MoveProgress::Completed, "interrupted");
    };
    let run = || move_store(from, &server.settings, &config::Node::default(), &end).map(|_| ());
    assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
    assert_eq!(last.get(), Some(MoveProgress::Completed));
    is_refused(&server.settings, "isn't finished");
    let again = filled.in_other(NewStore {
        settings: from.clone(),
        check: |_| {},
        _guard: Box::new(()),
    });
    again.scene.accept(event_to(&["a"]));
    again.scene.stop();
    let report = moved(from, &server.settings).expect("a move");
    assert_eq!(rows(&report, "intents"), 10);
}

#[test]
fn after_the_source_has_left_only_the_target_s_mark_is_removed() {
    let Some(server) = new_postgres() else {
        return;
    };
    let filled = filled();
    let from = filled.scene.settings();
    let end = |step| assert!(step != MoveProgress::Left, "interrupted");
    let run = || move_store(from, &server.settings, &config::Node::default(), &end).map(|_| ());
    assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
    is_refused(from, "was moved to");
    is_refused(&server.settings, "isn't finished");
    let other = new_postgres().expect("a server");
    let elsewhere = moved(from, &other.settings).expect_err("it was moved");
    assert!(
        elsewhere
            .to_string()
            .contains("isn't the rest of that move")
    );
    let report = moved(from, &server.settings).expect("the rest of the move");
    assert_eq!(report.tables, None);
    let again = moved(from, &server.settings).expect_err("it was moved");
    assert!(
        again.to_string().contains("that move is finished"),
        "{again}"
    );
    let there = filled.in_other(server);
    there.scene.accept(event_to(&["a"]));
    there.scene.stop();
}

#[test]
fn a_move_is_refused_beside_a_server_and_to_a_store_with_content() {
    let Some(server) = new_postgres() else {
        return;
    };
    let file = Run::new(new_file());
    let from = file.scene.settings().clone();
    let refused = moved(&from, &server.settings).expect_err("it is served");
    assert!(matches!(refused, MoveError::Served { .. }), "{refused}");
    file.scene.stop();
    let to = server.settings.clone();
    let there = Run::new(server);
    let refused = moved(&to, &new_file().settings).expect_err("it is served");
    assert!(matches!(refused, MoveError::Served { .. }), "{refused}");
    let refused = moved(&from, &to).expect_err("it is served");
    assert!(matches!(refused, MoveError::Served { .. }), "{refused}");
    there.scene.accept(event_to(&[]));
    there.scene.stop();
    let refused = moved(&from, &to).expect_err("it has an event");
    assert!(matches!(refused, MoveError::NotEmpty { .. }), "{refused}");
    let filled = filled();
    let refused = moved(&to, filled.scene.settings()).expect_err("it has events");
    assert!(matches!(refused, MoveError::NotEmpty { .. }), "{refused}");
    for (one, other) in [(&from, filled.scene.settings()), (&to, &to)] {
        let refused = moved(one, other).expect_err("one engine").to_string();
        assert!(refused.contains("isn't moved to a"), "{refused}");
    }
}

#[test]
fn an_abandoned_move_leaves_the_source_servable_and_the_target_empty() {
    let Some(server) = new_postgres() else {
        return;
    };
    let to = server.settings.clone();
    let filled = filled();
    let from = filled.scene.settings().clone();
    assert!(interrupted(&from, &to, 4));
    abandon_move(&to).expect("it is unfinished");
    let nothing = abandon_move(&to).expect_err("it is empty");
    assert!(
        matches!(nothing, MoveError::NothingToAbandon { .. }),
        "{nothing}"
    );
    moved(&from, &to).expect("a move");
    is_refused(&from, "was moved to");
    abandon_move(&from).expect("it was moved");
    drop(Operator::writing(&from).expect("it can be used"));
    // Back again, and given up on that side.
    let back = new_file();
    assert!(interrupted(&to, &back.settings, 4));
    is_refused(&back.settings, "isn't finished");
    abandon_move(&back.settings).expect("it is unfinished");
    assert!(!back.settings.path.exists());
    moved(&to, &back.settings).expect("a move");
    is_refused(&to, "was moved to");
    abandon_move(&to).expect("it was moved");
    let there = filled.in_other(server);
    there.scene.accept(event_to(&["a"]));
    there.scene.stop();
}

#[test]
fn a_node_that_wakes_up_after_a_move_records_nothing() {
    let Some(server) = new_postgres() else {
        return;
    };
    let to = server.settings.clone();
    let run = Run::new(server);
    run.scene.accept(event_to(&["a"]));
    // The others think that it is dead.
    let url = to.url.clone().expect("a URL");
    postgres::tests::let_nodes_lapse(url.reveal());
    let back = new_file();
    match moved(&to, &back.settings) {
        Ok(_) => {
            let accepted = run.scene.try_accept(event_to(&["a"]));
            assert!(accepted.is_err(), "{accepted:?}");
        }
        // Its heartbeat came in between.
        Err(error) => assert!(matches!(error, MoveError::Served { .. }), "{error}"),
    }
}

#[test]
fn a_file_goes_on_by_the_clock_of_the_server_that_it_came_from() {
    let Some(server) = new_postgres() else {
        return;
    };
    let filled = filled();
    moved(filled.scene.settings(), &server.settings).expect("a move");
    let (to, there) = (server.settings.clone(), filled.in_other(server));
    there.scene.stop();
    let back = new_file();
    moved(&to, &back.settings).expect("a move back");
    let now = Operator::reading(&back.settings).expect("a store").now();
    let expected = there.scene.now();
    let difference = now.as_millis().abs_diff(expected.as_millis());
    assert!(difference < 60_000, "{now} and {expected}");
}

/// 99 events of 128 KiB and one of 20 MiB: more than one batch.
#[test]
fn large_payloads_are_moved_some_at_a_time() {
    let Some(server) = new_postgres() else {
        return;
    };
    let run = Run::new(new_file());
    let mut ids = Vec::new();
    for at in 0..100_u8 {
        let mut event = event_to(&["a"]);
        event.body = vec![at; if at == 50 { 20 << 20 } else { 128 << 10 }].into();
        event.order_keys = vec![(0, OrderKey::from_number(1))];
        ids.push(run.scene.accept(event));
    }
    run.scene.stop();
    let batches = Cell::new(0);
    let count = |step| {
        if matches!(
            step,
            MoveProgress::Copied {
                table: "intents",
                ..
            }
        ) {
            batches.set(batches.get() + 1);
        }
    };
    let node = config::Node::default();
    let from = run.scene.settings();
    move_store(from, &server.settings, &node, &count).expect("a move");
    assert!(batches.replace(0) >= 4);
    let back = new_file();
    let report = move_store(&server.settings, &back.settings, &node, &count);
    assert_eq!(rows(&report.expect("a move back"), "intents"), 100);
    assert!(batches.get() >= 4);
    let back = run.in_other(back);
    for (at, id) in (0_u8..).zip(ids) {
        let stored = back.scene.intent(id).expect("it is there");
        assert!(stored.payload.iter().all(|byte| *byte == at));
    }
    back.scene.stop();
}
