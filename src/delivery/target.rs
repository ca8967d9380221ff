//! A destination as the executor sees it.

use std::sync::Arc;

use crate::config::{DestinationPolicy, Resolved};

/// Where deliveries go, with all that is set about it.
#[derive(Debug)]
pub(super) struct Target {
    pub id: i64,
    /// A name of the configuration's, or an origin.
    pub name: String,
    /// What metrics call it: its name, unless there are too many.
    pub label: String,
    pub policy: Arc<DestinationPolicy>,
}

impl Target {
    /// The name that ad hoc origins share in the metrics beyond a fixed number.
    pub const ADHOC: &str = "adhoc";

    pub fn new(id: i64, name: &str, config: &Resolved, own_label: bool) -> Self {
        let policy = Arc::clone(config.destination(name));
        let label = if policy.is_configured() || own_label {
            name
        } else {
            Self::ADHOC
        };
        Self {
            id,
            label: label.to_owned(),
            name: name.to_owned(),
            policy,
        }
    }

    /// Whether it can be delivered to: an origin, or a name that is still configured.
    pub fn is_known(&self) -> bool {
        self.policy.is_configured() || !self.is_named()
    }

    /// Whether it is a name of the configuration's, be it a former one, rather than the origin of
    /// an ad hoc URL.
    pub fn is_named(&self) -> bool {
        !self.name.contains("://")
    }
}
