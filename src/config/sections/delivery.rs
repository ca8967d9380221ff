//! `[delivery]`: the executor, and the defaults of destinations.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use crate::config::rules::{Checked, MAX_TIMEOUT, bad, quoted, shown, timeout, within};
use crate::config::secrets::{OneSecret, Secret};
use crate::config::sections::breaker::BreakerSettings;
use crate::config::sections::proxy::{ProxySetting, authorization, check_authorization};
use crate::config::sections::rate_limit::RateLimit;
use crate::config::sections::retry::RetrySettings;
use crate::config::units;
use crate::model::{Level, NoProxy};

/// The executor.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Delivery {
    /// The level that runs. Default: the highest one that is compiled in.
    pub level: Option<Level>,
    /// Worker threads, each with one attempt at a time. Default: 64.
    pub workers: usize,
    /// The time for an attempt as a whole. Default: 15 s.
    #[serde(deserialize_with = "units::duration")]
    #[cfg_attr(test, schemars(with = "units::DurationText"))]
    pub timeout: Duration,
    /// The time to connect; at most `timeout`. Default: 5 s, or `timeout` if that is shorter.
    #[serde(deserialize_with = "units::some_duration")]
    #[cfg_attr(test, schemars(with = "Option<units::DurationText>"))]
    pub connect_timeout: Option<Duration>,
    /// Networks that ad hoc URLs may reach besides the public internet. Default: none.
    #[serde(deserialize_with = "units::networks")]
    #[cfg_attr(test, schemars(with = "Vec<units::NetworkText>"))]
    pub allow_networks: Vec<IpNet>,
    /// The proxy that destinations are reached through. Default: none; the environment names none.
    pub proxy: Option<ProxySetting>,
    /// Hosts that are reached without `proxy`: names with all names below them, and networks.
    /// Default: none.
    pub no_proxy: Vec<NoProxy>,
    /// The credentials for `proxy`: `user:password`, or a scheme with its own. Default: none.
    pub proxy_authorization: Option<Secret>,
    /// An environment variable that holds the credentials.
    pub proxy_authorization_env: Option<String>,
    /// A file that holds the credentials.
    pub proxy_authorization_file: Option<PathBuf>,
    /// Whether ad hoc URLs go through `proxy`, which then has to keep them out of private networks.
    /// Default: false.
    pub proxy_adhoc: bool,
    /// Level simulated.
    pub simulated: Simulated,
    /// For destinations that don't set the key.
    pub defaults: Defaults,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            level: None,
            workers: 64,
            timeout: Duration::from_secs(15),
            connect_timeout: None,
            allow_networks: Vec::new(),
            proxy: None,
            no_proxy: Vec::new(),
            proxy_authorization: None,
            proxy_authorization_env: None,
            proxy_authorization_file: None,
            proxy_adhoc: false,
            simulated: Simulated::default(),
            defaults: Defaults::default(),
        }
    }
}

/// Level simulated.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Simulated {
    /// The duration of a simulated attempt. Default: 50 ms.
    #[serde(deserialize_with = "units::duration")]
    #[cfg_attr(test, schemars(with = "units::DurationText"))]
    pub latency: Duration,
}

impl Default for Simulated {
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(50),
        }
    }
}

/// The settings of destinations that don't set them, ad hoc origins among them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Defaults {
    /// Attempts a second. Default: unlimited.
    pub rate_limit: Option<RateLimit>,
    /// Attempts at once. Default: [`Defaults::CONCURRENCY`].
    pub concurrency: Option<u32>,
    /// The retry schedule.
    pub retry: RetrySettings,
    /// The circuit breaker.
    pub breaker: BreakerSettings,
}

impl Defaults {
    /// Attempts at once to one destination: a decision; an eighth of the default pool, so that
    /// seven destinations can hang before others wait for a worker.
    pub const CONCURRENCY: u32 = 8;

    fn check(&self, key: &str) -> Checked {
        let breaker = format!("{key}.breaker");
        self.breaker.check(&breaker)?;
        self.breaker
            .check_probes(&breaker, &BreakerSettings::default())?;
        self.retry.check(&format!("{key}.retry"))?;
        check_limits(key, self.rate_limit.as_ref(), self.concurrency)
    }
}

/// Checks the limits that a destination and the defaults have alike.
pub(super) fn check_limits(
    key: &str,
    rate_limit: Option<&RateLimit>,
    concurrency: Option<u32>,
) -> Checked {
    if let Some(limit) = rate_limit {
        limit.check(&format!("{key}.rate_limit"))?;
    }
    match concurrency {
        Some(at_once) => within(&format!("{key}.concurrency"), at_once, 1, 1024),
        None => Ok(()),
    }
}

impl Delivery {
    /// The time to connect, unless another one is set or an attempt as a whole has less.
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

    /// The time to connect that takes effect.
    pub(in crate::config) fn time_to_connect(&self) -> Duration {
        self.connect_timeout
            .unwrap_or(Self::CONNECT_TIMEOUT.min(self.timeout))
    }

    pub(in crate::config) fn proxy_secret(&mut self, key: &str) -> OneSecret<'_> {
        authorization(
            key,
            &mut self.proxy_authorization,
            &mut self.proxy_authorization_env,
            &mut self.proxy_authorization_file,
        )
    }

    /// `compiled` is the highest level that this binary has.
    pub(in crate::config) fn check(&self, key: &str, compiled: Level) -> Checked {
        if let Some(level) = self.level
            && level > compiled
            && let Some(feature) = level.feature()
        {
            return bad(
                &format!("{key}.level"),
                quoted(&level.to_string()),
                &format!(
                    "a level compiled into this binary (up to \"{compiled}\"); \
                     build with --features {feature}"
                ),
            );
        }
        within(&format!("{key}.workers"), self.workers, 1, 1024)?;
        timeout(&format!("{key}.timeout"), self.timeout)?;
        if let Some(to_connect) = self.connect_timeout {
            let own = format!("{key}.connect_timeout");
            timeout(&own, to_connect)?;
            if to_connect > self.timeout {
                let most = format!("at most {key}.timeout ({})", shown(self.timeout));
                return bad(&own, shown(to_connect), &most);
            }
        }
        if self.simulated.latency > MAX_TIMEOUT {
            return bad(
                &format!("{key}.simulated.latency"),
                shown(self.simulated.latency),
                "at most 1h",
            );
        }
        self.check_proxy(key)?;
        self.defaults.check(&format!("{key}.defaults"))
    }

    fn check_proxy(&self, key: &str) -> Checked {
        let references = (
            self.proxy_authorization_env.is_some(),
            self.proxy_authorization_file.is_some(),
        );
        let (proxy, secret) = (self.proxy.as_ref(), self.proxy_authorization.as_ref());
        check_authorization(key, proxy, secret, references)?;
        if proxy.and_then(ProxySetting::url).is_some() {
            return Ok(());
        }
        for (name, is_set) in [
            ("no_proxy", !self.no_proxy.is_empty()),
            ("proxy_adhoc", self.proxy_adhoc),
        ] {
            if is_set {
                let problem = format!("expected {key}.proxy beside it: it is about that proxy");
                return Err((format!("{key}.{name}"), problem));
            }
        }
        Ok(())
    }
}
