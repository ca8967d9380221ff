//! `[node]`: this process among those that share a database of PostgreSQL.

use std::time::Duration;

use serde::Deserialize;

use crate::config::rules::{Checked, EXPECTED_NAME, bad, quoted, shown};
use crate::config::units;
use crate::model::is_name;

/// This process among those that share a database of PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Node {
    /// Its name, which no other living node has; without one, the name of the host.
    pub name: Option<String>,
    /// After so long without a heartbeat others take its deliveries over. Default: 5 s.
    #[serde(deserialize_with = "units::duration")]
    #[cfg_attr(test, schemars(with = "units::DurationText"))]
    pub lease: Duration,
    /// The time from one heartbeat to the next. Default: 1 s.
    #[serde(deserialize_with = "units::duration")]
    #[cfg_attr(test, schemars(with = "units::DurationText"))]
    pub heartbeat: Duration,
    /// Whether each request to a destination names this node, in `Relay-Node`. It is for tests that
    /// judge which node delivered: no file can set it, but a program or the variable
    /// `RELAY_TEST_NODE_HEADER`.
    #[serde(skip)]
    pub is_named_in_requests: bool,
}

/// A lease has room for this many heartbeats, so that a late one doesn't end it.
const HEARTBEATS: u32 = 4;
const HEARTBEAT: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(60);
const LONGEST_LEASE: Duration = Duration::from_secs(3600);

impl Default for Node {
    fn default() -> Self {
        Self {
            name: None,
            lease: Duration::from_secs(5),
            heartbeat: Duration::from_secs(1),
            is_named_in_requests: false,
        }
    }
}

impl Node {
    /// The name that the settings give, or that of the host.
    pub(crate) fn own_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| {
            let host = rustix::system::uname();
            host.nodename().to_string_lossy().into_owned()
        })
    }

    pub(in crate::config) fn check(&self, key: &str) -> Checked {
        if let Some(name) = self.name.as_ref().filter(|name| !is_name(name)) {
            let key = format!("{key}.name");
            return Err((key, format!("{}: {EXPECTED_NAME}", quoted(name))));
        }
        if !HEARTBEAT.contains(&self.heartbeat) {
            let key = format!("{key}.heartbeat");
            return bad(&key, shown(self.heartbeat), "100ms to 60s");
        }
        if self.lease < self.heartbeat * HEARTBEATS || self.lease > LONGEST_LEASE {
            let expected = "4 times node.heartbeat at least, and 1h at most";
            return bad(&format!("{key}.lease"), shown(self.lease), expected);
        }
        Ok(())
    }
}
