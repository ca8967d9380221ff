use super::*;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn ten_consecutive_failures_open_it_and_failed_probes_double_the_wait() {
    let mut breaker = Breaker::new(BreakerRules::default());
    for n in 0..9 {
        // Far apart, so that the window stays below min_attempts.
        assert_eq!(breaker.note(Health::Failing, at(n * 1000)), None);
    }
    assert_eq!(breaker.admits(at(8000), 5), Ok(()));
    let mut now = 9000;
    assert_eq!(
        breaker.note(Health::Failing, at(now)),
        Some(BreakerChange::Open(at(30)))
    );
    for wait in [30, 60, 120, 240, 480, 600, 600] {
        assert_eq!(breaker.admits(at(now), 0), Err(Some(at(wait))));
        // An attempt that was in flight when it opened changes nothing.
        assert_eq!(breaker.note(Health::Failing, at(now + 1)), None);
        now += wait;
        assert_eq!(breaker.admits(at(now), 0), Ok(()));
        assert_eq!(breaker.admits(at(now), 1), Err(None), "one probe at a time");
        let next = at((wait * 2).min(600));
        assert_eq!(
            breaker.note(Health::Failing, at(now)),
            Some(BreakerChange::Open(next))
        );
    }
    assert_eq!(
        breaker.note(Health::Well, at(now)),
        Some(BreakerChange::Closed)
    );
    assert_eq!(breaker.admits(at(now), 7), Ok(()));
    // Closing resets the counts.
    assert_eq!(breaker.note(Health::Failing, at(now)), None);
}

#[test]
fn a_high_ratio_of_failures_opens_it() {
    let mut breaker = Breaker::new(BreakerRules::default());
    // Seven of ten fail, at most three consecutively.
    let pattern = [1, 0, 0, 1, 0, 0, 1, 0, 0, 0];
    let changes: Vec<_> = (0..)
        .zip(pattern)
        .map(|(n, well)| {
            let health = if well == 1 {
                Health::Well
            } else {
                Health::Failing
            };
            breaker.note(health, SECOND * n)
        })
        .collect();
    assert_eq!(changes[..9], [None; 9]);
    assert_eq!(changes[9], Some(BreakerChange::Open(at(30))));
    // The same ratio with too few attempts within the window opens nothing.
    let mut breaker = Breaker::new(BreakerRules::default());
    for (n, well) in (0..).zip(pattern.iter().cycle().take(100)) {
        let health = if *well == 1 {
            Health::Well
        } else {
            Health::Failing
        };
        assert_eq!(breaker.note(health, at(n * 60)), None);
    }
}

#[test]
fn an_inconclusive_probe_is_repeated_after_the_same_wait() {
    let mut breaker = Breaker::new(BreakerRules::default());
    breaker.reopen(at(0), Duration::ZERO, at(120));
    assert_eq!(breaker.admits(at(0), 0), Ok(()));
    let again = Some(BreakerChange::Open(at(120)));
    assert_eq!(breaker.note(Health::Unknown, at(0)), again);
    assert_eq!(breaker.admits(at(1), 0), Err(Some(at(119))));
    // An inconclusive attempt that began before the probe was due changes nothing.
    assert_eq!(breaker.note(Health::Unknown, at(1)), None);
}

#[test]
fn a_restored_wait_is_capped() {
    let mut breaker = Breaker::new(BreakerRules::default());
    breaker.reopen(at(5), Duration::MAX, Duration::MAX);
    assert_eq!(breaker.admits(at(5), 0), Err(Some(at(600))));
    breaker.reopen(at(5), Duration::ZERO, at(60));
    assert_eq!(breaker.admits(at(5), 0), Ok(()));
}

proptest! {
    #[test]
    fn an_attempt_is_always_admitted_within_the_cap(
        events in prop::collection::vec((0u64..400, prop_oneof![
            Just(Health::Well), Just(Health::Failing), Just(Health::Unknown)
        ]), 0..200),
    ) {
        let rules = BreakerRules::default();
        let mut breaker = Breaker::new(rules);
        let mut now = Duration::ZERO;
        for (pass, health) in events {
            now += at(pass);
            let was_open = breaker.is_open();
            let change = breaker.note(health, now);
            match change {
                Some(BreakerChange::Open(wait)) => {
                    prop_assert!(health != Health::Well && breaker.is_open());
                    prop_assert!(was_open || health == Health::Failing);
                    prop_assert!(wait >= rules.probe_after && wait <= rules.probe_cap);
                }
                Some(BreakerChange::Closed) => {
                    prop_assert!(health == Health::Well && was_open && !breaker.is_open());
                }
                None => prop_assert_eq!(was_open, breaker.is_open()),
            }
            if let Err(wait) = breaker.admits(now, 0) {
                let wait = wait.expect("no attempt is in flight");
                prop_assert!(wait <= rules.probe_cap);
                prop_assert_eq!(breaker.admits(now + wait, 0), Ok(()));
            }
            if health == Health::Well {
                prop_assert!(!breaker.is_open());
            }
        }
    }
}

#[test]
fn a_probe_is_brought_forward_once_and_never_put_off() {
    let mut breaker = Breaker::new(BreakerRules::default());
    let second = Duration::from_secs(1);
    breaker.bring_probe_forward(second);
    assert!(!breaker.is_open());
    breaker.reopen(Duration::ZERO, second * 30, second * 30);
    breaker.bring_probe_forward(second * 60);
    assert_eq!(breaker.admits(second * 10, 0), Err(Some(second * 20)));
    breaker.bring_probe_forward(second * 10);
    assert_eq!(breaker.admits(second * 10, 0), Ok(()));
    assert_eq!(breaker.admits(second * 10, 1), Err(None), "one at a time");
    // It fails, and the next one waits twice as long as the last one would have.
    let change = breaker.note(Health::Failing, second * 11);
    assert_eq!(change, Some(BreakerChange::Open(second * 60)));
    assert_eq!(breaker.admits(second * 12, 0), Err(Some(second * 59)));
}
