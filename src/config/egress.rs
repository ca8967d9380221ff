//! `[destinations]` and `[delivery]`: where things go, and how.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use super::{RateLimit, Secret, units};
use crate::model::{Level, TargetUrl};

/// A named destination.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// Where it is. The operator's own words: private addresses are fine.
    pub url: TargetUrl,
    /// `whsec_…` secrets; each signs, so that they can be rotated.
    #[serde(default)]
    pub secrets: Vec<Secret>,
    /// An environment variable that holds more secrets, comma-separated.
    #[serde(default)]
    pub secrets_env: Option<String>,
    /// A file that holds more secrets, one a line.
    #[serde(default)]
    pub secrets_file: Option<PathBuf>,
    /// Headers sent with every attempt; a value may well be a token.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// How long an attempt may take; `delivery.timeout` if not said.
    #[serde(default, deserialize_with = "units::some_duration")]
    pub timeout: Option<Duration>,
    /// Attempts a second (level durable).
    #[serde(default)]
    pub rate_limit: Option<RateLimit>,
    /// Attempts at once (level durable).
    #[serde(default)]
    pub concurrency: Option<u32>,
    /// Statuses to retry that would otherwise dead-letter.
    #[serde(default)]
    pub transient_statuses: Vec<u16>,
    /// Statuses to dead-letter that would otherwise be retried.
    #[serde(default)]
    pub permanent_statuses: Vec<u16>,
    /// When to retry (level durable).
    #[serde(default)]
    pub retry: RetrySettings,
    /// When to leave it alone (level durable).
    #[serde(default)]
    pub breaker: BreakerSettings,
    /// A PEM file of the certificates that it is trusted by, and no others: private authorities, or
    /// the very certificate that it shows, such as a self-signed one. The usual roots if not said.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

impl Destination {
    /// A destination with nothing set but where it is.
    pub fn new(url: TargetUrl) -> Self {
        Self {
            url,
            secrets: Vec::new(),
            secrets_env: None,
            secrets_file: None,
            headers: BTreeMap::new(),
            timeout: None,
            rate_limit: None,
            concurrency: None,
            transient_statuses: Vec::new(),
            permanent_statuses: Vec::new(),
            retry: RetrySettings::default(),
            breaker: BreakerSettings::default(),
            ca_file: None,
        }
    }
}

/// A retry schedule as it is written: what isn't said comes from `[delivery.defaults]`, and what
/// isn't said there from the built-in one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetrySettings {
    /// The wait after each failed attempt.
    #[serde(deserialize_with = "some_durations")]
    pub schedule: Option<Vec<Duration>>,
    /// The largest part of a wait that is added at random.
    pub jitter: Option<f64>,
    /// Instead of a schedule: the wait after the first failed attempt …
    #[serde(deserialize_with = "units::some_duration")]
    pub base: Option<Duration>,
    /// … multiplied by this after each further one …
    pub factor: Option<f64>,
    /// … up to this …
    #[serde(deserialize_with = "units::some_duration")]
    pub cap: Option<Duration>,
    /// … for so many attempts in all.
    pub attempts: Option<u32>,
}

impl RetrySettings {
    /// The growth of the waits when only `base` is said: doubling.
    const FACTOR: f64 = 2.0;
    /// The longest wait when only `base` is said: the default schedule's last one.
    const CAP: Duration = Duration::from_secs(24 * 3600);
    /// The attempts when only `base` is said: as many as the default schedule has.
    const ATTEMPTS: u32 = 10;

    /// The waits, if any are said, in either form.
    pub fn waits(&self) -> Option<Vec<Duration>> {
        let Some(base) = self.base else {
            return self.schedule.clone();
        };
        let cap = self.cap.unwrap_or(Self::CAP);
        let factor = self.factor.unwrap_or(Self::FACTOR);
        let mut wait = base.as_secs_f64();
        let mut waits = Vec::new();
        for _ in 1..self.attempts.unwrap_or(Self::ATTEMPTS) {
            waits.push(Duration::try_from_secs_f64(wait).map_or(cap, |wait| wait.min(cap)));
            wait *= factor;
        }
        Some(waits)
    }
}

/// The longest that `Retry-After` is heeded: a receiver's typo must not hold its deliveries for
/// months.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// A circuit breaker as it is written: what isn't said comes from `[delivery.defaults]`, and what
/// isn't said there from [`BreakerRules`](crate::model::BreakerRules)' default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerSettings {
    /// Whether there is one; there is if not said.
    pub enabled: Option<bool>,
    /// Failures in a row that open it.
    pub failures: Option<u32>,
    /// The part of failed attempts within `window` that opens it.
    pub ratio: Option<f64>,
    /// The attempts from which on `ratio` counts.
    pub min_attempts: Option<u32>,
    /// How far back `ratio` looks.
    #[serde(deserialize_with = "units::some_duration")]
    pub window: Option<Duration>,
    /// When the first probe is made; each failed one doubles the wait.
    #[serde(deserialize_with = "units::some_duration")]
    pub probe_after: Option<Duration>,
    /// The longest wait between probes.
    #[serde(deserialize_with = "units::some_duration")]
    pub probe_cap: Option<Duration>,
}

fn some_durations<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<Vec<Duration>>, D::Error> {
    units::durations(from).map(Some)
}

/// The executor.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Delivery {
    /// How far deliveries go; the highest level compiled in if not said.
    pub level: Option<Level>,
    /// Attempts at once: blocking threads.
    pub workers: usize,
    /// How long an attempt may take, all in all.
    #[serde(deserialize_with = "units::duration")]
    pub timeout: Duration,
    /// How long connecting may take.
    #[serde(deserialize_with = "units::duration")]
    pub connect_timeout: Duration,
    /// Networks that ad hoc URLs may reach besides the public internet.
    pub allow_networks: Vec<IpNet>,
    /// Level 1.
    pub simulated: Simulated,
    /// For destinations that don't say.
    pub defaults: Defaults,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            level: None,
            workers: 64,
            timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(5),
            allow_networks: Vec::new(),
            simulated: Simulated::default(),
            defaults: Defaults::default(),
        }
    }
}

/// Level 1.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Simulated {
    /// How long a simulated attempt takes.
    #[serde(deserialize_with = "units::duration")]
    pub latency: Duration,
}

impl Default for Simulated {
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(50),
        }
    }
}

/// For destinations that don't say, ad hoc ones among them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Defaults {
    /// Attempts a second; unlimited if not said.
    pub rate_limit: Option<RateLimit>,
    /// Attempts at once; [`Config::CONCURRENCY`](crate::Config::CONCURRENCY) if not said.
    pub concurrency: Option<u32>,
    /// When to retry.
    pub retry: RetrySettings,
    /// When to leave it alone.
    pub breaker: BreakerSettings,
}
