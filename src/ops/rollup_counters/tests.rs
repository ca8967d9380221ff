use std::time::Duration;

use super::*;

const AT: Timestamp = Timestamp::from_millis(1_000);

fn counters() -> RollupCounters {
    let counters = RollupCounters::new();
    counters.declare(["github", "*"].into_iter(), ["orders"].into_iter());
    counters
}

fn failed(destination: Option<&str>, is_dead: bool, at: Timestamp) -> EndedAttempt<'_> {
    let error = ErrorClass {
        kind: FailureKind::Status,
        status_code: Some(500),
    };
    EndedAttempt {
        destination,
        result: AttemptResult::Failed { is_dead, error },
        at,
    }
}

fn delivered(destination: Option<&str>, at: Timestamp) -> EndedAttempt<'_> {
    EndedAttempt {
        destination,
        result: AttemptResult::Delivered(Duration::from_millis(3)),
        at,
    }
}

fn sorted(mut taken: TakenCounts) -> TakenCounts {
    taken.sources.sort_by(|a, b| a.0.cmp(&b.0));
    taken.destinations.sort_by(|a, b| a.0.cmp(&b.0));
    taken
}

#[test]
fn names_that_senders_choose_share_the_counts_of_the_catch_all() {
    let counters = counters();
    counters.accepted(Surface::Event, "github");
    for number in 0..1000 {
        counters.accepted(Surface::Event, &format!("made-up-{number}"));
    }
    counters.duplicate(Surface::Relay, "order.created");
    counters.refused(Surface::Event, "github");
    let of = |accepted, duplicates, refused| SourceCounts {
        accepted,
        duplicates,
        refused,
    };
    let expected = [
        ("*".to_owned(), of(1000, 0, 0)),
        (RELAYS.to_owned(), of(0, 1, 0)),
        ("github".to_owned(), of(1, 0, 1)),
    ];
    assert_eq!(sorted(counters.take()).sources, expected);
}

#[test]
fn ad_hoc_origins_share_one_row_and_what_was_taken_is_not_taken_again() {
    let counters = counters();
    counters.attempt(delivered(None, AT));
    counters.attempt(failed(None, false, AT));
    counters.attempt(failed(Some("orders"), true, AT));
    let taken = sorted(counters.take()).destinations;
    let numbers: Vec<_> = taken
        .iter()
        .map(|(name, counts)| (name.as_str(), counts.delivered, counts.failed, counts.dead))
        .collect();
    assert_eq!(numbers, [(ADHOC, 1, 1, 0), ("orders", 0, 1, 1)]);
    assert_eq!(counters.take(), TakenCounts::default());
}

#[test]
fn a_success_ends_a_row_of_failures() {
    let counters = counters();
    let at = |seconds| AT.plus(Duration::from_secs(seconds));
    counters.attempt(failed(Some("orders"), false, at(1)));
    counters.attempt(failed(Some("orders"), false, at(2)));
    let health = counters.health()["orders"].clone();
    assert_eq!((health.failing_since, health.failures), (Some(at(1)), 2));
    counters.take();
    counters.attempt(delivered(Some("orders"), at(3)));
    let health = counters.health()["orders"].clone();
    assert_eq!((health.failing_since, health.failures), (None, 0));
    assert_eq!(health.last_success_at, Some(at(3)));
}

#[test]
fn counts_keep_the_name_that_they_were_counted_under_until_they_are_taken() {
    let counters = counters();
    let without = || counters.declare(["stripe"].into_iter(), ["billing"].into_iter());
    counters.accepted(Surface::Event, "github");
    counters.attempt(delivered(Some("orders"), AT));
    without();
    // An attempt that was in flight at the reload.
    counters.attempt(failed(Some("orders"), false, AT));
    // Without a section by now.
    counters.accepted(Surface::Event, "github");
    let taken = sorted(counters.take());
    let sources = taken.sources.iter();
    let sources: Vec<_> = sources
        .map(|(name, of)| (name.as_str(), of.accepted))
        .collect();
    assert_eq!(sources, [("*", 1), ("github", 1)]);
    let [(name, counts)] = &taken.destinations[..] else {
        panic!("one destination: {:?}", taken.destinations);
    };
    assert_eq!(
        (name.as_str(), counts.delivered, counts.failed),
        ("orders", 1, 1)
    );
    assert_eq!(counters.take(), TakenCounts::default());
}

#[test]
fn a_name_that_comes_back_before_its_counts_are_taken_has_one_row() {
    let counters = counters();
    let without = || counters.declare(["stripe"].into_iter(), ["billing"].into_iter());
    let with = || counters.declare(["github"].into_iter(), ["orders"].into_iter());
    for reload in [&without as &dyn Fn(), &with, &without, &with] {
        counters.accepted(Surface::Event, "github");
        counters.attempt(delivered(Some("orders"), AT));
        reload();
    }
    let taken = sorted(counters.take());
    let sources = taken.sources.iter();
    let sources: Vec<_> = sources
        .map(|(name, of)| (name.as_str(), of.accepted))
        .collect();
    assert_eq!(sources, [("*", 2), ("github", 2)]);
    let destinations = taken.destinations.iter();
    let delivered: Vec<_> = destinations
        .map(|(name, of)| (name.as_str(), of.delivered))
        .collect();
    assert_eq!(delivered, [("orders", 4)]);
}
