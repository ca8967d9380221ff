use std::time::Duration;

use proptest::prelude::*;

use super::{LATENCY_BUCKETS, LatencyHistogram};

fn of(millis: &[u64]) -> LatencyHistogram {
    let mut histogram = LatencyHistogram::default();
    for &latency in millis {
        histogram.record(Duration::from_millis(latency));
    }
    histogram
}

#[test]
fn a_latency_stands_in_the_bucket_whose_bounds_hold_it() {
    for (millis, at) in [
        (0, 0),
        (1, 0),
        (2, 1),
        (3, 2),
        (4, 2),
        (5, 3),
        (1 << 22, 22),
        ((1 << 22) + 1, 23),
        (u64::MAX, 23),
    ] {
        let mut expected = [0; LATENCY_BUCKETS];
        expected[at] = 1;
        assert_eq!(of(&[millis]).0, expected, "{millis} ms");
    }
    // Above a bound by a microsecond.
    let mut histogram = LatencyHistogram::default();
    histogram.record(Duration::from_micros(1001));
    assert_eq!(histogram, of(&[2]));
}

#[test]
fn an_empty_histogram_has_no_quantile() {
    assert_eq!(LatencyHistogram::default().quantile(0.5), None);
}

#[test]
fn a_share_that_is_a_whole_number_of_latencies_takes_no_further_one() {
    let latencies = [[1; 7].as_slice(), &[1_000_000; 18]].concat();
    let quantile = of(&latencies).quantile(0.28);
    assert_eq!(quantile, Some(Duration::from_millis(1)));
}

#[test]
fn the_last_bucket_is_as_long_as_its_lower_bound() {
    let day = Duration::from_secs(86_400);
    let mut histogram = LatencyHistogram::default();
    histogram.record(day);
    assert_eq!(
        histogram.quantile(0.99),
        Some(Duration::from_millis(1 << 22))
    );
}

#[test]
fn damaged_bytes_are_no_histogram() {
    // A number without an end, one of more than 64 bits, and more buckets than there are.
    for bytes in [vec![0x80], vec![0xff; 11], vec![1; LATENCY_BUCKETS + 1]] {
        assert_eq!(LatencyHistogram::from_bytes(&bytes), None, "{bytes:?}");
    }
    let empty = Some(LatencyHistogram::default());
    assert_eq!(LatencyHistogram::from_bytes(&[]), empty);
}

#[expect(
    clippy::cast_precision_loss,
    reason = "latencies of a test are below 2^53"
)]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

proptest! {
    #[test]
    fn bytes_give_the_same_histogram_back(counts in prop::array::uniform24(any::<u64>())) {
        let histogram = LatencyHistogram(counts);
        let read = LatencyHistogram::from_bytes(&histogram.to_bytes());
        prop_assert_eq!(read, Some(histogram));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = LatencyHistogram::from_bytes(&bytes);
    }

    #[test]
    fn histograms_of_two_periods_add_up_to_the_histogram_of_both(
        one in prop::collection::vec(0..10_000_000u64, 0..50),
        other in prop::collection::vec(0..10_000_000u64, 0..50),
    ) {
        let mut sum = of(&one);
        sum.add(&of(&other));
        prop_assert_eq!(sum, of(&[one, other].concat()));
    }

    #[test]
    fn a_quantile_is_within_a_factor_of_two(
        mut millis in prop::collection::vec(1..4_000_000u64, 1..200),
        percent in 1..=100u32,
    ) {
        let found = of(&millis).quantile(f64::from(percent) / 100.0).expect("some");
        millis.sort_unstable();
        let rank = (millis.len() * percent as usize).div_ceil(100);
        let exact = seconds(millis[rank - 1]);
        let ratio = found.as_secs_f64() / exact;
        prop_assert!((0.5..=2.0).contains(&ratio), "{found:?} for {exact} s");
    }
}
