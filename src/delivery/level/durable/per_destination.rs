//! A token bucket and a number of attempts at once, for each destination.

use std::collections::HashMap;

use governor::RateLimiter;
use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use std::sync::Arc;
use std::time::Duration;

use super::super::super::Context;
use super::super::super::target::Target;
use super::super::Admission;
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
            }
        })
    }
}

impl Admission for PerDestination {
    fn admit(&mut self, target: &Target, in_flight: usize) -> Result<(), Option<Duration>> {
        let now = self.clock.now();
        let limits = self.limits(target);
        if in_flight >= limits.at_once {
            return Err(None);
        }
        match limits.bucket.as_ref().map(Bucket::check) {
            None | Some(Ok(())) => Ok(()),
            Some(Err(until)) => Err(Some(until.wait_time_from(now))),
        }
    }

    fn forget(&mut self, target: i64) {
        self.known.remove(&target);
    }
}
