//! A destination as the executor sees it.

use crate::config::{Config, Destination};
use crate::model::{Retry, RetryPlan};

/// Where deliveries go, with all that is set about it.
#[derive(Debug)]
pub(super) struct Target {
    pub id: i64,
    /// A name of the configuration's, or an origin.
    pub name: String,
    /// What metrics call it: its name, unless there are too many.
    pub label: String,
    /// None for an ad hoc origin.
    pub settings: Option<Destination>,
    pub retry: Retry,
}

impl Target {
    /// The name that ad hoc origins share in the metrics beyond a fixed number.
    pub const ADHOC: &str = "adhoc";

    pub fn new(id: i64, name: &str, config: &Config, plan: RetryPlan, own_label: bool) -> Self {
        let settings = config.destination(name).cloned();
        let label = if settings.is_some() || own_label {
            name
        } else {
            Self::ADHOC
        };
        Self {
            id,
            label: label.to_owned(),
            retry: plan.apply(&config.full_retry(name)).into_owned(),
            name: name.to_owned(),
            settings,
        }
    }

    /// Whether it can be delivered to: an origin, or a name that is still configured.
    pub fn is_known(&self) -> bool {
        self.settings.is_some() || !self.is_named()
    }

    /// Whether it is a name of the configuration's, be it a former one, rather than the origin of
    /// an ad hoc URL.
    pub fn is_named(&self) -> bool {
        !self.name.contains("://")
    }
}
