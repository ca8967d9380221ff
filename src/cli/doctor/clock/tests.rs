use super::*;

fn dates(ahead: &[i64]) -> Vec<SeenDate> {
    let dates = ahead.iter().enumerate().map(|(number, ahead)| SeenDate {
        about: format!("destination {number}"),
        ahead: *ahead,
    });
    dates.collect()
}

fn verdict_of(ahead: &[i64]) -> (usize, String) {
    let mut report = Report::default();
    look_at_dates(&mut report, &dates(ahead));
    (report.failed(), format!("{report:?}"))
}

#[test]
fn one_destination_with_a_wrong_clock_does_not_accuse_the_machine() {
    let (failed, report) = verdict_of(&[200, -900, 3_600_200]);
    assert_eq!(failed, 0, "{report}");
    assert!(report.contains("3600 s off from most others"), "{report}");
    assert!(report.contains("destination 2"), "{report}");
}

#[test]
fn a_machine_that_differs_from_most_destinations_has_a_wrong_clock() {
    let (failed, report) = verdict_of(&[3_600_000, 3_600_400, 0]);
    assert_eq!(failed, 1, "{report}");
    assert!(report.contains("3600 s behind"), "{report}");
    let (failed, report) = verdict_of(&[-70_000]);
    assert_eq!(failed, 1, "{report}");
    assert!(
        report.contains("70 s ahead of that of destination 0"),
        "{report}"
    );
}

#[test]
fn a_difference_within_the_resolution_of_dates_is_fine() {
    for ahead in [&[9_999][..], &[-9_999], &[-1_000, 500]] {
        let (failed, report) = verdict_of(ahead);
        assert!(failed == 0 && !report.contains("Warn"), "{report}");
    }
    let (_, report) = verdict_of(&[10_000]);
    assert!(report.contains("Warn"), "{report}");
}

#[test]
fn the_clock_of_the_database_is_compared_in_both_directions() {
    let at = |seconds: i64| Timestamp::from_millis(seconds * 1_000);
    for (by_relay, by_system, failed, word) in [
        (100, 100, 0, "Ok"),
        (115, 100, 0, "Warn"),
        (100, 115, 0, "Warn"),
        (160, 100, 1, "behind"),
        (100, 160, 1, "ahead of"),
    ] {
        for is_server in [false, true] {
            let mut report = Report::default();
            look_at_record(&mut report, is_server, at(by_relay), at(by_system));
            assert_eq!(report.failed(), failed, "{report:?}");
            let text = format!("{report:?}");
            assert!(text.contains(word), "{text}");
            assert_eq!(text.contains("the database's"), is_server, "{text}");
            assert!(!is_server || !text.contains("unlock"), "{text}");
        }
    }
}
