use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn no_attempt_is_early_or_later_than_the_jitter_allows(
        waits in prop::collection::vec(0u64..100_000, 0..12),
        jitter in 0.0..1.0f64,
        attempt in 0u32..15,
        random in -1.0..2.0f64,
    ) {
        let retry = Retry {
            schedule: waits.iter().copied().map(Duration::from_secs).collect(),
            jitter,
            honours_retry_after: true,
        };
        match retry.wait_after(attempt, random) {
            Some(wait) => {
                let base = Duration::from_secs(waits[attempt as usize - 1]);
                prop_assert!(wait >= base);
                prop_assert!(wait <= base.mul_f64(1.0 + jitter) + Duration::from_millis(1));
            }
            None => prop_assert!(attempt == 0 || attempt >= retry.max_attempts()),
        }
    }
}
