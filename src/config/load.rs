use std::ffi::OsString;
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
type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

impl Config {
    /// The file that is used when none is named, if it is there.
    pub const FILE: &str = "relay.toml";

    /// Reads `file`, or [`Config::FILE`] in the working directory if there is one, then the
    /// process's environment, and checks the whole.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load_with(file, &|name| std::env::var_os(name))
    }

    /// The same for commands that work on the database: they need neither the secrets, which an
    /// operator's shell may not have, nor a configuration that a server would start with.
    pub(crate) fn load_for_commands(file: Option<&Path>) -> Result<Self, ConfigError> {
        let (config, _, _) = Self::read(file, &|name| std::env::var_os(name))?;
        Ok(config)
    }

    pub(super) fn load_with(file: Option<&Path>, env: Env<'_>) -> Result<Self, ConfigError> {
        let (mut config, origin, overrides) = Self::read(file, env)?;
        config.resolve_secrets(&origin, env)?;
        config
            .check_from(&origin)
            .map_err(|error| name_the_variable(error, &overrides))?;
        Ok(config)
    }

    /// Reads the file and the environment, unchecked.
    fn read(file: Option<&Path>, env: Env<'_>) -> Result<(Self, Origin, Overrides), ConfigError> {
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
        let overrides = config.apply_environment(env)?;
        Ok((config, origin, overrides))
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
            let message = if is_secret(&key) {
                // The parser's message would quote the value.
                "***: expected what the example configuration shows".to_owned()
            } else {
                one_line(inner.message())
            };
            ConfigError::Setting {
                origin: Origin::File(path.to_owned(), line_of(text, &inner)),
                key,
                message,
            }
        })
    }

    /// Applies the variables that are set; which key each of them set comes back, so that errors
    /// found later name the right one.
    fn apply_environment(&mut self, env: Env<'_>) -> Result<Overrides, ConfigError> {
        let mut from = Environment {
            env,
            set: Vec::new(),
        };
        let limits = &mut self.api.rate_limit;
        from.apply(
            "RELAY_HTTP_ADDR",
            "server.listen",
            &mut self.server.listen,
            units::parse_listen,
        )?;
        from.apply(
            "RELAY_ADMIN_ADDR",
            "admin.listen",
            &mut self.admin.listen,
            units::parse_listen_or_off,
        )?;
        from.apply(
            "RELAY_MAX_BODY_BYTES",
            "server.max_body_bytes",
            &mut self.server.max_body_bytes,
            units::parse_size,
        )?;
        from.apply(
            "RELAY_DB",
            "database.path",
            &mut self.database.path,
            |text| Ok(PathBuf::from(text)),
        )?;
        let had_keys = from.set.len();
        from.apply("RELAY_API_KEYS", "api.keys", &mut self.api.keys, |text| {
            Ok(secrets(text, ','))
        })?;
        if from.set.len() > had_keys {
            // These are the keys now, and no others.
            self.api.keys_env = None;
            self.api.keys_file = None;
        }
        from.apply(
            "RELAY_IDEMPOTENCY_TTL_SECONDS",
            "api.idempotency_window",
            &mut self.api.idempotency_window,
            |text| number(text, "a whole number of seconds").map(Duration::from_secs),
        )?;
        let per_second = |text: &str| number(text, "a number of requests a second");
        let burst = |text: &str| number(text, "a whole number of requests");
        from.apply(
            "RELAY_LIMIT_POST_RPS",
            "api.rate_limit.post.per_second",
            &mut limits.post.per_second,
            per_second,
        )?;
        from.apply(
            "RELAY_LIMIT_POST_BURST",
            "api.rate_limit.post.burst",
            &mut limits.post.burst,
            burst,
        )?;
        from.apply(
            "RELAY_LIMIT_GET_RPS",
            "api.rate_limit.get.per_second",
            &mut limits.get.per_second,
            per_second,
        )?;
        from.apply(
            "RELAY_LIMIT_GET_BURST",
            "api.rate_limit.get.burst",
            &mut limits.get.burst,
            burst,
        )?;
        from.apply("RELAY_LOG", "log.level", &mut self.log.level, |text| {
            Ok(text.to_owned())
        })?;
        Ok(from.set)
    }

    /// Adds the secrets that stand in variables and files to those written in place.
    fn resolve_secrets(&mut self, origin: &Origin, env: Env<'_>) -> Result<(), ConfigError> {
        let resolve = |key: &str,
                       all: &mut Vec<Secret>,
                       variable: &mut Option<String>,
                       file: &mut Option<PathBuf>| {
            let wrong = |suffix: &str, message: String| ConfigError::Setting {
                origin: origin.clone(),
                key: format!("{key}_{suffix}"),
                message,
            };
            // Taken: what has been resolved is no longer a reference.
            if let Some(name) = variable.take() {
                let found = env(&name)
                    .and_then(|text| text.into_string().ok())
                    .map(|text| secrets(&text, ','))
                    .filter(|found| !found.is_empty());
                all.extend(found.ok_or_else(|| {
                    wrong(
                        "env",
                        format!("{name:?}: expected a variable that holds a secret"),
                    )
                })?);
            }
            if let Some(path) = file.take() {
                let shown = path.display();
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| wrong("file", format!("\"{shown}\": {error}")))?;
                let found = secrets(&text, '\n');
                if found.is_empty() {
                    let message = format!("\"{shown}\": expected a file that holds a secret");
                    return Err(wrong("file", message));
                }
                all.extend(found);
            }
            Ok(())
        };
        let api = &mut self.api;
        resolve(
            "api.keys",
            &mut api.keys,
            &mut api.keys_env,
            &mut api.keys_file,
        )?;
        for (name, to) in &mut self.destinations {
            let key = format!("destinations.{name}.secrets");
            resolve(
                &key,
                &mut to.secrets,
                &mut to.secrets_env,
                &mut to.secrets_file,
            )?;
        }
        for (name, source) in &mut self.sources {
            if let Some(verify) = &mut source.verify {
                let (scheme, secrets, variable, file) = verify.secrets_mut();
                let key = format!("sources.{name}.verify.{scheme}.secrets");
                resolve(&key, secrets, variable, file)?;
            }
        }
        Ok(())
    }
}

/// A setting that came from a variable is the variable's fault.
fn name_the_variable(error: ConfigError, overrides: &Overrides) -> ConfigError {
    match error {
        ConfigError::Setting {
            origin,
            key,
            message,
        } => match overrides.iter().find(|(_, set)| *set == key) {
            Some((variable, _)) => ConfigError::Setting {
                origin: Origin::Environment,
                key: (*variable).to_owned(),
                message,
            },
            None => ConfigError::Setting {
                origin,
                key,
                message,
            },
        },
        other => other,
    }
}

/// Variables that are set, and the keys that they set.
type Overrides = Vec<(&'static str, &'static str)>;

struct Environment<'a> {
    env: Env<'a>,
    set: Overrides,
}

impl Environment<'_> {
    fn apply<T>(
        &mut self,
        variable: &'static str,
        key: &'static str,
        setting: &mut T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<(), ConfigError> {
        let Some(text) = (self.env)(variable) else {
            return Ok(());
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
        self.set.push((variable, key));
        Ok(())
    }
}

/// Whether a key's value may be a secret, so that no error quotes it.
fn is_secret(key: &str) -> bool {
    let is_reference = key.ends_with("_env") || key.ends_with("_file");
    !is_reference
        && (key.starts_with("api.keys") || key.contains(".secrets") || key.contains(".headers"))
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
