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
        // A regular expression for the lines may follow, or stand alone.
        let directives = filter.split('/').next().unwrap_or_default().split(',');
        let mut named = directives.filter(|one| !one.trim().is_empty()).peekable();
        let is_bad = is_typo
            || (named.peek().is_none() && !filter.contains('/'))
            || !named.all(begins_with_a_name)
            || env_filter::Builder::new().try_parse(filter).is_err();
        if is_bad {
            return bad(
                &format!("{key}.level"),
                quoted(filter),
                "a level (off, error, warn, info, debug, trace) or env_logger's syntax",
            );
        }
        Ok(())
    }
}

/// Whether a directive begins with a level or the name of a module: `env_logger` takes any text for
/// one, which then matches nothing.
fn begins_with_a_name(directive: &str) -> bool {
    let name = directive.split('=').next().unwrap_or_default().trim();
    let is_of_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'-');
    let begins = name.bytes().next();
    begins.is_some_and(|b| b.is_ascii_alphabetic() || b == b'_') && name.bytes().all(is_of_name)
}
