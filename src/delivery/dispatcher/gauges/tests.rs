use super::*;

#[test]
fn a_destination_held_every_second_has_one_log_line_in_five_minutes() {
    let mut shown = Shown {
        is_known: true,
        kept: DestinationStatus::ACTIVE,
        state: "",
        holds: 0,
        holds_logged_at: None,
    };
    let logged: Vec<_> = (0..1_000)
        .filter_map(|second| shown.count_hold(Timestamp::from_millis(second * 1_000)))
        .collect();
    assert_eq!(logged, [1, 300, 300, 300]);
}
