use std::time::Duration;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn minutes_are_read_while_they_are_kept_and_hours_after_that() {
    let query = |ago: Duration, step| RollupQuery::new(NOW.minus(ago), NOW, step, NOW);
    let of = |ago, step| query(ago, step).map(|query| (query.grain, query.step));
    assert_eq!(of(HOUR, MINUTE), Ok((RollupGrain::Minute, MINUTE)));
    assert_eq!(
        of(HOUR * 24, MINUTE * 15),
        Ok((RollupGrain::Minute, MINUTE * 15))
    );
    // Hours do as well, and are fewer.
    assert_eq!(of(HOUR * 24, HOUR), Ok((RollupGrain::Hour, HOUR)));
    assert_eq!(
        of(HOUR * 72, MINUTE * 15),
        Ok((RollupGrain::Hour, HOUR)),
        "the minutes of three days ago are gone"
    );
    assert_eq!(
        of(HOUR * 72, MINUTE * 90),
        Ok((RollupGrain::Hour, HOUR * 2))
    );
}

#[test]
fn a_step_that_is_longer_than_the_time_keeps_its_length() {
    let day = HOUR * 24;
    let query = RollupQuery::new(NOW.minus(HOUR), NOW, day, NOW).expect("a query");
    assert_eq!(query.step(), day);
}

#[test]
fn a_query_that_makes_no_sense_is_refused() {
    for (from, to, step) in [
        (NOW, NOW, MINUTE),
        (NOW.minus(HOUR), NOW, Duration::from_secs(59)),
        (NOW.minus(HOUR), NOW, Duration::from_secs(90)),
        (NOW.minus(HOUR), NOW, Duration::ZERO),
        (NOW.minus(HOUR * 47), NOW, MINUTE),
    ] {
        let query = RollupQuery::new(from, to, step, NOW);
        assert!(query.is_err(), "{query:?}");
    }
}

#[test]
fn a_query_begins_with_a_step() {
    let from = NOW.minus(Duration::from_secs(3601));
    let query = RollupQuery::new(from, NOW, MINUTE * 5, NOW).expect("a query");
    assert_eq!(query.from().as_millis() % 300_000, 0);
    assert!(query.from() <= from && from.since(query.from()) < MINUTE * 5);
}
