//! All settings as they are written.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::compiled_level::COMPILED_LEVEL;
use crate::config::sections::{
    Admin, Alerts, Api, Backup, Database, Delivery, Destination, Log, Node, Retention, Server,
    Source,
};
use crate::model::Level;

/// All settings. [`Config::default`] is what an empty file means.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The public listener.
    pub server: Server,
    /// The operator's listener.
    pub admin: Admin,
    /// The database.
    pub database: Database,
    /// This process among those that share a database of PostgreSQL.
    pub node: Node,
    /// The relay API.
    pub api: Api,
    /// Named destinations.
    pub destinations: BTreeMap<String, Destination>,
    /// Webhook sources; `*` is the catch-all.
    pub sources: BTreeMap<String, Source>,
    /// The executor.
    pub delivery: Delivery,
    /// How long finished intents are kept.
    pub retention: Retention,
    /// Alerts and the heartbeat; none: the operator has the log alone.
    pub alerts: Option<Alerts>,
    /// Backups at intervals; none: there are none.
    pub backup: Option<Backup>,
    /// The log.
    pub log: Log,
}

impl Config {
    /// The level that runs.
    pub fn level(&self) -> Level {
        self.delivery.level.unwrap_or(COMPILED_LEVEL)
    }
}
