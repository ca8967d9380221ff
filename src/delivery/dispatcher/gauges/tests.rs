use super::*;

#[test]
fn a_destination_that_is_held_every_second_has_a_line_in_five_minutes() {
    let mut shown = Shown {
        is_known: true,
        kept: Kept::NOTHING,
        state: "",
        holds: 0,
        holds_said_at: None,
    };
    let said: Vec<_> = (0..1_000)
        .filter_map(|second| shown.count_hold(Timestamp::from_millis(second * 1_000)))
        .collect();
    assert_eq!(said, [1, 300, 300, 300]);
}
