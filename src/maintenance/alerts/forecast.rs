//! When a disk will be full, by the trend of its free space. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::time_to_grow;

/// The time between two samples.
const SAMPLE_EVERY: Duration = Duration::from_secs(60);
/// Samples that are kept: six hours. A shorter time would take a burst for a trend.
const MAX_SAMPLES: usize = 360;

/// The free space of the last hours.
#[derive(Clone, Debug, Default)]
pub(super) struct Forecast {
    /// Times of the monotonic clock, and free bytes.
    samples: VecDeque<(Duration, u64)>,
}

impl Forecast {
    /// Takes a sample, unless the last one is less than a minute old.
    pub fn sample(&mut self, now: Duration, free: u64) {
        let last = self.samples.back().map(|(at, _)| *at);
        if last.is_some_and(|at| now.saturating_sub(at) < SAMPLE_EVERY) {
            return;
        }
        if self.samples.len() == MAX_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((now, free));
    }

    /// The time until no more than `reserve` bytes are free; none if the free space does not
    /// shrink, or is not known for long enough.
    #[expect(
        clippy::cast_precision_loss,
        reason = "an estimate needs no more than 53 bits"
    )]
    pub fn time_left(&self, reserve: u64) -> Option<Duration> {
        let (first, _) = *self.samples.front()?;
        let (_, free) = *self.samples.back()?;
        let point = |&(at, free): &(Duration, u64)| {
            let at = at.saturating_sub(first);
            (at.as_secs_f64(), -(free as f64))
        };
        let room = free.saturating_sub(reserve) as f64;
        time_to_grow(room, self.samples.iter().map(point))
    }
}

#[cfg(test)]
mod tests;
