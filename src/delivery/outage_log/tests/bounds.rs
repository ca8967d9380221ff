//! The number of lines a minute.

use super::*;

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
