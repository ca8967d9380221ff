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
    /// Not acted on yet; see [`Config::check`](crate::Config::check).
    #[serde(default)]
    pub breaker: Option<toml::Table>,
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
            breaker: None,
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
    /// Not acted on yet; see [`Config::check`](crate::Config::check).
    pub breaker: Option<toml::Table>,
}
