//! `[api]`: the relay API.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::config::rules::{Checked, MAX_WAIT, bad, bad_secret, not_a_reference, resolved, shown};
use crate::config::secrets::{Secret, SecretList, VariableNames};
use crate::config::sections::rate_limit::RateLimit;
use crate::config::units;

/// The relay API.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// The keys that may call it; without any, every call is refused. Default: none.
    pub keys: Vec<Secret>,
    /// Environment variables that hold one key each.
    pub keys_env: Option<VariableNames>,
    /// A file that holds more keys, one a line.
    pub keys_file: Option<PathBuf>,
    /// How long an idempotency key, of a relay or of an event, names its first request. Default:
    /// 1 h.
    #[serde(deserialize_with = "units::duration")]
    #[cfg_attr(test, schemars(with = "units::DurationText"))]
    pub idempotency_window: Duration,
    /// The token buckets of each key.
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

/// The API's token buckets. Each key has its own.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct ApiRateLimit {
    /// For `POST`. Default: 10 a second, bursts of 20.
    pub post: RateLimit,
    /// For `GET` and `HEAD`. Default: 50 a second, bursts of 100.
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

impl Api {
    pub(in crate::config) fn secret_list(&mut self, key: &str) -> SecretList<'_> {
        SecretList {
            key: format!("{key}.keys"),
            secrets: &mut self.keys,
            variables: &mut self.keys_env,
            file: &mut self.keys_file,
        }
    }

    pub(in crate::config) fn check(&self, key: &str) -> Checked {
        let keys = format!("{key}.keys");
        resolved(&keys, self.keys_env.is_some(), self.keys_file.is_some())?;
        for (at, secret) in self.keys.iter().enumerate() {
            let text = secret.reveal();
            if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
                return bad_secret(&keys, at, "visible ASCII characters without blanks");
            }
            not_a_reference(&keys, at, secret)?;
        }
        let window = self.idempotency_window;
        if window.is_zero() || window > MAX_WAIT {
            return bad(
                &format!("{key}.idempotency_window"),
                shown(window),
                "1ms to 30d",
            );
        }
        let limits = &self.rate_limit;
        limits.post.check(&format!("{key}.rate_limit.post"))?;
        limits.get.check(&format!("{key}.rate_limit.get"))
    }
}
