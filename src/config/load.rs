//! Reads the file, the environment and the secrets, and checks the whole.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::environment::{self, Overrides};
use crate::config::error::{ConfigError, Origin};
use crate::config::providers::{self, EffectiveSource};
use crate::config::secrets::Env;
use crate::config::settings::Config;
use crate::config::text_file;
use crate::config::wording::{one_line, problem_of};

impl Config {
    /// The file that is used if none is named and it exists.
    pub const FILE: &str = "relay.toml";

    /// Reads `file`, or [`Config::FILE`] in the working directory if it exists, then the process's
    /// environment, and checks the whole.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load_with(file, &|name| std::env::var_os(name))
    }

    /// Reads the same for commands that work on the database, without secrets and unchecked: an
    /// operator's shell may lack the secrets, and a command also runs with a configuration that a
    /// server would refuse.
    pub(crate) fn load_for_commands(file: Option<&Path>) -> Result<Self, ConfigError> {
        Ok(Self::read(file, &|name| std::env::var_os(name))?.config)
    }

    /// Reads the same without the environment: what the file itself holds.
    pub(crate) fn load_without_variables(file: Option<&Path>) -> Result<Self, ConfigError> {
        Ok(Self::read(file, &|_| None)?.config)
    }

    /// The settings of the environment, and the database that a file names which can't be used: by
    /// it the server is found that has to hear of such a file. None if the file can't be read.
    pub(crate) fn of_unreadable(file: Option<&Path>) -> Option<Self> {
        let text = text_file::read_configuration(file_in_use(file)?).ok()?;
        let mut config = Self::default();
        if let Some(path) = database_path_in(&text) {
            config.database.path = path;
        }
        environment::apply(&mut config, &|name| std::env::var_os(name)).ok()?;
        Some(config)
    }

    /// The error of a setting that another part found to be wrong: a key and its problem.
    pub(crate) fn refused(file: Option<&Path>, problem: (String, String)) -> ConfigError {
        let origin = file_in_use(file).map(|path| Origin::File(path.to_owned(), None));
        origin.unwrap_or(Origin::Program).setting(problem)
    }

    pub(super) fn load_with(file: Option<&Path>, env: Env<'_>) -> Result<Self, ConfigError> {
        let (config, _) = Self::read(file, env)?.check(env)?;
        Ok(config)
    }

    /// The configuration of a file's text, checked, with the variables that override it. Without a
    /// text it is the built-in one.
    pub(super) fn check_text(
        text: Option<&str>,
        path: &Path,
        env: Env<'_>,
    ) -> Result<(Self, Overrides), ConfigError> {
        Self::read_text(text.map(|text| (text, path)), env)?.check(env)
    }

    /// Reads the same for a command that stands in for a source's sender: the source checked, and
    /// with its secrets and no others. A source that isn't declared is the catch-all.
    pub(crate) fn load_for_source(file: Option<&Path>, name: &str) -> Result<Self, ConfigError> {
        let env: Env<'_> = &|name| std::env::var_os(name);
        let Unchecked {
            mut config, origin, ..
        } = Self::read(file, env)?;
        let name = config.source_name(name);
        if let Some(source) = config.sources.get_mut(name) {
            for reference in source.references(&format!("sources.{name}")) {
                let resolved = reference.resolve(env);
                resolved.map_err(|problem| origin.setting(problem))?;
            }
        }
        if let Some(source) = config.sources.get(name) {
            let checked = config.check_source(name, source);
            checked.map_err(|problem| origin.setting(problem))?;
        }
        Ok(config)
    }

    /// Reads the same for a command that routes a source's events: without secrets, and the routes
    /// of the source checked.
    pub(crate) fn load_for_routes(file: Option<&Path>, name: &str) -> Result<Self, ConfigError> {
        let Unchecked { config, origin, .. } = Self::read(file, &|name| std::env::var_os(name))?;
        let name = config.source_name(name);
        if let Some(source) = config.sources.get(name) {
            let checked = config.check_routing(&format!("sources.{name}"), source);
            checked.map_err(|problem| origin.setting(problem))?;
        }
        Ok(config)
    }

    /// The source itself, or the catch-all for one that isn't declared.
    fn source_name<'a>(&self, name: &'a str) -> &'a str {
        if self.sources.contains_key(name) {
            name
        } else {
            "*"
        }
    }

    /// The sources that name a provider, as they take effect. Empty if the file can't be used:
    /// loading it says why.
    pub(crate) fn effective_sources(file: Option<&Path>) -> Vec<EffectiveSource> {
        let text = file_in_use(file).and_then(|path| text_file::read_configuration(path).ok());
        let sources = text.and_then(|text| providers::effective_sources(&text));
        sources.unwrap_or_default()
    }

    /// Reads the file and the environment, unchecked.
    fn read(file: Option<&Path>, env: Env<'_>) -> Result<Unchecked, ConfigError> {
        let Some(path) = file_in_use(file) else {
            return Self::read_text(None, env);
        };
        let text = text_file::read_configuration(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::read_text(Some((&text, path)), env)
    }

    /// Reads a file's text and the environment, unchecked.
    fn read_text(file: Option<(&str, &Path)>, env: Env<'_>) -> Result<Unchecked, ConfigError> {
        let (mut config, origin) = match file {
            None => (Self::default(), Origin::Program),
            Some((text, path)) => (
                Self::parse(text, path)?,
                Origin::File(path.to_owned(), None),
            ),
        };
        let overrides = environment::apply(&mut config, env)?;
        Ok(Unchecked {
            config,
            origin,
            overrides,
        })
    }

    /// Parses the text of a file, unchecked. `path` is its name in errors.
    fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let syntax = |error: &toml::de::Error| ConfigError::Syntax {
            path: path.to_owned(),
            line: line_of(text, error).unwrap_or(1),
            message: match (error.message(), error.span()) {
                // The parser names no key.
                ("duplicate key", Some(place)) => format!(
                    "duplicate key {}: expected each key and each table once",
                    one_line(text.get(place).unwrap_or_default())
                ),
                (message, _) => one_line(message),
            },
        };
        let mut document = DeTable::parse(text).map_err(|error| syntax(&error))?;
        providers::expand(document.get_mut()).map_err(|unknown| {
            let line = line_at(text, unknown.place.start);
            Origin::File(path.to_owned(), Some(line)).setting(unknown.problem)
        })?;
        let settings = document.get_ref();
        if let Some((place, problem)) = date_in(settings, "").or_else(|| url_beside_path(settings))
        {
            let line = line_at(text, place.start);
            return Err(Origin::File(path.to_owned(), Some(line)).setting(problem));
        }
        let document = toml::Deserializer::from(document);
        serde_path_to_error::deserialize(document).map_err(|error| {
            let key = error.path().to_string();
            let inner = error.into_inner();
            if key == "." || key == "?" {
                return syntax(&inner);
            }
            let origin = Origin::File(path.to_owned(), line_of(text, &inner));
            origin.setting(problem_of(key, inner.message()))
        })
    }

    /// Adds the secrets of variables and files to those written in place.
    fn resolve_secrets(&mut self, env: Env<'_>) -> Result<(), (String, String)> {
        self.api.secret_list("api").resolve(env)?;
        self.delivery.proxy_secret("delivery").resolve(env)?;
        self.admin.resolve_tokens("admin", env)?;
        for (name, to) in &mut self.destinations {
            let key = format!("destinations.{name}");
            to.secret_list(&key).resolve(env)?;
            to.proxy_secret(&key).resolve(env)?;
        }
        for (name, source) in &mut self.sources {
            for reference in source.references(&format!("sources.{name}")) {
                reference.resolve(env)?;
            }
        }
        if let Some(alerts) = &mut self.alerts {
            alerts.resolve("alerts", env)?;
        }
        Ok(())
    }
}

