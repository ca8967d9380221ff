use super::*;
use crate::maintenance::alerts::states::States;

const MIB: u64 = 1 << 20;
const MIN_FREE: u64 = 64 * MIB;

/// A watch, and the states that it has told.
#[derive(Default)]
struct Scene {
    watch: Watch,
    states: States,
    seconds: u64,
}

impl Scene {
    /// Looks at facts after some seconds; returns the types of the alerts.
    fn look(&mut self, after: u64, facts: &Facts) -> Vec<&'static str> {
        let alerts = self.alerts(after, facts).into_iter();
        alerts.map(|alert| alert.kind.name()).collect()
    }

    fn alerts(&mut self, after: u64, facts: &Facts) -> Vec<Alert> {
        self.seconds += after;
        let elapsed = Duration::from_secs(self.seconds);
        let now = Timestamp::from_millis(1_700_000_000_000).plus(elapsed);
        let changes = self.watch.changes(
            facts,
            &Look {
                states: &self.states,
                now,
                wall: now,
                monotonic: elapsed,
            },
        );
        for change in &changes {
            self.states.set(change);
        }
        let alerts = changes.into_iter().filter_map(|change| change.alert);
        alerts.collect()
    }
}

fn free(free: u64) -> Facts {
    Facts {
        free: Some(free),
        min_free: MIN_FREE,
        ..Facts::default()
    }
}

#[test]
fn a_low_disk_is_told_at_twice_the_limit_while_alerts_can_still_be_stored() {
    let mut scene = Scene::default();
    assert_eq!(scene.look(0, &free(MIN_FREE * 2)), [""; 0]);
    assert_eq!(scene.look(2, &free(MIN_FREE * 2 - 1)), ["disk.low"]);
    // It hovers around the limit: told once.
    for _ in 0..600 {
        assert_eq!(scene.look(2, &free(MIN_FREE * 2 + MIB)), [""; 0]);
        assert_eq!(scene.look(2, &free(MIN_FREE)), [""; 0]);
    }
    // With room for ten minutes it is over, and the next time is told again.
    let mut scene = Scene::default();
    assert_eq!(scene.look(0, &free(MIB)), ["disk.low"]);
    for _ in 0..100 {
        assert_eq!(scene.look(10, &free(MIN_FREE * 4)), [""; 0]);
    }
    assert_eq!(scene.look(10, &free(MIB)), ["disk.low"]);
}

#[test]
fn a_disk_that_will_be_full_within_a_day_is_told_before_it_is_low() {
    let mut scene = Scene::default();
    let mut told = Vec::new();
    // A mebibyte a minute, and a hundred times the limit: full in 4.4 days, then within one.
    for minute in 0..120 * 60 {
        let left = (MIN_FREE * 100).saturating_sub(minute * MIB);
        if !scene.look(60, &free(left)).is_empty() {
            told.push(left / MIB);
        }
    }
    let day = 24 * 60 + MIN_FREE / MIB;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0] <= day && told[0] + 5 > day, "{told:?}");
}

#[test]
fn without_a_limit_and_without_a_measurement_no_disk_is_low() {
    let mut scene = Scene::default();
    let facts = Facts {
        min_free: 0,
        ..free(0)
    };
    assert_eq!(scene.look(0, &facts), [""; 0]);
    assert_eq!(scene.look(1, &Facts::default()), [""; 0]);
}

#[test]
fn a_certificate_is_told_once_its_renewal_is_late_and_not_before_two_weeks() {
    let hours = |days: u64| days * 24;
    for (renewer, lifetime, told_with) in [
        (Renewer::Other, 6, hours(2)),
        (Renewer::Other, 90, hours(14)),
        (Renewer::Other, 365, hours(14)),
        // Relay renews one of six days with two of them left, and tries for twelve hours.
        (Renewer::Relay, 6, 36),
        (Renewer::Relay, 90, hours(14)),
    ] {
        let mut scene = Scene::default();
        let begin = Timestamp::from_millis(1_700_000_000_000);
        let mut facts = Facts::default();
        let validity = Validity {
            not_before: begin,
            not_after: begin.plus(DAY * lifetime),
        };
        facts
            .noticed
            .certificates
            .insert("server".to_owned(), (validity, renewer));
        let mut told = Vec::new();
        for hour in 0..u64::from(lifetime) * 24 {
            if !scene.look(3600, &facts).is_empty() {
                told.push(u64::from(lifetime) * 24 - hour - 1);
            }
        }
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].abs_diff(told_with) <= 1,
            "{renewer:?}, {lifetime}: {told:?}"
        );
        // A renewed one begins anew.
        let renewed = Validity {
            not_before: validity.not_after,
            not_after: validity.not_after.plus(DAY * lifetime),
        };
        facts
            .noticed
            .certificates
            .insert("server".to_owned(), (renewed, renewer));
        assert_eq!(scene.look(3600, &facts), [""; 0]);
        assert!(
            !scene
                .states
                .is(AlertKind::CertificateExpiring, "server", "expiring")
        );
    }
}

