//! `[alerts]`: what the operator is told, and where.

use std::time::Duration;

use serde::Deserialize;

use crate::config::rules::{Checked, bad, quoted, shown};
use crate::config::secrets::{Env, Secret, from_variable};
use crate::config::units;
use crate::model::TargetUrl;

/// The source of alerts. It is reserved once `[alerts]` stands, so that nobody else can make one.
pub const ALERT_SOURCE: &str = "relay";

/// Alerts and the heartbeat. Alerts are events of the source `relay`, which reach their
/// destination through relay's own queue.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Alerts {
    /// The destination of alerts; none: only the heartbeat is sent.
    pub destination: Option<String>,
    /// The form of an alert. Default: `standard`.
    pub format: AlertFormat,
    /// Tells a dead man's switch that the relay works. Default: none.
    pub heartbeat: Option<Heartbeat>,
}

/// The form of an alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum AlertFormat {
    /// The JSON of Standard Webhooks: `type`, `timestamp`, `data`.
    #[default]
    Standard,
    /// The JSON of an incoming webhook of Slack, which others take, too: `text`.
    Slack,
    /// Plain text, with the headers of ntfy.
    Ntfy,
    /// Plain text.
    Text,
}

impl AlertFormat {
    /// Its name in the configuration.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Slack => "slack",
            Self::Ntfy => "ntfy",
            Self::Text => "text",
        }
    }
}

/// A request that is sent at intervals while the relay works.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// The URL. It is a secret: whoever knows it can keep an alarm from going off.
    #[serde(default)]
    pub url: Option<Secret>,
    /// The environment variable that holds the URL.
    #[serde(default)]
    pub url_env: Option<String>,
    /// The time from one request to the next. Default: 1 minute.
    #[serde(default = "every_minute", deserialize_with = "units::duration")]
    #[cfg_attr(test, schemars(with = "units::DurationText"))]
    pub every: Duration,
}

fn every_minute() -> Duration {
    Duration::from_secs(60)
}

/// The shortest and the longest interval of heartbeats.
const EVERY: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(86_400);

impl Heartbeat {
    /// A heartbeat to a URL, once a minute.
    pub fn to(url: Secret) -> Self {
        Self {
            url: Some(url),
            url_env: None,
            every: every_minute(),
        }
    }

    fn check(&self, key: &str) -> Checked {
        if self.url_env.is_some() {
            let problem = format!("nobody resolves it here: expected the URL itself in {key}.url");
            return Err((format!("{key}.url_env"), problem));
        }
        let url = format!("{key}.url");
        let Some(found) = &self.url else {
            return Err((
                key.to_owned(),
                "expected url_env, the name of the variable that holds the URL, or url".to_owned(),
            ));
        };
        if let Err(error) = found.reveal().parse::<TargetUrl>() {
            return Err((url, format!("*** {error}")));
        }
        if !EVERY.contains(&self.every) {
            return bad(&format!("{key}.every"), shown(self.every), "10s to 1d");
        }
        Ok(())
    }
}

impl Alerts {
    /// Adds the heartbeat's URL from its variable.
    pub(in crate::config) fn resolve(
        &mut self,
        key: &str,
        env: Env<'_>,
    ) -> Result<(), (String, String)> {
        let Some(heartbeat) = &mut self.heartbeat else {
            return Ok(());
        };
        let Some(name) = heartbeat.url_env.take() else {
            return Ok(());
        };
        let key = format!("{key}.heartbeat.url_env");
        if heartbeat.url.is_some() {
            let problem = format!("{}: expected either url or url_env", quoted(&name));
            return Err((key, problem));
        }
        heartbeat.url = Some(from_variable(&name, env).map_err(|problem| (key, problem))?);
        Ok(())
    }

    pub(in crate::config) fn check(&self, key: &str) -> Checked {
        if self.destination.is_none() && self.heartbeat.is_none() {
            let expected = "expected destination, the name of a [destinations.…] section, or \
                            heartbeat";
            return Err((key.to_owned(), expected.to_owned()));
        }
        match &self.heartbeat {
            Some(heartbeat) => heartbeat.check(&format!("{key}.heartbeat")),
            None => Ok(()),
        }
    }
}
