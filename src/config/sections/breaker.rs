//! A circuit breaker, as `[destinations.….breaker]` and `[delivery.defaults.breaker]` have it.

use std::time::Duration;

use serde::Deserialize;

use crate::config::rules::{Checked, bad, shown, within};
use crate::config::units;
use crate::model::BreakerRules;

/// The longest wait and the longest window of a breaker.
const MAX_BREAKER_WAIT: Duration = Duration::from_secs(24 * 3600);

/// A circuit breaker as it is written. A key that is missing comes from `[delivery.defaults]`,
/// and if it is missing there, from the default of [`BreakerRules`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct BreakerSettings {
    /// Whether the destination has a breaker. Default: true.
    pub enabled: Option<bool>,
    /// Consecutive failures that open it. Default: 10.
    pub failures: Option<u32>,
    /// The fraction of failed attempts within `window` that opens it. Default: 0.7.
    pub ratio: Option<f64>,
    /// The attempts within `window` from which on `ratio` counts. Default: 10.
    pub min_attempts: Option<u32>,
    /// The window of `ratio`. Default: 5 min.
    #[serde(deserialize_with = "units::some_duration")]
    #[cfg_attr(test, schemars(with = "Option<units::DurationText>"))]
    pub window: Option<Duration>,
    /// The wait before the first probe; each failed probe doubles it. Default: 30 s.
    #[serde(deserialize_with = "units::some_duration")]
    #[cfg_attr(test, schemars(with = "Option<units::DurationText>"))]
    pub probe_after: Option<Duration>,
    /// The longest wait between probes; at least `probe_after`. Default: 10 min, or `probe_after`
    /// if that is longer.
    #[serde(deserialize_with = "units::some_duration")]
    #[cfg_attr(test, schemars(with = "Option<units::DurationText>"))]
    pub probe_cap: Option<Duration>,
}

impl BreakerSettings {
    /// The breaker of a destination: its own settings, then the defaults, then the built-in ones.
    /// None if it is turned off.
    pub(in crate::config) fn resolve(own: Option<&Self>, defaults: &Self) -> Option<BreakerRules> {
        fn pick<T>(
            own: Option<&BreakerSettings>,
            defaults: &BreakerSettings,
            key: impl Fn(&BreakerSettings) -> Option<T>,
            built_in: T,
        ) -> T {
            own.and_then(&key).or(key(defaults)).unwrap_or(built_in)
        }
        let built_in = BreakerRules::default();
        if !pick(own, defaults, |one| one.enabled, true) {
            return None;
        }
        let probe_after = pick(own, defaults, |one| one.probe_after, built_in.probe_after);
        let probe_cap = pick(own, defaults, |one| one.probe_cap, built_in.probe_cap);
        Some(BreakerRules {
            failures: pick(own, defaults, |one| one.failures, built_in.failures),
            ratio: pick(own, defaults, |one| one.ratio, built_in.ratio),
            min_attempts: pick(own, defaults, |one| one.min_attempts, built_in.min_attempts),
            window: pick(own, defaults, |one| one.window, built_in.window),
            probe_after,
            probe_cap: probe_cap.max(probe_after),
        })
    }

    pub(in crate::config) fn check(&self, key: &str) -> Checked {
        for (name, number) in [
            ("failures", self.failures),
            ("min_attempts", self.min_attempts),
        ] {
            if let Some(number) = number {
                within(&format!("{key}.{name}"), number, 1, 1_000_000)?;
            }
        }
        if let Some(ratio) = self.ratio
            && !(ratio > 0.0 && ratio <= 1.0)
        {
            return bad(&format!("{key}.ratio"), ratio, "more than 0 and at most 1");
        }
        for (name, wait) in [
            ("window", self.window),
            ("probe_after", self.probe_after),
            ("probe_cap", self.probe_cap),
        ] {
            if let Some(wait) = wait
                && (wait.is_zero() || wait > MAX_BREAKER_WAIT)
            {
                return bad(&format!("{key}.{name}"), shown(wait), "1ms to 24h");
            }
        }
        Ok(())
    }

    /// Refuses a written `probe_cap` below the `probe_after` that takes effect. `defaults` are
    /// those of `[delivery.defaults]`.
    pub(in crate::config) fn check_probes(&self, key: &str, defaults: &Self) -> Checked {
        let named = |name: &str, own: Option<Duration>, default: Option<Duration>| match own {
            Some(wait) => Some((wait, format!("{key}.{name} ({})", shown(wait)))),
            None => default.map(|wait| {
                let place = format!("delivery.defaults.breaker.{name} ({})", shown(wait));
                (wait, place)
            }),
        };
        let Some((cap, cap_place)) = named("probe_cap", self.probe_cap, defaults.probe_cap) else {
            return Ok(());
        };
        let after = named("probe_after", self.probe_after, defaults.probe_after);
        let (after, after_place) = after.unwrap_or_else(|| {
            let after = BreakerRules::default().probe_after;
            (
                after,
                format!("{key}.probe_after ({} by default)", shown(after)),
            )
        });
        match (self.probe_cap, self.probe_after) {
            _ if cap >= after => Ok(()),
            (Some(cap), _) => bad(
                &format!("{key}.probe_cap"),
                shown(cap),
                &format!("at least {after_place}"),
            ),
            (None, Some(after)) => bad(
                &format!("{key}.probe_after"),
                shown(after),
                &format!("at most {cap_place}"),
            ),
            // Both are the defaults', whose own check names them.
            (None, None) => Ok(()),
        }
    }
}
