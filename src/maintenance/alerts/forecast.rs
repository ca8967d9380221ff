//! When a disk will be full, by the trend of its free space. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::slope;

/// The time between two samples.
const SAMPLE_EVERY: Duration = Duration::from_secs(60);
/// Samples that are kept: six hours. A shorter time would take a burst for a trend.
const MAX_SAMPLES: usize = 360;
/// The shortest time that is taken for a trend.
const SHORTEST: Duration = Duration::from_secs(30 * 60);

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
    /// shrink, or is not known for long enough. The trend is the line of least squares.
    #[expect(
        clippy::cast_precision_loss,
        reason = "an estimate needs no more than 53 bits"
    )]
    pub fn time_left(&self, reserve: u64) -> Option<Duration> {
        let (first, _) = *self.samples.front()?;
        let (last, free) = *self.samples.back()?;
        if last.saturating_sub(first) < SHORTEST {
            return None;
        }
        let point =
            |&(at, free): &(Duration, u64)| (at.saturating_sub(first).as_secs_f64(), free as f64);
        let slope = slope(self.samples.iter().map(point)).filter(|slope| *slope < 0.0)?;
        let left = free.saturating_sub(reserve) as f64 / -slope;
        // Beyond a century it doesn't matter.
        Some(Duration::from_secs_f64(left.min(3.2e9)))
    }
}

#[cfg(test)]
mod tests;
