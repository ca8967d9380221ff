//! `[server]`, `[admin]`, `[api]` and `[sources]`: who comes in.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{Secret, Verify, units};

/// The public listener and its limits.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Where to listen.
    #[serde(deserialize_with = "units::listen")]
    pub listen: SocketAddr,
    /// Connections at once; further ones wait in the kernel's backlog.
    pub max_connections: u32,
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
    /// How the provider's signature is checked; unchecked if not said.
    #[serde(default)]
    pub verify: Option<Verify>,
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
            verify: None,
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
