use serde_json::Map;

use super::*;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(0).plus(Duration::from_secs(seconds))
}

fn change(kind: AlertKind, subject: &str) -> Change {
    Change {
        kind,
        subject: subject.to_owned(),
        state: "on",
        since: at(0),
        alert: Some(Alert {
            kind,
            subject: subject.to_owned(),
            summary: String::new(),
            data: Map::new(),
            at: at(0),
        }),
    }
}

fn failing(from: usize, to: usize) -> Vec<Change> {
    let names = (from..to).map(|number| format!("d{number:04}"));
    names
        .map(|name| change(AlertKind::DestinationFailing, &name))
        .collect()
}

fn alerts(changes: &[Change]) -> Vec<&Alert> {
    changes
        .iter()
        .filter_map(|one| one.alert.as_ref())
        .collect()
}

#[test]
fn a_few_alerts_are_sent_one_by_one() {
    let mut quota = Quota::default();
    let admitted = quota.admit(failing(0, A_MINUTE), 250, at(0));
    assert_eq!(alerts(&admitted).len(), A_MINUTE);
}

#[test]
fn a_thousand_failing_destinations_make_twenty_alerts_a_minute() {
    let mut quota = Quota::default();
    let mut pending = failing(0, 1000);
    pending.push(change(AlertKind::DiskLow, ""));
    let (mut sent, mut told) = (Vec::new(), 0);
    for second in 0..600 {
        let admitted = quota.admit(pending.clone(), 250, at(second));
        assert!(admitted.len() <= 250);
        quota.made(&admitted, at(second));
        pending.retain(|one| !admitted.iter().any(|done| done.subject == one.subject));
        told += admitted.len();
        sent.extend(alerts(&admitted).into_iter().map(|one| (second, one.kind)));
    }
    assert_eq!(
        (pending.len(), told),
        (0, 1001),
        "each state is written once"
    );
    assert_eq!(sent[0], (0, AlertKind::DiskLow), "the most urgent first");
    for (second, _) in &sent {
        let minute = sent
            .iter()
            .filter(|(at, _)| (*second..second + 60).contains(at));
        assert!(minute.count() <= A_MINUTE, "{sent:?}");
    }
    let summaries = sent
        .iter()
        .filter(|(_, kind)| *kind == AlertKind::Summarised);
    assert!((1..=5).contains(&summaries.count()), "{sent:?}");
}

#[test]
fn a_summary_counts_each_type_and_names_the_first_subjects() {
    let mut quota = Quota::default();
    quota.made(&failing(0, 19), at(0));
    let pending = || {
        let mut pending = failing(19, 40);
        pending.push(change(AlertKind::DestinationRecovered, "x"));
        pending
    };
    assert_eq!(quota.admit(pending(), 250, at(1)), []);
    let admitted = quota.admit(pending(), 250, at(11));
    assert_eq!(
        admitted.len(),
        22,
        "all states are written with the summary"
    );
    let [alert] = alerts(&admitted)[..] else {
        panic!("{admitted:?}");
    };
    assert_eq!(alert.kind, AlertKind::Summarised);
    assert_eq!(alert.data["count"], 22);
    assert_eq!(alert.data["types"]["destination.failing"]["count"], 21);
    let first = &alert.data["types"]["destination.failing"]["first"];
    assert_eq!(first.as_array().map(Vec::len), Some(NAMED));
    assert_eq!(
        alert.data["types"]["destination.recovered"]["first"][0],
        "x"
    );
}

#[test]
fn a_change_without_an_alert_waits_for_nothing() {
    let mut quota = Quota::default();
    quota.made(&failing(0, A_MINUTE), at(0));
    let silent = Change {
        alert: None,
        ..change(AlertKind::DestinationPaused, "d")
    };
    assert_eq!(quota.admit(vec![silent.clone()], 250, at(1)), [silent]);
}
