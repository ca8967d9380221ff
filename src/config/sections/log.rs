//! `[log]`: the log on standard error.

use serde::Deserialize;

use crate::config::rules::{Checked, bad, quoted};

/// The log.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Text or JSON lines. Default: `auto`.
    pub format: LogFormat,
    /// The filter, in `env_logger`'s syntax. Default: `info`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Auto,
            level: "info".to_owned(),
        }
    }
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON lines otherwise.
    Auto,
    /// Text.
    Text,
    /// JSON lines.
    Json,
}

impl Log {
    pub(in crate::config) fn check(&self, key: &str) -> Checked {
        let filter = self.level.as_str();
        let is_word = filter.bytes().all(|b| b.is_ascii_alphabetic());
        // A bare word that is no level would be taken for a module's name, and silence the rest.
        let is_typo = is_word && filter.parse::<::log::LevelFilter>().is_err();
        if is_typo || env_filter::Builder::new().try_parse(filter).is_err() {
            return bad(
                &format!("{key}.level"),
                quoted(filter),
                "a level (off, error, warn, info, debug, trace) or env_logger's syntax",
            );
        }
        Ok(())
    }
}
