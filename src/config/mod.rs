//! `relay.toml` and the environment, made into a checked [`Config`].
//!
//! Unknown keys, bad values and settings that contradict each other are errors of one line that
//! name the file, the key, the value and what was expected.

mod check;
mod load;
mod secret;
#[cfg(test)]
mod tests;
mod units;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

pub use load::ConfigError;
pub use secret::Secret;

use crate::model::{AddressPolicy, Level, Retry, RetryPlan, TargetUrl};

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
    /// Not acted on yet; see [`Config::check`].
    pub retention: Option<toml::Table>,
    /// The log.
    pub log: Log,
}

/// The public listener and its limits.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Where to listen.
    #[serde(deserialize_with = "units::listen")]
    pub listen: SocketAddr,
    /// Connections at once; further ones wait in the kernel's backlog.
    pub max_connections: usize,
    /// The largest body on `/v1`.
    #[serde(deserialize_with = "units::size")]
    pub max_body_bytes: u64,
    /// How long a client may take to send its headers, and how long a kept-alive connection may
    /// stay idle.
    #[serde(deserialize_with = "units::duration")]
    pub header_timeout: Duration,
    /// How long a request may take from its headers to its answer.
    #[serde(deserialize_with = "units::duration")]
    pub request_timeout: Duration,
    /// How long a stop waits for requests, and then for attempts.
    #[serde(deserialize_with = "units::duration")]
    pub shutdown_grace: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            max_connections: 1024,
            max_body_bytes: 32_768,
            header_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            shutdown_grace: Duration::from_secs(10),
        }
    }
}

/// The operator's listener: metrics. Never on the public one.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Where to listen; none turns it off.
    #[serde(deserialize_with = "units::listen_or_off")]
    pub listen: Option<SocketAddr>,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 8081))),
        }
    }
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

/// The relay API.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// The keys that may call it; without any, every call is refused.
    pub keys: Vec<Secret>,
    /// An environment variable that holds more keys, comma-separated.
    pub keys_env: Option<String>,
    /// A file that holds more keys, one a line.
    pub keys_file: Option<PathBuf>,
    /// How long an idempotency key, of a relay or of an event, names its first request.
    #[serde(deserialize_with = "units::duration")]
    pub idempotency_window: Duration,
    /// Per key.
    pub rate_limit: ApiRateLimit,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            keys_env: None,
            keys_file: None,
            idempotency_window: Duration::from_secs(3600),
            rate_limit: ApiRateLimit::default(),
        }
    }
}

/// The API's token buckets, one of each for every key.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiRateLimit {
    /// For `POST`.
    pub post: RateLimit,
    /// For `GET` and `HEAD`.
    pub get: RateLimit,
}

impl Default for ApiRateLimit {
    fn default() -> Self {
        Self {
            post: RateLimit {
                per_second: 10.0,
                burst: 20,
            },
            get: RateLimit {
                per_second: 50.0,
                burst: 100,
            },
        }
    }
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Tokens a second.
    pub per_second: f64,
    /// The bucket's size.
    pub burst: u32,
}

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
    /// Not acted on yet; see [`Config::check`].
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

/// A webhook source.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Names of destinations; each gets its own delivery.
    pub destinations: Vec<String>,
    /// Where the provider's idempotency key is.
    #[serde(default)]
    pub idempotency: IdempotencyKeyAt,
    /// The largest body.
    #[serde(default, deserialize_with = "units::some_size")]
    pub max_body_bytes: Option<u64>,
    /// Whether bodies that aren't JSON are accepted.
    #[serde(default)]
    pub accept_any_content: bool,
    /// Whether the provider's `Authorization` is kept and delivered.
    #[serde(default)]
    pub forward_authorization: bool,
    /// Events a second. For the catch-all: of each source name.
    #[serde(default)]
    pub rate_limit: Option<RateLimit>,
}

impl Source {
    /// The largest body when a source doesn't say: what large providers send at most is 25 MB
    /// (GitHub), what they send as a rule is some KB.
    pub const MAX_BODY_BYTES: u64 = 1 << 20;

    /// A source with nothing set but where its events go.
    pub fn to(destinations: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            destinations: destinations.into_iter().map(Into::into).collect(),
            idempotency: IdempotencyKeyAt::default(),
            max_body_bytes: None,
            accept_any_content: false,
            forward_authorization: false,
            rate_limit: None,
        }
    }

    /// The largest body.
    pub fn max_body_bytes(&self) -> u64 {
        self.max_body_bytes.unwrap_or(Self::MAX_BODY_BYTES)
    }
}

/// Where an event's idempotency key is found.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum IdempotencyKeyAt {
    /// In a header of this name.
    Header(String),
    /// In the JSON body, at this pointer (RFC 6901).
    JsonPointer(String),
}

impl Default for IdempotencyKeyAt {
    fn default() -> Self {
        Self::Header("Idempotency-Key".to_owned())
    }
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
    /// Attempts at once; [`Config::CONCURRENCY`] if not said.
    pub concurrency: Option<u32>,
    /// When to retry.
    pub retry: RetrySettings,
    /// Not acted on yet; see [`Config::check`].
    pub breaker: Option<toml::Table>,
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

    /// The schedule of the destination stored under `name`, before a level has its say.
    pub fn full_retry(&self, name: &str) -> Retry {
        let own = self.destination(name).map(|destination| &destination.retry);
        let defaults = &self.delivery.defaults.retry;
        Retry {
            schedule: own
                .and_then(|own| own.schedule.clone())
                .or_else(|| defaults.schedule.clone())
                .unwrap_or_else(|| Self::SCHEDULE.to_vec()),
            jitter: own
                .and_then(|own| own.jitter)
                .or(defaults.jitter)
                .unwrap_or(Self::JITTER),
            honours_retry_after: true,
        }
    }

    /// When failed attempts to the destination stored under `name` are repeated, at the level that
    /// runs.
    pub fn retry(&self, name: &str) -> Retry {
        RetryPlan::of(self.level())
            .apply(&self.full_retry(name))
            .into_owned()
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