#[test]
fn an_alert_about_a_certificate_tells_when_it_expires_or_that_it_has_expired() {
    let begin = Timestamp::from_millis(1_700_000_000_000);
    for (days, told) in [
        (3, "the certificate of server expires in 3 days"),
        (
            0,
            "the certificate of server expired at 2023-11-14T22:13:20.000Z",
        ),
    ] {
        let mut facts = Facts::default();
        let validity = Validity {
            not_before: begin.minus(DAY * 90),
            not_after: begin.plus(DAY * days),
        };
        let name = "server".to_owned();
        facts
            .noticed
            .certificates
            .insert(name, (validity, Renewer::Other));
        let alerts = Scene::default().alerts(0, &facts);
        assert_eq!(alerts[0].summary, told);
    }
}

#[test]
fn a_destination_that_left_the_file_is_forgotten() {
    let mut scene = Scene::default();
    let failing = DestinationFacts {
        is_breaker_open: true,
        ..DestinationFacts::default()
    };
    let one = |name: &str| (name.to_owned(), failing.clone(), AttemptHealth::default());
    let both = Facts {
        destinations: vec![one("a"), one("b")],
        ..Facts::default()
    };
    assert_eq!(scene.look(0, &both).len(), 2);
    let rest = Facts {
        destinations: vec![one("a")],
        ..Facts::default()
    };
    assert_eq!(scene.look(2, &rest), [""; 0]);
    assert_eq!(scene.watch.destinations.len(), 1);
}

#[test]
fn blocking_dead_letters_are_told_once_until_they_are_gone() {
    let mut scene = Scene::default();
    let facts = |blocking| Facts {
        destinations: vec![(
            "a".to_owned(),
            DestinationFacts {
                blocking,
                ..DestinationFacts::default()
            },
            AttemptHealth::default(),
        )],
        ..Facts::default()
    };
    assert_eq!(scene.look(0, &facts(Some(1))), ["destination.blocked"]);
    assert_eq!(scene.look(2, &facts(Some(5))), [""; 0]);
    assert_eq!(scene.look(2, &facts(None)), [""; 0]);
    assert_eq!(scene.look(2, &facts(Some(0))), [""; 0]);
    assert_eq!(scene.look(2, &facts(Some(1))), ["destination.blocked"]);
}

#[test]
fn each_process_of_a_shared_store_tells_of_its_own_clock_reloads_and_certificates() {
    let mut scene = Scene::default();
    let begin = Timestamp::from_millis(1_700_000_000_000);
    let well = |node: &str| Facts {
        is_part: node != "leader",
        node: Some(node.to_owned()),
        ..Facts::default()
    };
    let mut in_trouble = well("other");
    in_trouble.ahead = 20_000;
    let class = "a test's".to_owned();
    let noticed = &mut in_trouble.noticed;
    noticed.failures.insert(Failure::ConfigReload, class);
    let validity = Validity {
        not_before: begin.minus(DAY * 90),
        not_after: begin.plus(DAY * 3),
    };
    let name = "server".to_owned();
    noticed
        .certificates
        .insert(name, (validity, Renewer::Other));
    let told = scene.alerts(0, &in_trouble);
    let kinds: Vec<_> = told.iter().map(|alert| alert.kind.name()).collect();
    let all = [
        "clock.jumped",
        "config.reload_failed",
        "certificate.expiring",
    ];
    assert_eq!(kinds, all);
    for alert in told {
        assert!(
            alert.summary.starts_with("node other: "),
            "{}",
            alert.summary
        );
        assert_eq!(alert.data["node"], "other");
    }
    // The other's well-being ends no trouble of this one.
    for _ in 0..3 {
        assert_eq!(scene.look(2, &well("leader")), [""; 0]);
        assert_eq!(scene.look(2, &in_trouble), [""; 0]);
    }
    // It has no certificate then.
    assert_eq!(scene.look(2, &well("other")), [""; 0]);
    assert_eq!(scene.look(2, &in_trouble), all[..2]);
}
