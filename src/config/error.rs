//! The reasons why a configuration can't be used.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// The reason why a configuration can't be used. One line.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file is missing or can't be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file has no setting.
    #[error(
        "{}: is empty: a reload expects at least one setting, since the file may be half written",
        path.display()
    )]
    Blank {
        /// The file.
        path: PathBuf,
    },
    /// The file is being written.
    #[error("{}: kept changing for a second: expected a file that is complete", path.display())]
    Unsettled {
        /// The file.
        path: PathBuf,
    },
    /// The file isn't TOML.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The problem.
        message: String,
    },
    /// A setting that is unknown, wrong, or contradicts another one.
    #[error("{origin}: {key}: {message}")]
    Setting {
        /// The file, or the environment.
        origin: Origin,
        /// The key or the variable.
        key: String,
        /// The value and the expectation.
        message: String,
    },
}

/// The place that a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file, and the line if it is known.
    File(PathBuf, Option<usize>),
    /// An environment variable.
    Environment,
    /// The program that embeds the relay, or the built-in defaults.
    Program,
}

impl Origin {
    /// The error of a setting from here: a key and its problem.
    pub(super) fn setting(&self, (key, message): (String, String)) -> ConfigError {
        ConfigError::Setting {
            origin: self.clone(),
            key,
            message,
        }
    }
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
