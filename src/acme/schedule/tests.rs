use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

fn at(after: Duration) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000).plus(after)
}

fn valid_for(days: u32) -> Validity {
    Validity {
        not_before: at(Duration::ZERO),
        not_after: at(DAY * days),
    }
}

#[test]
fn a_certificate_is_renewed_with_a_third_of_its_lifetime_left() {
    let mut tries = Tries::default();
    tries.begin(at(Duration::ZERO));
    tries.succeed();
    for (days, renewed_after) in [(90, 60), (6, 4), (3, 2)] {
        let validity = Some(valid_for(days));
        assert_eq!(tries.wait(validity, at(DAY)), DAY * (renewed_after - 1));
        assert_eq!(tries.wait(validity, at(DAY * days)), Duration::ZERO);
    }
    assert_eq!(
        Tries::default().wait(None, at(Duration::ZERO)),
        Duration::ZERO
    );
}

#[test]
fn failures_are_repeated_after_a_minute_and_then_ever_later_up_to_six_hours() {
    let mut tries = Tries::default();
    let mut waits = Vec::new();
    for _ in 0..12 {
        tries.begin(at(Duration::ZERO));
        tries.fail(Failure::Ordinary);
        waits.push(tries.wait(None, at(Duration::ZERO)).as_secs() / 60);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360, 360]);
    tries.succeed();
    tries.begin(at(Duration::ZERO));
    tries.fail(Failure::Limited);
    assert_eq!(tries.wait(None, at(MINUTE)), MINUTE * 59);
}

#[test]
fn a_process_that_ends_in_each_try_waits_as_after_failures() {
    let mut stored = serde_json::to_string(&Tries::default()).expect("JSON");
    for wait in [1, 2, 4, 8] {
        let mut tries: Tries = serde_json::from_str(&stored).expect("its own JSON");
        tries.begin(at(Duration::ZERO));
        stored = serde_json::to_string(&tries).expect("JSON");
        // Started again at once.
        let next: Tries = serde_json::from_str(&stored).expect("its own JSON");
        assert_eq!(next.wait(None, at(Duration::ZERO)), MINUTE * wait);
    }
}

#[test]
fn a_clock_that_is_off_asks_for_no_certificate_after_the_other() {
    let validity = valid_for(90);
    assert!(is_in_time(validity, at(DAY)));
    assert!(!is_in_time(validity, at(DAY * 61)) && !is_in_time(validity, at(DAY * 365)));
    let before = Timestamp::from_millis(0);
    assert!(!is_in_time(validity, before));
    let mut tries = Tries::default();
    tries.begin(at(DAY * 365));
    tries.fail(Failure::OutOfTime);
    assert_eq!(tries.wait(Some(validity), at(DAY * 365)), HOUR * 6);
    // Set back: the try lies in the future, and the certificate decides.
    assert_eq!(tries.wait(Some(validity), at(DAY)), DAY * 59);
    assert_eq!(tries.wait(None, at(DAY)), Duration::ZERO);
}

proptest! {
    #[test]
    fn a_wait_is_bounded_and_none_is_shorter_than_the_pause(
        ends in prop::collection::vec(0..4, 1..60),
        step in 0_u64..100_000_000,
    ) {
        let mut tries = Tries::default();
        let mut now = at(Duration::ZERO);
        for end in ends {
            tries.begin(now);
            match end {
                0 => tries.succeed(),
                1 => tries.fail(Failure::Ordinary),
                2 => tries.fail(Failure::Limited),
                _ => tries.fail(Failure::OutOfTime),
            }
            let wait = tries.wait(None, now);
            prop_assert!(wait >= MINUTE && wait <= HOUR * 6, "{wait:?}");
            now = now.plus(Duration::from_millis(step));
        }
    }
}
