mod scene;

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use self::scene::{Ends, Scene, To};
use super::*;
use crate::delivery::outage_log::adhoc::{LINES, WINDOW};
use crate::delivery::outage_log::counts::DIGEST_EVERY;
use crate::delivery::outage_log::destination::Rule;
use crate::model::BreakerRules;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// The bound of the module's documentation: the beginning and the end of an outage, a digest of
/// failures, and one of dead letters.
const LINES_A_MINUTE: usize = 4;

fn hair_trigger() -> BreakerRules {
    BreakerRules {
        failures: 1,
        probe_after: Duration::from_millis(1),
        probe_cap: Duration::from_millis(1),
        ..BreakerRules::default()
    }
}

fn all_rules() -> [Option<BreakerRules>; 3] {
    [None, Some(BreakerRules::default()), Some(hair_trigger())]
}

/// This many of a hundred attempts fail.
fn percent(failing: u32) -> impl FnMut(u64) -> Ends {
    let mut random = StdRng::seed_from_u64(7);
    move |_| {
        if random.random_ratio(failing, 100) {
            Ends::Fails
        } else {
            Ends::Well
        }
    }
}

fn pattern(cycle: &'static [(u64, Ends)]) -> impl FnMut(u64) -> Ends {
    let length: u64 = cycle.iter().map(|(times, _)| times).sum();
    move |n| {
        let mut at = n % length;
        for (times, ends) in cycle {
            if at < *times {
                return *ends;
            }
            at -= times;
        }
        unreachable!("the position is within the cycle")
    }
}

#[test]
fn a_destination_has_at_most_four_lines_a_minute() {
    use Ends::{Fails, FailsForGood, Lost, Refused, Throttled, Well};
    type Pattern = fn() -> Box<dyn FnMut(u64) -> Ends>;
    let patterns: [(&str, Pattern); 10] = [
        ("lost", || Box::new(pattern(&[(5, Lost), (1, Well)]))),
        ("alternating", || {
            Box::new(pattern(&[(1, Fails), (1, Well)]))
        }),
        ("bursts", || Box::new(pattern(&[(20, Fails), (20, Well)]))),
        ("flapping", || Box::new(pattern(&[(10, Fails), (10, Well)]))),
        ("long bursts", || {
            Box::new(pattern(&[(3_000, FailsForGood), (500, Well)]))
        }),
        ("refused now and then", || {
            Box::new(pattern(&[
                (3, Refused),
                (9, Fails),
                (1, Throttled),
                (4, Well),
            ]))
        }),
        ("always", || Box::new(|_| FailsForGood)),
        ("5 %", || Box::new(percent(5))),
        ("50 %", || Box::new(percent(50))),
        ("95 %", || Box::new(percent(95))),
    ];
    for rules in all_rules() {
        for (name, pattern) in patterns {
            for every in [1, 37, 1_000, 45_000].map(Duration::from_millis) {
                let mut scene = Scene::new();
                let mut to = To::orders(rules);
                let mut pattern = pattern();
                let mut made = 0;
                for _ in 0..2_000 {
                    made += u64::from(scene.attempt(&mut to, pattern(made)));
                    scene.wait(every, &mut to);
                }
                let most = scene.most_in_a_minute();
                assert!(
                    (1..=LINES_A_MINUTE).contains(&most),
                    "{name}, every {every:?}, {rules:?}: {most} lines in a minute"
                );
            }
        }
    }
}

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
fn an_outage_begins_and_ends_with_the_breaker() {
    let mut scene = Scene::new();
    let mut to = To::orders(Some(BreakerRules::default()));
    for _ in 0..100 {
        scene.attempt(&mut to, Ends::Well);
    }
    // Nine failures in a row leave the breaker closed, and the tenth opens it.
    for _ in 0..9 {
        scene.attempt(&mut to, Ends::Fails);
        scene.wait(SECOND, &mut to);
    }
    assert_eq!(scene.lines().len(), 1, "{:?}", scene.lines());
    scene.attempt(&mut to, Ends::Fails);
    // Probes after 30, 60 and 120 s; the last one is delivered.
    for (wait, ends) in [
        (30, Ends::Fails),
        (60, Ends::FailsForGood),
        (120, Ends::Well),
    ] {
        scene.wait(SECOND * (wait - 1), &mut to);
        assert!(!scene.attempt(&mut to, Ends::Well), "the breaker is open");
        scene.wait(SECOND, &mut to);
        assert!(scene.attempt(&mut to, ends), "a probe is due");
    }
    let last_error = || "answered 503 Service Unavailable".to_owned();
    assert_eq!(
        scene.lines()[1..],
        [
            &Line::Failing {
                failures: 10,
                attempts: None,
                outages: None,
                last_error: last_error(),
                probe_in_seconds: Some(30),
            },
            &Line::DeadLetter {
                event_id: String::new(),
                attempt: 1,
                last_error: last_error(),
            },
            &Line::Recovered {
                seconds: Some(9 + 30 + 60 + 120),
                failures: 12,
                dead_letters: 1,
            },
        ]
    );
}

