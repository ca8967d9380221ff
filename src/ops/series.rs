//! Failures that come in series, such as twice a second while a cause lasts: the log has the first.

use std::time::Duration;

/// Without a failure for so long, the next one begins another series.
const ENDS_AFTER: Duration = Duration::from_secs(60);

/// A series of failures with one cause.
#[derive(Debug, Default)]
pub(crate) struct Series {
    last: Option<Duration>,
}

impl Series {
    /// Takes note of a failure at `now` of the monotonic clock; whether it begins a series.
    pub fn begins(&mut self, now: Duration) -> bool {
        let last = self.last.replace(now);
        last.is_none_or(|last| now.saturating_sub(last) >= ENDS_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_begins_once_and_ends_with_a_minute_of_quiet() {
        let mut series = Series::default();
        let begun = |series: &mut Series, from: u64, to: u64| {
            let seconds = from..to;
            seconds
                .filter(|second| series.begins(Duration::from_secs(*second)))
                .collect::<Vec<_>>()
        };
        assert_eq!(begun(&mut series, 0, 1000), [0]);
        assert_eq!(begun(&mut series, 1058, 1059), Vec::<u64>::new());
        assert_eq!(begun(&mut series, 1118, 1200), [1118]);
    }
}
