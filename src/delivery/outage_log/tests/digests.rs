//! Failures and dead letters that are no outage.

use super::*;

#[test]
fn five_percent_failures_are_no_outage_and_all_are_counted() {
    for rules in [None, Some(BreakerRules::default())] {
        let mut scene = Scene::new();
        let mut to = To::orders(rules);
        let mut ends = percent(5);
        let (mut failures, attempts) = (0, 600_000);
        for n in 0..attempts {
            let ends = ends(n);
            failures += u64::from(ends == Ends::Fails);
            scene.attempt(&mut to, ends);
            scene.wait(Duration::from_millis(1), &mut to);
        }
        scene.wait(2 * DIGEST_EVERY, &mut to);
        let lines = scene.lines();
        // The first failure, and two digests of five minutes each.
        assert_eq!(lines.len(), 3, "{lines:?}");
        let is_digest = |line: &&Line| matches!(line, Line::Failure { .. } | Line::Failures { .. });
        assert!(lines.iter().all(is_digest), "{lines:?}");
        assert_eq!(scene.counted(), (failures, 0));
    }
}

#[test]
fn a_refused_event_is_a_dead_letter_and_no_outage() {
    for rules in all_rules() {
        let mut scene = Scene::new();
        let mut to = To::orders(rules);
        scene.attempt(&mut to, Ends::Refused);
        assert_eq!(
            scene.lines(),
            [&Line::DeadLetter {
                event_id: String::new(),
                attempt: 1,
                last_error: "answered 422".to_owned(),
            }]
        );
        // Many of them are no outage either.
        for _ in 0..100 {
            scene.attempt(&mut to, Ends::Refused);
        }
        scene.wait(DIGEST_EVERY, &mut to);
        assert_eq!(
            scene.lines()[1..],
            [&Line::DeadLetters {
                dead_letters: 100,
                seconds: 300,
                last_error: "answered 422".to_owned(),
            }]
        );
    }
}

#[test]
fn a_failure_inside_relay_is_logged_once_as_an_error_with_its_cause() {
    for rules in all_rules() {
        let mut scene = Scene::new();
        let mut to = To::orders(rules);
        for _ in 0..1_000 {
            scene.attempt(&mut to, Ends::Lost);
        }
        assert_eq!(
            scene.lines(),
            [&Line::Failure {
                is_internal: true,
                event_id: String::new(),
                attempt: 1,
                last_error: "page 7 is damaged".to_owned(),
            }]
        );
    }
}
