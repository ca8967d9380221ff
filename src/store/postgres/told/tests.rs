use super::*;

#[test]
fn a_notification_says_to_each_node_what_arrived_for_it() {
    let arrived = |ids: &[i64]| {
        Some(Told::Arrived(
            ids.iter().copied().map(DestinationId).collect(),
        ))
    };
    let told = "3:17,18 13 5:20";
    assert_eq!(Told::of(told, 3), arrived(&[17, 18]));
    assert_eq!(Told::of(told, 5), arrived(&[20]));
    assert_eq!(Told::of(told, 13), Some(Told::Look));
    assert_eq!(Told::of(told, 1), None);
    assert_eq!(Told::of(told, 17), None);
    assert_eq!(Told::of("", 0), None);
    assert_eq!(Told::of("nodes", 0), None);
}

#[test]
fn one_that_can_not_be_read_says_that_there_is_something() {
    assert_eq!(Told::of("3:17,x", 3), Some(Told::Look));
    assert_eq!(Told::of("3:", 3), Some(Told::Look));
}