#[test]
fn an_outage_by_ratio_logs_failures_and_attempts() {
    let mut scene = Scene::new();
    let mut to = To::orders(Some(BreakerRules::default()));
    let mut pattern = pattern(&[(1, Ends::Well), (2, Ends::Fails)]);
    for n in 0..12 {
        scene.attempt(&mut to, pattern(n));
    }
    let failing = scene.lines().into_iter().find_map(|line| match line {
        Line::Failing {
            failures, attempts, ..
        } => Some((*failures, *attempts)),
        _ => None,
    });
    // Two of three fail, which is less than 70 %: the breaker stays closed.
    assert_eq!(failing, None);
    for _ in 0..3 {
        scene.attempt(&mut to, Ends::Fails);
    }
    let lines = scene.lines();
    assert!(
        matches!(
            lines.last(),
            Some(Line::Failing {
                failures: 10,
                attempts: Some(14),
                ..
            })
        ),
        "{lines:?}"
    );
}

#[test]
fn without_a_breaker_ten_outcomes_in_a_row_begin_and_end_an_outage() {
    let mut scene = Scene::new();
    let mut to = To::orders(None);
    for _ in 0..9 {
        scene.attempt(&mut to, Ends::Fails);
        scene.attempt(&mut to, Ends::Throttled);
    }
    scene.attempt(&mut to, Ends::Well);
    for _ in 0..10 {
        scene.attempt(&mut to, Ends::Fails);
    }
    for _ in 0..9 {
        scene.attempt(&mut to, Ends::Well);
    }
    scene.attempt(&mut to, Ends::Fails);
    assert!(matches!(
        scene.lines()[..],
        [Line::Failure { .. }, Line::Failing { failures: 10, .. }]
    ));
    for _ in 0..10 {
        scene.attempt(&mut to, Ends::Well);
    }
    assert!(matches!(
        scene.lines()[2..],
        [Line::Recovered { failures: 11, .. }]
    ));
}

#[test]
fn without_a_breaker_one_success_after_a_quiet_minute_ends_an_outage() {
    let mut scene = Scene::new();
    let mut to = To::orders(None);
    for _ in 0..10 {
        scene.attempt(&mut to, Ends::Fails);
        scene.wait(MINUTE, &mut to);
    }
    scene.attempt(&mut to, Ends::Well);
    let lines = scene.lines();
    assert_eq!(
        lines.last(),
        Some(&&Line::Recovered {
            seconds: Some(600),
            failures: 10,
            dead_letters: 0,
        })
    );
}

#[test]
fn a_lasting_outage_is_summed_up_every_five_minutes() {
    let mut scene = Scene::new();
    let mut to = To::orders(None);
    for _ in 0..1_000 {
        scene.attempt(&mut to, Ends::Fails);
        scene.wait(SECOND, &mut to);
    }
    // Nine of its failures were counted before it began, and are logged once.
    assert!(
        matches!(
            scene.lines()[..],
            [
                Line::Failure { .. },
                Line::Failing { failures: 10, .. },
                Line::StillFailing {
                    failures: 310,
                    seconds: Some(309),
                    ..
                },
                Line::StillFailing { failures: 610, .. },
                Line::StillFailing { failures: 910, .. },
            ]
        ),
        "{:?}",
        scene.lines()
    );
}

