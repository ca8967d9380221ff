use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

fn at(after: Duration) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000).plus(after)
}

fn window(start: u32, end: u32) -> Window {
    Window {
        start: at(HOUR * start),
        end: at(HOUR * end),
    }
}

#[test]
fn a_certificate_is_asked_about_at_once_and_then_as_often_as_the_authority_says() {
    let now = at(Duration::ZERO);
    let mut advice = Advice::on("a.b".to_owned());
    assert!(advice.is_on("a.b") && !advice.is_on("a.c"));
    assert_eq!(
        (advice.wait(now), advice.renew_at()),
        (Duration::ZERO, None)
    );
    advice.take(window(10, 20), 0.5, HOUR * 6, now);
    assert_eq!(advice.renew_at(), Some(at(HOUR * 15)));
    assert_eq!(advice.wait(now), HOUR * 6);
    assert_eq!(advice.wait(at(HOUR * 6)), Duration::ZERO);
    // Bounded, whatever it says, and however far the clock was set back.
    for (said, wait) in [(Duration::ZERO, SHORTEST), (DAY * 400, DAY)] {
        advice.take(window(10, 20), 0.5, said, now);
        assert_eq!(advice.wait(now), wait);
    }
    assert_eq!(advice.wait(Timestamp::from_millis(0)), DAY);
}

#[test]
fn the_time_within_the_window_stays_until_the_window_moves() {
    let now = at(Duration::ZERO);
    let mut advice = Advice::on(String::new());
    advice.take(window(10, 20), 0.5, HOUR, now);
    advice.take(window(10, 20), 0.9, HOUR, now);
    assert_eq!(advice.renew_at(), Some(at(HOUR * 15)));
    // Revoked: the window lies in the past.
    let past = Window {
        start: now.minus(HOUR * 2),
        end: now.minus(HOUR),
    };
    advice.take(past, 0.9, HOUR, now);
    assert!(advice.renew_at().is_some_and(|at| at < now));
    // A window that ends before it begins is no advice.
    let mut advice = Advice::on(String::new());
    advice.take(window(20, 10), 0.5, HOUR, now);
    assert_eq!(advice.renew_at(), None);
}

#[test]
fn a_question_that_fails_is_repeated_within_the_hour_and_keeps_the_advice() {
    let now = at(Duration::ZERO);
    let mut advice = Advice::on(String::new());
    advice.take(window(10, 20), 0.5, HOUR, now);
    assert!(advice.fail(None, now), "the first of a series is told");
    assert_eq!(advice.wait(now), HOUR);
    assert_eq!(advice.renew_at(), Some(at(HOUR * 15)));
    assert!(!advice.fail(Some(HOUR * 3), now));
    assert_eq!(advice.wait(now), HOUR * 3);
    advice.is_not_given(now);
    assert_eq!(advice.wait(now), DAY);
    assert!(advice.fail(None, now));
}

proptest! {
    #[test]
    fn the_time_lies_within_the_window_and_the_wait_within_its_bounds(
        start in 0_u64..10_000_000_000,
        length in 0_u64..10_000_000_000,
        chance in 0.0..=1.0_f64,
        again in 0_u64..10_000_000_000,
    ) {
        let now = at(HOUR * 1000);
        let window = Window {
            start: at(Duration::from_millis(start)),
            end: at(Duration::from_millis(start + length)),
        };
        let mut advice = Advice::on(String::new());
        advice.take(window, chance, Duration::from_secs(again), now);
        let renewed = advice.renew_at().expect("a time");
        prop_assert!(window.start <= renewed && renewed <= window.end);
        prop_assert!(advice.wait(now) >= SHORTEST && advice.wait(now) <= LONGEST);
    }
}
