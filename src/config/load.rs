use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::{Config, Secret, units};

/// Why a configuration can't be used. One line.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file isn't there or can't be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file isn't TOML.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A setting that is unknown, wrong, or contradicts another.
    #[error("{origin}: {key}: {message}")]
    Setting {
        /// The file, or the environment.
        origin: Origin,
        /// The key or the variable.
        key: String,
        /// The value, and what was expected.
        message: String,
    },
}

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file, and the line if it is known.
    File(PathBuf, Option<usize>),
    /// An environment variable.
    Environment,
    /// The program that embeds us, or the built-in defaults.
    Program,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, Some(line)) => write!(f, "{}:{line}", path.display()),
            Self::File(path, None) => write!(f, "{}", path.display()),
            Self::Environment => f.write_str("environment"),
            Self::Program => f.write_str("configuration"),
        }
    }
}

/// Reads an environment variable; a parameter so that tests need not change the process's own.
type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Config {
    /// The file that is used when none is named, if it is there.
    pub const FILE: &str = "relay.toml";

    /// Reads `file`, or [`Config::FILE`] in the working directory if there is one, then the
    /// process's environment, and checks the whole.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load_with(file, &|name| std::env::var(name).ok())
    }

    pub(super) fn load_with(file: Option<&Path>, env: Env<'_>) -> Result<Self, ConfigError> {
        let path = match file {
            Some(path) => Some(path),
            None => Some(Path::new(Self::FILE)).filter(|path| path.exists()),
        };
        let (mut config, origin) = match path {
            None => (Self::default(), Origin::Program),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
                    path: path.to_owned(),
                    source,
                })?;
                (
                    Self::parse(&text, path)?,
                    Origin::File(path.to_owned(), None),
                )
            }
        };
        config.apply_environment(env)?;
        config.resolve_secrets(&origin, env)?;
        config.check_from(&origin)?;
        Ok(config)
    }

    /// Reads the text of a file, unchecked; `path` is what errors call it.
    fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let syntax = |error: &toml::de::Error| ConfigError::Syntax {
            path: path.to_owned(),
            line: line_of(text, error).unwrap_or(1),
            message: one_line(error.message()),
        };
        let document = toml::Deserializer::parse(text).map_err(|error| syntax(&error))?;
        serde_path_to_error::deserialize(document).map_err(|error| {
            let key = error.path().to_string();
            let inner = error.into_inner();
            if key == "." || key == "?" {
                return syntax(&inner);
            }
            ConfigError::Setting {
                origin: Origin::File(path.to_owned(), line_of(text, &inner)),
                key,
                message: one_line(inner.message()),
            }
        })
    }

    fn apply_environment(&mut self, env: Env<'_>) -> Result<(), ConfigError> {
        let limits = &mut self.api.rate_limit;
        set(
            env,
            "RELAY_HTTP_ADDR",
            &mut self.server.listen,
            units::parse_listen,
        )?;
        set(
            env,
            "RELAY_ADMIN_ADDR",
            &mut self.admin.listen,
            units::parse_listen_or_off,
        )?;
        set(
            env,
            "RELAY_MAX_BODY_BYTES",
            &mut self.server.max_body_bytes,
            units::parse_size,
        )?;
        set(env, "RELAY_DB", &mut self.database.path, |text| {
            if text.is_empty() {
                Err("\"\": expected a path".to_owned())
            } else {
                Ok(PathBuf::from(text))
            }
        })?;
        set(env, "RELAY_API_KEYS", &mut self.api.keys, |text| {
            Ok(secrets(text, ','))
        })?;
        set(
            env,
            "RELAY_IDEMPOTENCY_TTL_SECONDS",
            &mut self.api.idempotency_window,
            |text| number(text, "a whole number of seconds").map(Duration::from_secs),
        )?;
        let per_second = |text: &str| number(text, "a number of requests a second");
        let burst = |text: &str| number(text, "a whole number of requests");
        set(
            env,
            "RELAY_LIMIT_POST_RPS",
            &mut limits.post.per_second,
            per_second,
        )?;
        set(env, "RELAY_LIMIT_POST_BURST", &mut limits.post.burst, burst)?;
        set(
            env,
            "RELAY_LIMIT_GET_RPS",
            &mut limits.get.per_second,
            per_second,
        )?;
        set(env, "RELAY_LIMIT_GET_BURST", &mut limits.get.burst, burst)?;
        set(env, "RELAY_LOG", &mut self.log.level, |text| {
            Ok(text.to_owned())
        })
    }

    /// Adds the secrets that stand in variables and files to those written in place.
    fn resolve_secrets(&mut self, origin: &Origin, env: Env<'_>) -> Result<(), ConfigError> {
        let resolve = |key: &str,
                       all: &mut Vec<Secret>,
                       variable: &Option<String>,
                       file: &Option<PathBuf>| {
            let missing = |suffix: &str, message: String| ConfigError::Setting {
                origin: origin.clone(),
                key: format!("{key}_{suffix}"),
                message,
            };
            if let Some(name) = variable {
                let text = env(name).ok_or_else(|| {
                    missing("env", format!("{name:?}: expected a variable that is set"))
                })?;
                all.extend(secrets(&text, ','));
            }
            if let Some(path) = file {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| missing("file", format!("\"{}\": {error}", path.display())))?;
                all.extend(secrets(&text, '\n'));
            }
            Ok(())
        };
        let api = &mut self.api;
        resolve("api.keys", &mut api.keys, &api.keys_env, &api.keys_file)?;
        for (name, to) in &mut self.destinations {
            let key = format!("destinations.{name}.secrets");
            resolve(&key, &mut to.secrets, &to.secrets_env, &to.secrets_file)?;
        }
        Ok(())
    }
}

fn set<T>(
    env: Env<'_>,
    name: &str,
    setting: &mut T,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<(), ConfigError> {
    if let Some(text) = env(name) {
        *setting = parse(text.trim()).map_err(|message| ConfigError::Setting {
            origin: Origin::Environment,
            key: name.to_owned(),
            message,
        })?;
    }
    Ok(())
}

fn number<T: std::str::FromStr>(text: &str, expected: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{text:?}: expected {expected}"))
}

fn secrets(text: &str, separator: char) -> Vec<Secret> {
    text.split(separator)
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(Secret::new)
        .collect()
}

fn line_of(text: &str, error: &toml::de::Error) -> Option<usize> {
    let start = error.span()?.start.min(text.len());
    Some(
        text.as_bytes()[..start]
            .iter()
            .filter(|&&b| b == b'\n')
            .count()
            + 1,
    )
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
