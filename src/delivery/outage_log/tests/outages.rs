//! The beginning, the summaries and the end of an outage.

use super::*;

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
    let rule = OutageRule::Breaker { failures: 10 };
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