#[test]
fn outages_in_quick_succession_are_counted_and_the_lasting_one_is_logged() {
    let mut scene = Scene::new();
    let mut to = To::orders(None);
    let flap = |scene: &mut Scene, to: &mut To, times| {
        for _ in 0..times {
            for _ in 0..10 {
                scene.attempt(to, Ends::Fails);
            }
            for _ in 0..10 {
                scene.attempt(to, Ends::Well);
            }
            scene.wait(SECOND, to);
        }
    };
    flap(&mut scene, &mut to, 20);
    for _ in 0..10 {
        scene.attempt(&mut to, Ends::Fails);
    }
    assert!(
        matches!(
            scene.lines()[..],
            [
                Line::Failure { .. },
                Line::Failing { outages: None, .. },
                Line::Recovered { .. },
            ]
        ),
        "{:?}",
        scene.lines()
    );
    // The line is written although no attempt ends any more.
    scene.wait(MINUTE, &mut to);
    assert!(
        matches!(
            scene.lines()[3..],
            [Line::Failing {
                outages: Some(20),
                ..
            }]
        ),
        "{:?}",
        scene.lines()
    );
    // The failures of the other nineteen outages are not lost.
    scene.wait(DIGEST_EVERY, &mut to);
    assert!(
        matches!(scene.lines()[4..], [Line::Failures { failures: 190, .. }]),
        "{:?}",
        scene.lines()
    );
}

#[test]
fn an_outage_of_an_earlier_process_has_no_line_about_its_beginning() {
    let rules = BreakerRules::default();
    let rule = Rule::Breaker { failures: 10 };
    for (ends, seconds) in [(Ends::Well, 0), (Ends::Fails, 60)] {
        let mut scene = Scene::new();
        let mut to = To::orders(Some(rules));
        to.log = OutageLog::with(rule, true);
        let breaker = to.breaker.as_mut().expect("one");
        breaker.reopen(scene.monotonic(), Duration::ZERO, SECOND * 30);
        scene.attempt(&mut to, ends);
        scene.wait(SECOND * seconds, &mut to);
        scene.attempt(&mut to, Ends::Well);
        let lines = scene.lines();
        let (end, before) = lines.split_last().expect("lines");
        assert!(
            matches!(end, Line::Recovered { seconds: None, .. }),
            "{lines:?}"
        );
        if ends == Ends::Fails {
            assert!(
                matches!(before, [Line::StillFailing { seconds: None, .. }]),
                "{lines:?}"
            );
        }
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

#[test]
fn several_answers_410_at_once_make_one_line() {
    let mut outages = Outages::default();
    let mut to = To::orders(None);
    let now = Timestamp::from_millis(0);
    let target = Arc::clone(&to.attempt.target);
    for _ in 0..8 {
        outages.paused(&mut to.log, &target, "it answered 410 Gone", now);
    }
    assert_eq!(to.log.paused_logged_at, Some(now));
    let later = now.plus(PAUSE_EVERY);
    outages.paused(&mut to.log, &target, "it answered 410 Gone", later);
    assert_eq!(to.log.paused_logged_at, Some(later));
}

#[test]
fn ten_thousand_ad_hoc_origins_share_ten_lines_a_minute() {
    let mut scene = Scene::new();
    let mut origins: Vec<To> = (0..10_000)
        .map(|id| To::new(id, &format!("http://o{id}.example.com"), None))
        .collect();
    // Each origin has an outage within a minute, and then each recovers.
    for ends in [Ends::Fails, Ends::Well] {
        for _ in 0..10 {
            for to in &mut origins {
                scene.attempt(to, ends);
            }
            scene.now = scene.now.plus(SECOND * 5);
        }
        scene.now = scene.now.plus(MINUTE);
    }
    scene.logged.extend(
        scene
            .outages
            .adhoc
            .due(scene.now)
            .map(|line| (scene.now, line)),
    );
    // A minute may include the end of a window and the beginning of the next.
    let lines = usize::try_from(LINES).expect("few");
    assert!(scene.most_in_a_minute() <= 2 * (lines + 1));
    assert!(
        scene.logged.len() <= 4 * (lines + 1),
        "{}",
        scene.logged.len()
    );
    let (mut failing, mut recovered, mut failures) = (0, 0, 0);
    for line in scene.lines() {
        match line {
            Line::Failing { .. } => failing += 1,
            Line::Recovered { .. } => recovered += 1,
            Line::Failure { .. } => failures += 1,
            Line::Withheld {
                failing: more_failing,
                recovered: more_recovered,
                failures: more_failures,
                seconds,
                ..
            } => {
                assert!(*seconds >= WINDOW.as_secs());
                failing += more_failing;
                recovered += more_recovered;
                failures += more_failures;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((failing, recovered, failures), (10_000, 10_000, 10_000));
}
