//! The environment variables that override the file.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::error::{ConfigError, Origin};
use crate::config::secrets::{self, Env, Secret, VariableNames};
use crate::config::sections::{Api, ApiRateLimit};
use crate::config::settings::Config;
use crate::config::units;

/// The variable that holds the admin token if the file names none.
const ADMIN_TOKEN: &str = "RELAY_ADMIN_TOKEN";

/// The variables that are set, each with the key that it overrides.
#[derive(Debug, Default)]
pub(crate) struct Overrides(Vec<(&'static str, &'static str)>);

impl Overrides {
    /// Each key with its variable, for a line of the log: `database.path (RELAY_DB)`. None if the
    /// file alone counts.
    pub fn describe(&self) -> Option<String> {
        // The admin token overrides nothing: it counts if the file names none.
        let keys = self
            .0
            .iter()
            .filter(|(variable, _)| *variable != ADMIN_TOKEN);
        let keys: Vec<_> = keys
            .map(|(variable, key)| format!("{key} ({variable})"))
            .collect();
        (!keys.is_empty()).then(|| keys.join(", "))
    }

    /// Attributes an error to the variables that its setting, and those which it contradicts, came
    /// from.
    pub(crate) fn name_variables(&self, error: ConfigError) -> ConfigError {
        let ConfigError::Setting {
            origin,
            key,
            message,
        } = error
        else {
            return error;
        };
        let message = self.0.iter().fold(message, |message, (variable, key)| {
            with_variable(&message, key, variable)
        });
        match self.0.iter().find(|(_, overridden)| *overridden == key) {
            Some((variable, _)) => ConfigError::Setting {
                origin: Origin::Environment,
                key: (*variable).to_owned(),
                // The value of a key that names variables is the variable.
                message: match message.strip_prefix(&format!("{variable:?}: ")) {
                    Some(rest) => rest.to_owned(),
                    None => message,
                },
            },
            None => ConfigError::Setting {
                origin,
                key,
                message,
            },
        }
    }
}

/// A message with a variable in the place of the key that it overrides.
fn with_variable(message: &str, key: &str, variable: &str) -> String {
    // In quotes stands a value, and beside these characters a longer key.
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '"');
    let mut pieces = message.split(key);
    let mut named = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let is_whole = !named.ends_with(is_part) && !piece.starts_with(is_part);
        named.push_str(if is_whole { variable } else { key });
        named.push_str(piece);
    }
    named
}

/// Applies the variables that are set. Returns which they were.
pub(super) fn apply(config: &mut Config, env: Env<'_>) -> Result<Overrides, ConfigError> {
    let mut from = Environment {
        env,
        applied: Overrides(Vec::new()),
    };
    from.apply(
        "RELAY_HTTP_ADDR",
        "server.listen",
        &mut config.server.listen,
        units::parse_listen,
    )?;
    from.apply(
        "RELAY_ADMIN_ADDR",
        "admin.listen",
        &mut config.admin.listen,
        units::parse_listen_or_off,
    )?;
    // A file that names variables of its own decides.
    if config.admin.tokens_env.is_none() && env(ADMIN_TOKEN).is_some() {
        config.admin.tokens_env = Some(VariableNames::Many(vec![ADMIN_TOKEN.to_owned()]));
        from.applied.0.push((ADMIN_TOKEN, "admin.tokens_env"));
    }
    from.apply(
        "RELAY_MAX_BODY_BYTES",
        "server.max_body_bytes",
        &mut config.server.max_body_bytes,
        units::parse_size,
    )?;
    from.apply(
        "RELAY_DB",
        "database.path",
        &mut config.database.path,
        |text| Ok(PathBuf::from(text)),
    )?;
    from.apply(
        "RELAY_DATABASE_URL",
        "database.url",
        &mut config.database.url,
        |text| Ok(Some(Secret::new(text))),
    )?;
    from.apply_api(&mut config.api)?;
    from.apply("RELAY_LOG", "log.level", &mut config.log.level, |text| {
        Ok(text.to_owned())
    })?;
    from.apply(
        "RELAY_TEST_NODE_HEADER",
        "node.is_named_in_requests",
        &mut config.node.is_named_in_requests,
        |text| match text {
            "1" => Ok(true),
            "0" | "" => Ok(false),
            _ => Err("expected 0 or 1".to_owned()),
        },
    )?;
    Ok(from.applied)
}

struct Environment<'a> {
    env: Env<'a>,
    applied: Overrides,
}

impl Environment<'_> {
    fn apply_api(&mut self, api: &mut Api) -> Result<(), ConfigError> {
        let has_keys = self.apply("RELAY_API_KEYS", "api.keys", &mut api.keys, |text| {
            let keys = secrets::parse(text, ',');
            if keys.is_empty() {
                return Err(format!(
                    "{text:?}: expected keys with commas between them; a variable that isn't set \
                     leaves the keys to the file"
                ));
            }
            Ok(keys)
        })?;
        if has_keys {
            // The variable replaces all keys of the file, its references included.
            api.keys_env = None;
            api.keys_file = None;
        }
        self.apply(
            "RELAY_IDEMPOTENCY_TTL_SECONDS",
            "api.idempotency_window",
            &mut api.idempotency_window,
            |text| number(text, "a whole number of seconds").map(Duration::from_secs),
        )?;
        self.apply_limits(&mut api.rate_limit)
    }

    fn apply_limits(&mut self, limits: &mut ApiRateLimit) -> Result<(), ConfigError> {
        let per_second = |text: &str| number(text, "a number of requests a second");
        let burst = |text: &str| number(text, "a whole number of requests");
        self.apply(
            "RELAY_LIMIT_POST_RPS",
            "api.rate_limit.post.per_second",
            &mut limits.post.per_second,
            per_second,
        )?;
        self.apply(
            "RELAY_LIMIT_POST_BURST",
            "api.rate_limit.post.burst",
            &mut limits.post.burst,
            burst,
        )?;
        self.apply(
            "RELAY_LIMIT_GET_RPS",
            "api.rate_limit.get.per_second",
            &mut limits.get.per_second,
            per_second,
        )?;
        self.apply(
            "RELAY_LIMIT_GET_BURST",
            "api.rate_limit.get.burst",
            &mut limits.get.burst,
            burst,
        )?;
        Ok(())
    }

    /// Sets a setting if its variable is set. Returns whether it is.
    fn apply<T>(
        &mut self,
        variable: &'static str,
        key: &'static str,
        setting: &mut T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<bool, ConfigError> {
        let Some(text) = (self.env)(variable) else {
            return Ok(false);
        };
        let parsed = match text.to_str() {
            Some(text) => parse(text.trim()),
            None => Err("expected UTF-8".to_owned()),
        };
        *setting = parsed.map_err(|message| ConfigError::Setting {
            origin: Origin::Environment,
            key: variable.to_owned(),
            message,
        })?;
        self.applied.0.push((variable, key));
        Ok(true)
    }
}

fn number<T: std::str::FromStr>(text: &str, expected: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{text:?}: expected {expected}"))
}
