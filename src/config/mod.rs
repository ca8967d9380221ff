//! `relay.toml` and the environment, made into a checked [`Config`].
//!
//! Unknown keys, bad values and settings that contradict each other are errors of one line that
//! name the file, the key, the value and what was expected.
//!
//! - `load`: reads the file, the environment and the secrets. `units`: how values are written.
//! - `ingress`, `egress`, `verify`: the sections, with their defaults. `secret`: a text that is
//!   never printed.
//! - `check`: ranges, references and contradictions. `rules`: the same for single values.

mod check;
mod egress;
mod ingress;
mod load;
mod rules;
mod secret;
#[cfg(test)]
mod tests;
mod units;
mod verify;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hyper::header::HeaderName;
use serde::Deserialize;

pub(crate) use egress::MAX_RETRY_AFTER;
pub use egress::{BreakerSettings, Defaults, Delivery, Destination, RetrySettings, Simulated};
pub use ingress::{Admin, Api, ApiRateLimit, IdempotencyKeyAt, RateLimit, Server, Source};
pub use load::ConfigError;
pub use secret::Secret;
pub use verify::{
    Algorithm, Encoding, HmacScheme, SignatureFormat, SignedContent, SignedPart, StandardWebhooks,
    Verify,
};

use crate::model::{AddressPolicy, BreakerRules, Level, Retry, RetryPlan};

/// Everything that can be set. [`Config::default`] is what an empty file means.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The public listener.
    pub server: Server,
    /// The operator's listener.
    pub admin: Admin,
    /// The one file.
    pub database: Database,
    /// The relay API.
    pub api: Api,
    /// Named destinations.
    pub destinations: BTreeMap<String, Destination>,
    /// Webhook sources; `*` is the catch-all.
    pub sources: BTreeMap<String, Source>,
    /// The executor.
    pub delivery: Delivery,
    /// How long what is finished stays.
    pub retention: Retention,
    /// The log.
    pub log: Log,
}

/// The database.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// The file; `-wal`, `-shm` and `.lock` files stand beside it.
    pub path: PathBuf,
    /// Connections that read.
    pub readers: u32,
    /// Below this much free space on the file's disk, ingestion is refused.
    #[serde(deserialize_with = "units::size")]
    pub min_free_bytes: u64,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            path: PathBuf::from("relay.db"),
            readers: 4,
            min_free_bytes: 64 << 20,
        }
    }
}

/// How long what is finished stays, counted from its end; none: forever. What is pending is never
/// touched.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Intents of which every delivery has arrived.
    #[serde(deserialize_with = "units::duration_or_forever")]
    pub delivered: Option<Duration>,
    /// Intents of which a delivery was given up, and none is pending.
    #[serde(deserialize_with = "units::duration_or_forever")]
    pub dead_lettered: Option<Duration>,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            delivered: Some(Duration::from_secs(7 * 86_400)),
            dead_lettered: Some(Duration::from_secs(30 * 86_400)),
        }
    }
}

/// The log.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Text or JSON lines.
    pub format: LogFormat,
    /// Filter, in `env_logger`'s syntax.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Auto,
            level: "info".to_owned(),
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON lines otherwise.
    Auto,
    /// Text.
    Text,
    /// JSON lines.
    Json,
}

impl Config {
    /// Attempts at once to one destination: a decision; an eighth of the default pool, so that
    /// seven destinations can hang before others wait for a worker.
    pub const CONCURRENCY: u32 = 8;

    /// The schedule of the Standard Webhooks specification's example, lengthened to about three
    /// days and a half: long enough for a weekend's outage.
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

    /// The jitter of that schedule: a decision; a fifth spreads an outage's backlog without making
    /// the schedule unreadable.
    pub const JITTER: f64 = 0.2;

    /// The level that runs.
    pub fn level(&self) -> Level {
        self.delivery.level.unwrap_or(crate::COMPILED_LEVEL)
    }

    /// The settings of the destination stored under `name`; none for an ad hoc origin, or when it
    /// is no longer in the file.
    pub fn destination(&self, name: &str) -> Option<&Destination> {
        self.destinations.get(name)
    }

    /// Whether a delivery to the destination stored under `name` can be attempted: the file has its
    /// settings, or it is an ad hoc origin, whose deliveries carry their own URL.
    pub fn is_deliverable(&self, name: &str) -> bool {
        self.destination(name).is_some() || name.contains("://")
    }

    /// The schedule of the destination stored under `name`, before a level has its say.
    pub fn full_retry(&self, name: &str) -> Retry {
        let own = self.destination(name).map(|destination| &destination.retry);
        let defaults = &self.delivery.defaults.retry;
        Retry {
            schedule: own
                .and_then(RetrySettings::waits)
                .or_else(|| defaults.waits())
                .unwrap_or_else(|| Self::SCHEDULE.to_vec()),
            jitter: own
                .and_then(|own| own.jitter)
                .or(defaults.jitter)
                .unwrap_or(Self::JITTER),
            honours_retry_after: true,
        }
    }

    /// When the destination stored under `name` is left alone; none if never.
    pub fn breaker(&self, name: &str) -> Option<BreakerRules> {
        let none = BreakerSettings::default();
        let own = self.destination(name).map_or(&none, |to| &to.breaker);
        let defaults = &self.delivery.defaults.breaker;
        let built_in = BreakerRules::default();
        own.enabled.or(defaults.enabled).unwrap_or(true).then(|| {
            let probe_after = own.probe_after.or(defaults.probe_after);
            let probe_after = probe_after.unwrap_or(built_in.probe_after);
            BreakerRules {
                failures: own
                    .failures
                    .or(defaults.failures)
                    .unwrap_or(built_in.failures),
                ratio: own.ratio.or(defaults.ratio).unwrap_or(built_in.ratio),
                min_attempts: own
                    .min_attempts
                    .or(defaults.min_attempts)
                    .unwrap_or(built_in.min_attempts),
                window: own.window.or(defaults.window).unwrap_or(built_in.window),
                probe_after,
                probe_cap: own
                    .probe_cap
                    .or(defaults.probe_cap)
                    .unwrap_or(built_in.probe_cap)
                    .max(probe_after),
            }
        })
    }

    /// When failed attempts to the destination stored under `name` are repeated, at the level that
    /// runs.
    pub fn retry(&self, name: &str) -> Retry {
        RetryPlan::of(self.level())
            .apply(&self.full_retry(name))
            .into_owned()
    }

    /// The longest that any delivery may have to wait for its next attempt.
    pub(crate) fn longest_wait(&self) -> Duration {
        let names = self.destinations.keys().map(String::as_str);
        // Ad hoc origins have the defaults, and so has what isn't configured.
        names
            .chain([""])
            .map(|name| self.full_retry(name))
            .filter_map(|retry| {
                let wait = retry.schedule.iter().max()?;
                Some(wait.saturating_add(wait.mul_f64(retry.jitter)))
            })
            .fold(MAX_RETRY_AFTER, Duration::max)
    }

    /// The settings for a source's events: its own, or the catch-all's.
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.get(name).or_else(|| self.sources.get("*"))
    }

    /// Which addresses may be dialled, given where we listen.
    pub fn address_policy(&self, own_listeners: Vec<SocketAddr>) -> AddressPolicy {
        AddressPolicy {
            allow_networks: self.delivery.allow_networks.clone(),
            own_listeners,
        }
    }
}

/// A duration as it is written in the file.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    units::parse_duration(text)
}

fn is_header_name(text: &str) -> bool {
    HeaderName::try_from(text).is_ok()
}
