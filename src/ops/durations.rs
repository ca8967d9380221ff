//! Durations in words.

use std::time::Duration;

/// A forecast of more is told as this.
const FAR_OFF: Duration = Duration::from_secs(365 * 86_400);

/// How the units are written.
#[derive(Clone, Copy)]
pub(crate) enum Units {
    /// `5 min`, for tables and figures.
    #[allow(dead_code, reason = "only the console has tables of durations")]
    Short,
    /// `5 minutes`, for sentences.
    Long,
}

impl Units {
    fn of(self, number: u64, short: &str, long: &str) -> String {
        match (self, number) {
            (Self::Short, _) => format!("{number} {short}"),
            (Self::Long, 1) => format!("1 {long}"),
            (Self::Long, _) => format!("{number} {long}s"),
        }
    }
}

/// A duration in its largest unit, or its two largest if the second one matters.
pub(crate) fn span(duration: Duration, units: Units) -> String {
    let (minute, hour, day) = (60, 3600, 86_400);
    let minutes = |number| units.of(number, "min", "minute");
    let hours = |number| units.of(number, "h", "hour");
    match duration.as_secs() {
        s if s < minute => units.of(s, "s", "second"),
        s if s < hour => minutes(s / minute),
        s if s < 10 * hour && s % hour >= minute => {
            format!("{} {}", hours(s / hour), minutes(s % hour / minute))
        }
        s if s < 2 * day => hours(s / hour),
        s => units.of(s / day, "d", "day"),
    }
}

/// When there is no room any more, given the time that is left by the trend.
pub(crate) fn when_full(left: Duration, units: Units) -> String {
    match left {
        Duration::ZERO => "now".to_owned(),
        left if left > FAR_OFF => "in over a year".to_owned(),
        left => format!("in {}", span(left, units)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_the_same_numbers_in_both_units() {
        let (minute, hour, day) = (60, 3600, 86_400);
        for (seconds, short, long) in [
            (0, "0 s", "0 seconds"),
            (1, "1 s", "1 second"),
            (minute, "1 min", "1 minute"),
            (90, "1 min", "1 minute"),
            (hour, "1 h", "1 hour"),
            (hour * 3 / 2, "1 h 30 min", "1 hour 30 minutes"),
            (hour * 10 + minute, "10 h", "10 hours"),
            (day, "24 h", "24 hours"),
            (day * 3, "3 d", "3 days"),
        ] {
            let duration = Duration::from_secs(seconds);
            assert_eq!(span(duration, Units::Short), short);
            assert_eq!(span(duration, Units::Long), long);
        }
    }

    #[test]
    fn a_forecast_ends_after_a_year() {
        let day = 86_400;
        for (seconds, long) in [
            (0, "now"),
            (1, "in 1 second"),
            (9 * day + 5_000, "in 9 days"),
            (365 * day, "in 365 days"),
            (37_037 * day, "in over a year"),
        ] {
            assert_eq!(when_full(Duration::from_secs(seconds), Units::Long), long);
        }
    }
}
