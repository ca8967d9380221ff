//! When a change of each setting takes effect: at a reload, or at the next start.

use std::path::PathBuf;

use crate::config::sections::{Alerts, Backup, Tls};
use crate::config::settings::Config;

/// When a change of a setting takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// At a reload.
    Live,
    /// At the next start: a reload that changes it is refused.
    Restart,
}

#[cfg(test)]
impl Effect {
    /// The word for it in the documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Restart => "restart",
        }
    }
}

/// A setting, or a table of settings that take effect alike.
pub(crate) struct Setting {
    /// Its key; `NAME` stands for any name.
    pub key: &'static str,
    pub effect: Effect,
    /// Whether two checked configurations differ in it. Sources and destinations are compared as
    /// they take effect, one by one.
    pub differs: fn(&Config, &Config) -> bool,
}

macro_rules! settings {
    ($($effect:ident $section:ident $(. $key:ident)+ $(by $view:expr)?;)*) => {
        [$(Setting {
            key: concat!(stringify!($section) $(, ".", stringify!($key))+),
            effect: Effect::$effect,
            differs: settings!(@differs $section $(.$key)+ $(, $view)?),
        }),*]
    };
    (@differs $section:ident . $key:ident) => {
        |old, new| old.$section.$key != new.$section.$key
    };
    (@differs $section:ident $(. $key:ident)+, $view:expr) => {
        |old, new| $view(old) != $view(new)
    };
}

/// All settings but those of sources and destinations. Of a table that stands for itself, too, that
/// it is there or not takes a restart.
pub(crate) const SETTINGS: [Setting; 57] = settings! {
    Restart server.listen;
    Restart server.max_connections;
    Live server.max_body_bytes;
    Live server.header_timeout;
    Live server.keep_alive_timeout;
    Live server.max_headers;
    Live server.max_header_bytes;
    Live server.request_timeout;
    Restart server.shutdown_grace;
    Live server.public_url;
    Live server.trusted_proxies;
    Restart server.tls by |config: &Config| config.server.tls.is_some();
    Live server.tls.cert_file by |config: &Config| server_tls(config).map(|tls| tls.cert_file);
    Live server.tls.key_file by |config: &Config| server_tls(config).map(|tls| tls.key_file);
    Restart server.acme;
    Restart admin.listen;
    Live admin.tokens_env by |config: &Config| config.admin.tokens.clone();
    Live admin.read_tokens_env by |config: &Config| config.admin.read_tokens.clone();
    Live admin.allowed_hosts;
    Live admin.metrics_public;
    Restart admin.tls by |config: &Config| config.admin.tls.is_some();
    Live admin.tls.cert_file by |config: &Config| admin_tls(config).map(|tls| tls.cert_file);
    Live admin.tls.key_file by |config: &Config| admin_tls(config).map(|tls| tls.key_file);
    Restart database.path by database_path;
    Restart database.url;
    Restart database.ca_file;
    Restart database.statement_timeout;
    Restart database.readers;
    Restart database.min_free_bytes;
    Live database.max_bytes;
    Restart node.name;
    Restart node.lease;
    Restart node.heartbeat;
    Live api.keys;
    Live api.idempotency_window;
    Live api.rate_limit;
    Restart delivery.level by Config::level;
    Restart delivery.workers;
    Live delivery.timeout;
    Live delivery.connect_timeout;
    Live delivery.allow_networks;
    Live delivery.proxy;
    Live delivery.no_proxy;
    Live delivery.proxy_authorization;
    Live delivery.proxy_adhoc;
    Live delivery.simulated;
    Live delivery.defaults;
    Live retention.delivered;
    Live retention.dead_lettered;
    Live alerts.destination by |config: &Config| alerts(config).destination;
    Live alerts.format by |config: &Config| alerts(config).format;
    Restart alerts.heartbeat by |config: &Config| alerts(config).heartbeat;
    Live backup.directory by |config: &Config| backup(config).map(|to| to.directory);
    Live backup.every by |config: &Config| backup(config).map(|to| to.every);
    Live backup.keep by |config: &Config| backup(config).map(|to| to.keep);
    Restart log.format;
    Live log.level;
};

/// Tables with a name of the operator's, whose settings all take effect at a reload.
#[cfg(test)]
const NAMED: [&str; 2] = ["destinations.NAME", "sources.NAME"];

fn server_tls(config: &Config) -> Option<Tls> {
    config.server.tls.clone()
}

fn admin_tls(config: &Config) -> Option<Tls> {
    config.admin.tls.clone()
}

fn alerts(config: &Config) -> Alerts {
    config.alerts.clone().unwrap_or_default()
}

fn backup(config: &Config) -> Option<Backup> {
    config.backup.clone()
}

/// The same file, however its path is written.
fn database_path(config: &Config) -> PathBuf {
    let path = &config.database.path;
    std::path::absolute(path).unwrap_or_else(|_| path.clone())
}

#[cfg(test)]
mod tests;
