use super::slewed::{SLEW, SlewedClock, nanos};
use std::time::Duration;

use super::*;

#[test]
fn timestamps_are_rfc_3339_in_utc_with_milliseconds() {
    assert_eq!(
        Timestamp::from_millis(1_700_000_000_007).to_string(),
        "2023-11-14T22:13:20.007Z"
    );
    assert_eq!(
        Timestamp::from_millis(0).to_string(),
        "1970-01-01T00:00:00.000Z"
    );
}

#[test]
fn arithmetic_saturates() {
    let end = Timestamp::from_millis(i64::MAX);
    assert_eq!(end.plus(Duration::MAX), end);
    assert_eq!(Timestamp::from_millis(5).since(end), Duration::ZERO);
    assert!(end.to_string().starts_with("9999-12-30"));
}

#[test]
fn a_fake_clock_advances_only_when_told_and_runs_the_registered_calls() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    let clock = FakeClock::at(Timestamp::from_millis(1_000));
    let calls = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&calls);
    clock.on_jump(Box::new(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    }));
    clock.advance(Duration::from_secs(2));
    clock.set_wall(Timestamp::from_millis(500));
    assert_eq!(clock.wall(), Timestamp::from_millis(500));
    assert_eq!(clock.now(), Timestamp::from_millis(3_000));
    assert_eq!(clock.monotonic(), Duration::from_secs(2));
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

const SECOND: i64 = 1_000_000_000;
const YEAR: i64 = 365 * 24 * 3600 * SECOND;

#[test]
fn a_jump_of_the_wall_clock_is_followed_slowly_and_reported_once() {
    for jump in [7_200 * SECOND, -7_200 * SECOND, 10 * YEAR, -10 * YEAR] {
        let start = 50 * YEAR;
        let mut clock = SlewedClock::starting_at(start);
        assert_eq!(clock.follow(SECOND, start + SECOND), (start + SECOND, None));
        let (mut now, jumped) = clock.follow(SECOND, start + SECOND + jump);
        assert_eq!((now, jumped), (start + SECOND, Some(jump)));
        // Within an hour it gains or loses 5 %, in the direction of the jump.
        for second in 2..=3_601 {
            let wall = start + second * SECOND + jump;
            let (next, jumped) = clock.follow(second * SECOND, wall);
            assert_eq!(jumped, None);
            assert!(next > now);
            now = next;
        }
        let passed = now - start - SECOND;
        assert_eq!(passed, (3_600 + 180 * jump.signum()) * SECOND);
    }
}

#[test]
fn a_small_difference_is_made_up_at_once_and_never_overshot() {
    let mut clock = SlewedClock::starting_at(0);
    let (now, jumped) = clock.follow(SECOND, SECOND + SECOND / 100);
    assert_eq!((now, jumped), (SECOND + SECOND / 100, None));
    // A difference of a minute is made up within twenty minutes.
    clock.follow(2 * SECOND, 62 * SECOND);
    let (now, _) = clock.follow(1_202 * SECOND, 1_262 * SECOND);
    assert_eq!(now, 1_262 * SECOND);
}

#[test]
fn the_systems_clock_agrees_with_the_wall_clock_unless_it_is_set() {
    let clock = SystemClock::new();
    let apart = clock.now().as_millis().abs_diff(clock.wall().as_millis());
    assert!(apart < 60_000, "{apart} ms");
}

#[test]
fn a_clock_that_follows_another_begins_there_and_is_drawn_slowly_later() {
    const HOUR: i64 = 3_600_000;
    let clock = SystemClock::new();
    let system = clock.wall().as_millis();
    let reference = system * 1_000_000 - nanos(SystemClock::boot_time());
    for ahead in [HOUR, 2 * HOUR] {
        clock.follow(reference + ahead * 1_000_000);
        let wall = clock.wall().as_millis() - system;
        assert!((ahead..ahead + 60_000).contains(&wall), "{wall}");
        let now = clock.now().as_millis() - system;
        assert!((HOUR..HOUR + 60_000).contains(&now), "{now}");
    }
    assert!(clock.ahead() < -3_500_000, "{}", clock.ahead());
}

proptest::proptest! {
    #[test]
    fn time_never_overflows_nor_goes_back(
        resumed: (i64, i64, i64),
        readings in proptest::collection::vec(proptest::prelude::any::<(i64, i64)>(), 1..20)
    ) {
        let (elapsed, wall, mut now) = resumed;
        let mut clock = SlewedClock::starting_at(wall);
        clock.resume(elapsed, wall, now);
        for (elapsed, wall) in readings {
            let (next, _) = clock.follow(elapsed, wall);
            proptest::prop_assert!(next >= now);
            now = next;
            clock.ahead();
        }
    }

    #[test]
    fn time_never_goes_back_nor_strays_from_real_time(
        steps in proptest::collection::vec((0..10 * SECOND, -20 * YEAR..20 * YEAR), 1..50)
    ) {
        let mut clock = SlewedClock::starting_at(30 * YEAR);
        let mut elapsed = 0;
        let mut now = 30 * YEAR;
        for (passed, wall) in steps {
            elapsed += passed;
            let (next, _) = clock.follow(elapsed, 30 * YEAR + wall);
            let advance = next - now;
            proptest::prop_assert!(advance >= passed - passed / SLEW);
            proptest::prop_assert!(advance <= passed + passed / SLEW);
            now = next;
        }
    }
}