/// A configuration before its secrets are read and the whole is checked.
struct Unchecked {
    config: Config,
    origin: Origin,
    overrides: Overrides,
}

impl Unchecked {
    fn check(self, env: Env<'_>) -> Result<(Config, Overrides), ConfigError> {
        let Self {
            mut config,
            origin,
            overrides,
        } = self;
        config
            .resolve_secrets(env)
            .and_then(|()| config.find_problem())
            .map_err(|problem| overrides.name_variables(origin.setting(problem)))?;
        Ok((config, overrides))
    }
}

/// The file that was named, or the default one if it exists.
fn file_in_use(named: Option<&Path>) -> Option<&Path> {
    named.or_else(|| Some(Path::new(Config::FILE)).filter(|path| is_there(path)))
}

/// Whether there is a file, be it one that can't be read, or a link that leads nowhere: reading it
/// says so. Taken for missing, it would mean the built-in defaults, without any source.
pub(super) fn is_there(path: &Path) -> bool {
    let found = path.symlink_metadata();
    !found.is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// A setting's place in the file, its key and its problem.
type Misplaced = (Range<usize>, (String, String));

/// The first date or time below a key. No setting is one, and the parser reads it as a table.
fn date_in(table: &DeTable<'_>, key: &str) -> Option<Misplaced> {
    table.iter().find_map(|(name, value)| {
        let name = name.get_ref();
        let key = if key.is_empty() {
            name.clone().into_owned()
        } else {
            format!("{key}.{name}")
        };
        date_at(value, key)
    })
}

fn date_at(value: &Spanned<DeValue<'_>>, key: String) -> Option<Misplaced> {
    match value.get_ref() {
        DeValue::Datetime(_) => {
            let problem =
                "invalid type: a date or a time, expected another type: in quotes it is a text";
            Some((value.span(), (key, problem.to_owned())))
        }
        DeValue::Table(table) => date_in(table, &key),
        DeValue::Array(values) => {
            let mut values = values.iter().enumerate();
            values.find_map(|(at, value)| date_at(value, format!("{key}[{at}]")))
        }
        _ => None,
    }
}

/// A database's URL in a file that gives a path, too. No command may guess which of them is meant,
/// be the path the default one.
fn url_beside_path(document: &DeTable<'_>) -> Option<Misplaced> {
    let DeValue::Table(database) = document.get("database")?.get_ref() else {
        return None;
    };
    database.get("path")?;
    let problem = "contradicts database.path: expected one of the two".to_owned();
    let place = database.get("url")?.span();
    Some((place, ("database.url".to_owned(), problem)))
}

fn line_of(text: &str, error: &toml::de::Error) -> Option<usize> {
    Some(line_at(text, error.span()?.start))
}

/// The line of a place in a text, from 1.
fn line_at(text: &str, place: usize) -> usize {
    let before = &text.as_bytes()[..place.min(text.len())];
    before.iter().filter(|&&b| b == b'\n').count() + 1
}

/// `database.path`, as the lines say it that a parser would read up to an error.
fn database_path_in(text: &str) -> Option<PathBuf> {
    let mut table = "";
    text.lines().find_map(|line| {
        let line = line.trim();
        if let Some(head) = line.strip_prefix('[') {
            table = head.split(']').next().unwrap_or_default().trim();
            return None;
        }
        let key = line.split('=').next().unwrap_or_default().trim();
        let is_it =
            (table == "database" && key == "path") || (table.is_empty() && key == "database.path");
        let pair = is_it.then(|| toml::from_str::<toml::Table>(line).ok())??;
        let value = pair
            .get("path")
            .or_else(|| pair.get("database")?.get("path"))?;
        value.as_str().map(PathBuf::from)
    })
}

#[cfg(test)]
mod tests;
