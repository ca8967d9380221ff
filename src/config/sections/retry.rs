//! A retry schedule, as `[destinations.….retry]` and `[delivery.defaults.retry]` have it.

use std::time::Duration;

use serde::Deserialize;

use crate::config::rules::{Checked, MAX_WAIT, bad, shown, within};
use crate::config::units;
use crate::model::Retry;

/// Waits of a schedule, at most: nobody reads a longer history.
const MAX_WAITS: u32 = 100;

/// A retry schedule as it is written. A key that is missing comes from `[delivery.defaults]`, and
/// if it is missing there, from the built-in schedule.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct RetrySettings {
    /// The wait after each failed attempt. Default: [`RetrySettings::SCHEDULE`].
    #[serde(deserialize_with = "some_durations")]
    #[cfg_attr(test, schemars(with = "Option<Vec<units::DurationText>>"))]
    pub schedule: Option<Vec<Duration>>,
    /// The largest fraction of a wait that is added at random. Default: 0.2.
    pub jitter: Option<f64>,
    /// Instead of a schedule: the wait after the first failed attempt.
    #[serde(deserialize_with = "units::some_duration")]
    #[cfg_attr(test, schemars(with = "Option<units::DurationText>"))]
    pub base: Option<Duration>,
    /// With `base`: the factor by which each further wait grows. Default: 2.
    pub factor: Option<f64>,
    /// With `base`: the longest wait. Default: 24 h.
    #[serde(deserialize_with = "units::some_duration")]
    #[cfg_attr(test, schemars(with = "Option<units::DurationText>"))]
    pub cap: Option<Duration>,
    /// With `base`: the number of attempts. Default: 10.
    pub attempts: Option<u32>,
}

impl RetrySettings {
    /// The built-in schedule: the example of the Standard Webhooks specification, lengthened to
    /// about three days and a half, so that it outlasts a weekend's outage.
    pub const SCHEDULE: [Duration; 9] = [
        Duration::from_secs(5),
        Duration::from_secs(5 * 60),
        Duration::from_secs(30 * 60),
        Duration::from_secs(2 * 3600),
        Duration::from_secs(5 * 3600),
        Duration::from_secs(10 * 3600),
        Duration::from_secs(14 * 3600),
        Duration::from_secs(20 * 3600),
        Duration::from_secs(24 * 3600),
    ];
    /// The built-in jitter: a decision; a fifth spreads the backlog of an outage, and the schedule
    /// stays readable.
    pub const JITTER: f64 = 0.2;

    /// The growth of the waits if only `base` is set: doubling.
    const FACTOR: f64 = 2.0;
    /// The longest wait if only `base` is set: the last one of the built-in schedule.
    const CAP: Duration = Duration::from_secs(24 * 3600);
    /// The attempts if only `base` is set: as many as the built-in schedule has.
    const ATTEMPTS: u32 = 10;

    /// The schedule of a destination: its own settings, then the defaults, then the built-in ones.
    pub(in crate::config) fn resolve(own: Option<&Self>, defaults: &Self) -> Retry {
        Retry {
            schedule: own
                .and_then(Self::waits)
                .or_else(|| defaults.waits())
                .unwrap_or_else(|| Self::SCHEDULE.to_vec()),
            jitter: own
                .and_then(|own| own.jitter)
                .or(defaults.jitter)
                .unwrap_or(Self::JITTER),
            honours_retry_after: true,
        }
    }

    /// The waits, if any are set, in either form.
    fn waits(&self) -> Option<Vec<Duration>> {
        let Some(base) = self.base else {
            return self.schedule.clone();
        };
        let cap = self.cap.unwrap_or(Self::CAP);
        let factor = self.factor.unwrap_or(Self::FACTOR);
        // Commands resolve an unchecked configuration, too.
        let attempts = self.attempts.unwrap_or(Self::ATTEMPTS).min(MAX_WAITS + 1);
        let mut wait = base.as_secs_f64();
        let mut waits = Vec::new();
        for _ in 1..attempts {
            waits.push(Duration::try_from_secs_f64(wait).map_or(cap, |wait| wait.min(cap)));
            wait *= factor;
        }
        Some(waits)
    }

    pub(in crate::config) fn check(&self, key: &str) -> Checked {
        if let Some(jitter) = self.jitter
            && !(0.0..=1.0).contains(&jitter)
        {
            return bad(&format!("{key}.jitter"), jitter, "0 to 1");
        }
        self.check_growth(key)?;
        for (name, wait) in [("base", self.base), ("cap", self.cap)] {
            if let Some(wait) = wait
                && wait > MAX_WAIT
            {
                return bad(&format!("{key}.{name}"), shown(wait), "at most 30d");
            }
        }
        self.check_cap(key)?;
        let schedule = self.schedule.as_deref().unwrap_or_default();
        let key = format!("{key}.schedule");
        if schedule.len() > MAX_WAITS as usize {
            return bad(&key, schedule.len(), "at most 100 waits");
        }
        match schedule.iter().find(|&&wait| wait > MAX_WAIT) {
            Some(&wait) => bad(&key, shown(wait), "at most 30d"),
            None => Ok(()),
        }
    }

    /// Refuses a first wait that the longest one would shorten.
    fn check_cap(&self, key: &str) -> Checked {
        match (self.base, self.cap) {
            (Some(base), Some(cap)) if cap < base => bad(
                &format!("{key}.cap"),
                shown(cap),
                &format!("at least {key}.base ({})", shown(base)),
            ),
            (Some(base), None) if Self::CAP < base => bad(
                &format!("{key}.base"),
                shown(base),
                &format!("at most {key}.cap ({} by default)", shown(Self::CAP)),
            ),
            _ => Ok(()),
        }
    }

    fn check_growth(&self, key: &str) -> Checked {
        let has_growth = self.factor.is_some() || self.cap.is_some() || self.attempts.is_some();
        if self.base.is_none() && has_growth {
            return Err((
                format!("{key}.base"),
                "missing: factor, cap and attempts want it".to_owned(),
            ));
        }
        if self.base.is_some() && self.schedule.is_some() {
            return Err((
                format!("{key}.base"),
                "contradicts schedule: expected one of the two".to_owned(),
            ));
        }
        if let Some(factor) = self.factor
            && !(1.0..=100.0).contains(&factor)
        {
            return bad(&format!("{key}.factor"), factor, "1 to 100");
        }
        match self.attempts {
            Some(attempts) => within(&format!("{key}.attempts"), attempts, 1, MAX_WAITS + 1),
            None => Ok(()),
        }
    }
}

fn some_durations<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<Vec<Duration>>, D::Error> {
    units::durations(from).map(Some)
}
