//! The file that a server reads at its start, and anew at each reload.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::{Table, Value};

use crate::config::environment::Overrides;
use crate::config::error::ConfigError;
use crate::config::fingerprint::Fingerprint;
use crate::config::load::is_there;
use crate::config::secrets::Env;
use crate::config::settings::Config;
use crate::config::text_file;

/// The pause between two readings that have to agree: an editor or a copy writes a file of this
/// size in less.
const SETTLE: Duration = Duration::from_millis(50);
/// Readings until a file that keeps changing is given up: a second of pauses.
const READINGS: u32 = 20;

/// The file of a server's configuration.
#[derive(Clone, Debug)]
pub(crate) struct ConfigFile {
    /// As it was named, for errors.
    shown: PathBuf,
    /// Absolute, so that it stays the same file wherever a parent of the working directory is moved
    /// to. Symbolic links are followed anew each time: Kubernetes swaps one to update a file.
    path: PathBuf,
    is_named: bool,
}

/// A configuration that was read and checked, and what is known of its origin.
pub(crate) struct Loaded {
    pub config: Config,
    pub fingerprint: Fingerprint,
    pub overrides: Overrides,
}

/// A reading of the file.
#[derive(PartialEq, Eq)]
struct Reading {
    /// Device, inode, size and time of the last change: an editor's new file has another inode.
    state: (u64, u64, u64, i64, i64),
    text: String,
}

impl ConfigFile {
    /// The named file, or [`Config::FILE`] in the working directory.
    pub fn new(named: Option<&Path>) -> Result<Self, ConfigError> {
        let shown = named.unwrap_or(Path::new(Config::FILE)).to_owned();
        let path = std::path::absolute(&shown);
        let path = path.map_err(|source| unreadable(&shown, source))?;
        Ok(Self {
            shown,
            path,
            is_named: named.is_some(),
        })
    }

    /// The file, as it was named.
    pub fn shown(&self) -> &Path {
        &self.shown
    }

    /// Whether there is none, and the built-in defaults count in its place.
    pub fn is_missing(&self) -> bool {
        !self.is_named && !is_there(&self.path)
    }

    /// Reads the file for the start, if it exists or was named; then the environment and the
    /// secrets. Checks the whole.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        if self.is_missing() {
            return self.check(None);
        }
        let text = text_file::read_configuration(&self.path);
        let text = text.map_err(|source| unreadable(&self.shown, source))?;
        self.check(Some(&text))
    }

    /// Reads the same for a reload. Blocks for 50 ms, or for a second while the file changes.
    ///
    /// A file that is missing or has no setting is refused: it means the built-in defaults, without
    /// any source, and most often it is being written at this moment.
    pub fn reload(&self) -> Result<Loaded, ConfigError> {
        let text = self.settled(|| std::thread::sleep(SETTLE))?;
        self.check(Some(&text))
    }

    /// Refuses a file without a setting before a reload is asked for: it doesn't say, either, which
    /// server is meant.
    pub fn refuse_blank(&self) -> Result<(), ConfigError> {
        match text_file::read_configuration(&self.path) {
            Ok(text) if is_blank(&text) => Err(ConfigError::Blank {
                path: self.shown.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn check(&self, text: Option<&str>) -> Result<Loaded, ConfigError> {
        let env: Env<'_> = &|name| std::env::var_os(name);
        let (config, overrides) = Config::check_text(text, &self.shown, env)?;
        let fingerprint = Fingerprint::of(text.unwrap_or_default());
        Ok(Loaded {
            config,
            fingerprint,
            overrides,
        })
    }

    /// The text of the file once two readings agree. Calls `pause` between two.
    fn settled(&self, mut pause: impl FnMut()) -> Result<String, ConfigError> {
        let mut last = self.read();
        let mut is_settled = false;
        for _ in 0..READINGS {
            pause();
            let next = self.read();
            // It may be missing, or empty, for the moment in which it is replaced.
            is_settled = matches!((&last, &next), (Ok(last), Ok(next))
                if last == next && !is_blank(&next.text));
            last = next;
            if is_settled {
                break;
            }
        }
        let path = || self.shown.clone();
        let last = last.map_err(|source| unreadable(&self.shown, source))?;
        match is_settled {
            true => Ok(last.text),
            false if is_blank(&last.text) => Err(ConfigError::Blank { path: path() }),
            false => Err(ConfigError::Unsettled { path: path() }),
        }
    }

    fn read(&self) -> io::Result<Reading> {
        // Opening a pipe waits for somebody who writes to it, for ever perhaps.
        if !std::fs::metadata(&self.path)?.is_file() {
            return Err(io::Error::other("expected a regular file"));
        }
        let text = text_file::read_configuration(&self.path)?;
        // After the contents: a write between the two shows in the next reading.
        let data = std::fs::metadata(&self.path)?;
        Ok(Reading {
            state: (
                data.dev(),
                data.ino(),
                data.size(),
                data.mtime(),
                data.mtime_nsec(),
            ),
            text,
        })
    }
}

/// Whether a text has no setting: nothing but blank lines, comments and the heads of tables. A text
/// that is no TOML is refused by its parser.
fn is_blank(text: &str) -> bool {
    let table: Result<Table, _> = toml::from_str(text);
    table.is_ok_and(|table| !table.values().any(has_setting))
}

fn has_setting(value: &Value) -> bool {
    match value {
        Value::Table(table) => table.values().any(has_setting),
        Value::Array(values) if values.iter().any(Value::is_table) => {
            values.iter().any(has_setting)
        }
        _ => true,
    }
}

fn unreadable(path: &Path, source: io::Error) -> ConfigError {
    ConfigError::Read {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
