use super::*;

const HOUR: i64 = 3_600_000;

/// A use of this many bytes, an hour apart; the last one is now.
fn growth(used: &[u64]) -> Growth {
    let step = usize::try_from(HOUR).expect("it fits");
    let mut samples: Vec<SpaceSample> = (0..)
        .step_by(step)
        .zip(used)
        .map(|(at, used)| SpaceSample {
            at: Timestamp::from_millis(at),
            used: *used,
        })
        .collect();
    let now = samples.pop().expect("one at least");
    Growth { samples, now }
}

#[test]
fn a_steady_growth_is_full_when_its_line_meets_the_bound() {
    let found = growth(&[100, 200, 300, 400]).full_in(Some(1_000), Some(5), 0);
    assert_eq!(found, Some(Duration::from_secs(6 * 3_600)));
}

#[test]
fn without_a_bound_the_disk_is_full_when_its_reserve_is_reached() {
    let found = growth(&[100, 200, 300, 400]).full_in(None, Some(250), 50);
    assert_eq!(found, Some(Duration::from_secs(2 * 3_600)));
    assert_eq!(growth(&[100, 200]).full_in(None, None, 50), None);
}

#[test]
fn a_database_that_shrinks_or_is_hardly_known_is_never_full() {
    assert_eq!(growth(&[400, 300, 300]).full_in(Some(1_000), None, 0), None);
    assert_eq!(growth(&[300, 300, 300]).full_in(Some(1_000), None, 0), None);
    assert_eq!(growth(&[300]).full_in(Some(1_000), None, 0), None);
}

#[test]
fn a_database_or_a_disk_without_room_is_full_now_whatever_its_trend() {
    for used in [&[900, 1_100][..], &[1_000], &[1_100, 1_000]] {
        let found = growth(used).full_in(Some(1_000), None, 0);
        assert_eq!(found, Some(Duration::ZERO), "{used:?}");
    }
    let found = growth(&[300]).full_in(None, Some(50), 50);
    assert_eq!(found, Some(Duration::ZERO), "no more than the reserve");
}
