use proptest::prelude::*;

use super::*;
use crate::ops::notices::Renewer;

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
        assert_eq!(
            tries.wait(validity, None, at(DAY)),
            DAY * (renewed_after - 1)
        );
        assert_eq!(tries.wait(validity, None, at(DAY * days)), Duration::ZERO);
    }
    assert_eq!(
        Tries::default().wait(None, None, at(Duration::ZERO)),
        Duration::ZERO
    );
}

#[test]
fn a_renewal_has_a_twelfth_of_the_lifetime_before_it_is_late() {
    for days in [1, 6, 43, 45, 90, 365] {
        let validity = valid_for(days);
        let is_late = |after| validity.is_expiring(Renewer::Relay, renew_at(validity).plus(after));
        assert!(!is_late(HOUR * days * 2), "{days}");
        assert!(is_late(DAY * days / 3), "{days}");
    }
}

#[test]
fn failures_are_repeated_after_a_minute_and_then_ever_later_up_to_six_hours() {
    let mut tries = Tries::default();
    let mut waits = Vec::new();
    for _ in 0..12 {
        tries.begin(at(Duration::ZERO));
        tries.fail(Failure::Ordinary);
        waits.push(tries.wait(None, None, at(Duration::ZERO)).as_secs() / 60);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360, 360]);
    tries.succeed();
    tries.begin(at(Duration::ZERO));
    tries.fail(Failure::Limited(None));
    assert_eq!(tries.wait(None, None, at(MINUTE)), MINUTE * 59);
}

#[test]
fn a_rate_limit_is_waited_for_as_long_as_the_authority_says_and_a_week_at_most() {
    for (said, wait) in [
        (MINUTE * 5, MINUTE * 5),
        (DAY * 2, DAY * 2),
        (DAY * 400, DAY * 7),
    ] {
        let mut tries = Tries::default();
        tries.begin(at(Duration::ZERO));
        tries.fail(Failure::Limited(Some(said)));
        // Over a restart, too.
        let stored = serde_json::to_string(&tries).expect("JSON");
        let mut tries: Tries = serde_json::from_str(&stored).expect("its own JSON");
        assert_eq!(tries.wait(None, None, at(Duration::ZERO)), wait);
        // The next failure is an ordinary one.
        tries.begin(at(DAY * 7));
        assert_eq!(tries.wait(None, None, at(DAY * 7)), MINUTE * 2);
    }
    // Never less than after any other failure.
    let mut tries = Tries::default();
    tries.begin(at(Duration::ZERO));
    tries.fail(Failure::Limited(Some(Duration::ZERO)));
    assert_eq!(tries.wait(None, None, at(Duration::ZERO)), MINUTE);
}

#[test]
fn advice_makes_a_renewal_earlier_and_never_later_nor_again_and_again() {
    let validity = Some(valid_for(90));
    let tries = Tries::default();
    let now = at(DAY * 10);
    assert_eq!(tries.wait(validity, Some(at(DAY * 30)), now), DAY * 20);
    assert_eq!(tries.wait(validity, Some(at(DAY)), now), Duration::ZERO);
    assert_eq!(tries.wait(validity, Some(at(DAY * 80)), now), DAY * 50);
    // Of a certificate that has just come.
    let now = at(HOUR);
    assert_eq!(
        tries.wait(validity, Some(at(Duration::ZERO)), now),
        HOUR * 5
    );
    // A failure of the renewal is repeated as any other.
    let mut tries = Tries::default();
    tries.begin(at(DAY));
    assert_eq!(
        tries.wait(validity, Some(at(Duration::ZERO)), at(DAY)),
        MINUTE
    );
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
        assert_eq!(next.wait(None, None, at(Duration::ZERO)), MINUTE * wait);
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
    assert_eq!(tries.wait(Some(validity), None, at(DAY * 365)), HOUR * 6);
    // Set back: the try lies in the future, and the certificate decides.
    assert_eq!(tries.wait(Some(validity), None, at(DAY)), DAY * 59);
    assert_eq!(tries.wait(None, None, at(DAY)), Duration::ZERO);
}

proptest! {
    #[test]
    fn a_wait_is_bounded_and_none_is_shorter_than_the_pause(
        ends in prop::collection::vec(0..5, 1..60),
        step in 0_u64..100_000_000,
    ) {
        let mut tries = Tries::default();
        let mut now = at(Duration::ZERO);
        for end in ends {
            tries.begin(now);
            match end {
                0 => tries.succeed(),
                1 => tries.fail(Failure::Ordinary),
                2 => tries.fail(Failure::Limited(None)),
                3 => tries.fail(Failure::Limited(Some(Duration::from_millis(step)))),
                _ => tries.fail(Failure::OutOfTime),
            }
            let wait = tries.wait(None, None, now);
            prop_assert!(wait >= MINUTE && wait <= DAY * 7, "{wait:?}");
            now = now.plus(Duration::from_millis(step));
        }
    }
}
