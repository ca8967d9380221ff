//! `[retention]`: how long finished intents are kept.

use std::time::Duration;

use serde::Deserialize;

use crate::config::rules::{Checked, bad, shown};
use crate::config::units;

/// How long finished intents are kept, counted from their end; none: forever. Pending intents are
/// never deleted.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// For intents whose deliveries all arrived. Default: 7 days.
    #[serde(deserialize_with = "units::duration_or_forever")]
    #[cfg_attr(test, schemars(with = "units::LastingText"))]
    pub delivered: Option<Duration>,
    /// For intents with a dead letter and no pending delivery. Default: 30 days.
    #[serde(deserialize_with = "units::duration_or_forever")]
    #[cfg_attr(test, schemars(with = "units::LastingText"))]
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

impl Retention {
    /// Refuses a time shorter than the idempotency window: a deleted intent's key is deleted, too.
    pub(in crate::config) fn check(&self, key: &str, window: Duration) -> Checked {
        for (name, kept) in [
            ("delivered", self.delivered),
            ("dead_lettered", self.dead_lettered),
        ] {
            if let Some(kept) = kept
                && kept < window
            {
                let least = format!("at least api.idempotency_window ({})", shown(window));
                return bad(&format!("{key}.{name}"), shown(kept), &least);
            }
        }
        Ok(())
    }
}
