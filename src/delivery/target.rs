//! A destination as the executor sees it.

use std::sync::Arc;

use crate::config::{DestinationPolicy, Resolved};
use crate::store::DestinationId;

/// A destination with its policy.
#[derive(Debug)]
pub(super) struct Target {
    pub id: DestinationId,
    /// A name from the configuration, or an origin.
    pub name: String,
    /// Its label in metrics: its name, unless there are too many.
    pub label: String,
    pub policy: Arc<DestinationPolicy>,
}

impl Target {
    /// The label that ad hoc origins beyond a fixed number share in the metrics.
    pub const ADHOC: &str = "adhoc";

    pub fn new(id: DestinationId, name: &str, config: &Resolved, own_label: bool) -> Self {
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

    /// Whether it is a name from the configuration, now or formerly, rather than the origin of an
    /// ad hoc URL.
    pub fn is_named(&self) -> bool {
        !self.name.contains("://")
    }
}
