//! A token bucket and a number of attempts at once, for each destination.

use std::collections::HashMap;
use std::num::NonZeroU32;

use governor::RateLimiter;
use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use std::sync::Arc;
use std::time::Duration;

use super::super::super::Context;
use super::super::super::target::Target;
use super::super::Admission;
use super::super::admission::Admitted;
use crate::config::{Config, RateLimit};
use crate::limiter::{Monotonic, quota};

type Bucket = RateLimiter<NotKeyed, InMemoryState, Monotonic, NoOpMiddleware<Duration>>;

pub(in super::super) struct PerDestination {
    config: Arc<Config>,
    clock: Monotonic,
    known: HashMap<i64, Limits>,
}

struct Limits {
    at_once: usize,
    bucket: Option<Bucket>,
    /// Tokens that were taken and not used.
    credit: usize,
}

impl PerDestination {
    pub fn new(context: &Context) -> Self {
        Self {
            config: Arc::clone(&context.config),
            clock: Monotonic(Arc::clone(&context.clock)),
            known: HashMap::new(),
        }
    }

    fn limits(&mut self, target: &Target) -> &mut Limits {
        let (config, clock) = (&self.config, &self.clock);
        self.known.entry(target.id).or_insert_with(|| {
            let settings = target.settings.as_ref();
            let defaults = &config.delivery.defaults;
            let rate: Option<RateLimit> = settings
                .and_then(|settings| settings.rate_limit)
                .or(defaults.rate_limit);
            let at_once = settings
                .and_then(|settings| settings.concurrency)
                .or(defaults.concurrency)
                .unwrap_or(Config::CONCURRENCY);
            Limits {
                at_once: at_once as usize,
                bucket: rate
                    .map(|limit| RateLimiter::direct_with_clock(quota(&limit), clock.clone())),
                credit: 0,
            }
        })
    }
}

impl Admission for PerDestination {
    fn admit(&mut self, target: &Target, in_flight: usize, wanted: usize) -> Admitted {
        let now = self.clock.now();
        let limits = self.limits(target);
        let slots = limits.at_once.saturating_sub(in_flight).min(wanted);
        let Some(bucket) = &limits.bucket else {
            return Admitted {
                count: slots,
                wait: None,
            };
        };
        let mut count = limits.credit.min(slots);
        limits.credit -= count;
        // All that are wanted in one go; if that is more than there are, one by one.
        let missing = u32::try_from(slots - count).ok().and_then(NonZeroU32::new);
        if let Some(missing) = missing
            && matches!(bucket.check_n(missing), Ok(Ok(())))
        {
            count = slots;
        }
        let mut wait = None;
        while count < slots && wait.is_none() {
            match bucket.check() {
                Ok(()) => count += 1,
                Err(until) => wait = Some(until.wait_time_from(now)),
            }
        }
        Admitted { count, wait }
    }

    fn give_back(&mut self, target: &Target, unused: usize) {
        let limits = self.limits(target);
        if limits.bucket.is_some() {
            limits.credit += unused;
        }
    }

    fn forget(&mut self, target: i64) {
        self.known.remove(&target);
    }
}
