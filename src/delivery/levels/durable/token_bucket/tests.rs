use std::sync::Arc;

use governor::RateLimiter;
use proptest::prelude::*;

use super::*;
use crate::clock::{Clock, FakeClock, Timestamp};
use crate::limiter::{Monotonic, quota};

proptest! {
    #[test]
    fn a_bucket_admits_what_governor_admits(
        per_second in 0.1..1_000.0f64,
        burst in 1u32..50,
        steps in prop::collection::vec((0u64..5_000, 0usize..60), 0..60),
        empties in any::<bool>(),
    ) {
        let limit = RateLimit { per_second, burst };
        let clock = Arc::new(FakeClock::at(Timestamp::from_millis(0)));
        let shared: Arc<dyn Clock> = Arc::<FakeClock>::clone(&clock);
        let governor = RateLimiter::direct_with_clock(quota(&limit), Monotonic(shared));
        let mut bucket = AttemptBucket::new(&limit);
        if empties {
            bucket.empty(clock.monotonic());
            let all = burst.try_into().expect("above zero");
            governor.check_n(all).expect("it holds so many").expect("it is full");
        }
        for (millis, asked) in steps {
            clock.advance(Duration::from_millis(millis));
            let now = clock.monotonic();
            let planned = (0..asked).take_while(|n| bucket.wait(*n, now).is_none()).count();
            let wait = bucket.wait(planned, now);
            prop_assert_eq!(bucket.wait(planned, now), wait, "asking spends nothing");
            for _ in 0..planned {
                bucket.spend(now);
            }
            for _ in 0..planned {
                prop_assert!(governor.check().is_ok());
            }
            if planned < asked {
                let until = governor.check().expect_err("none is left");
                prop_assert_eq!(wait, Some(until.wait_time_from(now)));
                prop_assert_eq!(bucket.wait(0, now), wait);
            }
        }
    }
}

#[test]
fn another_limit_leaves_the_level_as_it_is() {
    let limit = |per_second, burst| RateLimit { per_second, burst };
    let now = Duration::from_secs(1_000);
    let left = |bucket: &AttemptBucket| {
        (0..100)
            .take_while(|planned| bucket.wait(*planned, now).is_none())
            .count()
    };
    for (spent, expected) in [
        (0, [20, 2, 4]),
        (1, [15, 1, 3]),
        (2, [10, 1, 2]),
        (4, [0, 0, 0]),
    ] {
        let mut bucket = AttemptBucket::new(&limit(1.0, 4));
        (0..spent).for_each(|_| bucket.spend(now));
        let others = [limit(5.0, 20), limit(0.1, 2), limit(1.0, 4)];
        assert_eq!(
            others.map(|other| left(&bucket.with_limit(&other, now))),
            expected,
            "{spent}"
        );
    }
}
