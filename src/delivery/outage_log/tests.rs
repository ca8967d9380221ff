mod bounds;
mod digests;
mod outages;
mod scene;

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use self::scene::{Ends, Scene, To};
use super::*;
use crate::delivery::outage_log::adhoc::{LINES, WINDOW};
use crate::delivery::outage_log::counts::DIGEST_EVERY;
use crate::delivery::outage_log::destination::OutageRule;
use crate::model::BreakerRules;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// The bound of the module's documentation: the beginning and the end of an outage, a digest of
/// failures, and one of dead letters.
const LINES_A_MINUTE: usize = 4;

fn hair_trigger() -> BreakerRules {
    BreakerRules {
        failures: 1,
        probe_after: Duration::from_millis(1),
        probe_cap: Duration::from_millis(1),
        ..BreakerRules::default()
    }
}

fn all_rules() -> [Option<BreakerRules>; 3] {
    [None, Some(BreakerRules::default()), Some(hair_trigger())]
}

/// This many of a hundred attempts fail.
fn percent(failing: u32) -> impl FnMut(u64) -> Ends {
    let mut random = StdRng::seed_from_u64(7);
    move |_| {
        if random.random_ratio(failing, 100) {
            Ends::Fails
        } else {
            Ends::Well
        }
    }
}

fn pattern(cycle: &'static [(u64, Ends)]) -> impl FnMut(u64) -> Ends {
    let length: u64 = cycle.iter().map(|(times, _)| times).sum();
    move |n| {
        let mut at = n % length;
        for (times, ends) in cycle {
            if at < *times {
                return *ends;
            }
            at -= times;
        }
        unreachable!("the position is within the cycle")
    }
}
