//! Secrets, and the references to variables and files that hold them.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::config::text_file;
use crate::named_file::quoted;

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for computations.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The key of a `whsec_…` secret: base64 of 24 to 64 bytes, by the Standard Webhooks
    /// specification. None for any other text.
    pub fn signing_key(&self) -> Option<Vec<u8>> {
        let encoded = self.0.strip_prefix("whsec_")?;
        let key = STANDARD.decode(encoded).ok()?;
        (24..=64).contains(&key.len()).then_some(key)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Reads an environment variable. A parameter, so that a test needs no process of its own.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The names of environment variables: one, or a list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "expected a variable's name, or a list of names")]
pub enum VariableNames {
    /// One name. Its value used to be split at commas, so that one with a comma is refused.
    One(String),
    /// Names of variables that hold one secret each, whatever its characters.
    Many(Vec<String>),
}

impl VariableNames {
    /// The names.
    fn list(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
    }
}

/// A secret with the name of the variable that holds it. The name may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedSecret {
    /// The variable.
    pub name: String,
    /// Its value.
    pub secret: Secret,
}

impl NamedSecret {
    /// The secret of each variable.
    pub(super) fn all(key: &str, names: &VariableNames, env: Env<'_>) -> Result<Vec<Self>, String> {
        let secrets = from_variables(key, names, env)?;
        let pairs = names.list().iter().zip(secrets);
        Ok(pairs
            .map(|(name, secret)| Self {
                name: name.clone(),
                secret,
            })
            .collect())
    }

    /// Whether both are the same secret, whatever their names.
    pub(super) fn has_secret_of(&self, other: &Self) -> bool {
        self.secret == other.secret
    }
}

/// Values of a section that stand in a variable or a file.
pub(super) enum Reference<'a> {
    Secrets(SecretList<'a>),
    PublicKeys(PublicKeyList<'a>),
}

/// A section's secrets, with its references to more.
pub(super) struct SecretList<'a> {
    /// The key of the secrets; the references' keys end in `_env` and `_file`.
    pub key: String,
    pub secrets: &'a mut Vec<Secret>,
    pub variables: &'a mut Option<VariableNames>,
    pub file: &'a mut Option<PathBuf>,
}

/// A key that holds one secret, with the references that may stand in its place.
pub(super) struct OneSecret<'a> {
    /// The key of the secret; the references' keys end in `_env` and `_file`.
    pub key: String,
    pub secret: &'a mut Option<Secret>,
    pub variable: &'a mut Option<String>,
    pub file: &'a mut Option<PathBuf>,
}

/// A section's public keys, with its reference to more.
pub(super) struct PublicKeyList<'a> {
    /// The key of the public keys; the reference's key ends in `_file`.
    pub key: String,
    pub public_keys: &'a mut Vec<String>,
    pub file: &'a mut Option<PathBuf>,
}

impl Reference<'_> {
    /// Adds the values, and removes the references. An error is a reference's key and the problem.
    pub fn resolve(self, env: Env<'_>) -> Result<(), (String, String)> {
        match self {
            Self::Secrets(list) => list.resolve(env),
            Self::PublicKeys(list) => list.resolve(),
        }
    }
}

impl SecretList<'_> {
    /// Adds the secrets of the variables and of the file, and removes the references. An error is a
    /// reference's key and the problem.
    pub fn resolve(self, env: Env<'_>) -> Result<(), (String, String)> {
        let Self {
            key,
            secrets,
            variables,
            file,
        } = self;
        if let Some(names) = variables.take() {
            let key = format!("{key}_env");
            let found = from_variables(&key, &names, env).map_err(|problem| (key, problem))?;
            secrets.extend(found);
        }
        if let Some(path) = file.take() {
            let found = read(&path).and_then(|text| {
                let found = parse(&text, '\n');
                some(found, &path, "a secret")
            });
            secrets.extend(found.map_err(|problem| (format!("{key}_file"), problem))?);
        }
        Ok(())
    }
}

impl OneSecret<'_> {
    /// Takes the secret of the variable or of the file, and removes the reference. Two places are
    /// an error: one of them would be ignored.
    pub fn resolve(self, env: Env<'_>) -> Result<(), (String, String)> {
        let Self {
            key,
            secret,
            variable,
            file,
        } = self;
        let places = [secret.is_some(), variable.is_some(), file.is_some()];
        if places.into_iter().filter(|is_set| *is_set).count() > 1 {
            let problem = format!("expected one of {key}, {key}_env and {key}_file");
            return Err((key, problem));
        }
        if let Some(name) = variable.take() {
            let text = env(&name).and_then(|text| text.into_string().ok());
            let found = text
                .as_deref()
                .map(str::trim)
                .filter(|text| !text.is_empty());
            let expected = || format!("{name:?}: expected a variable that holds a secret");
            let found = found.ok_or_else(|| (format!("{key}_env"), expected()))?;
            *secret = Some(Secret::new(found));
        }
        if let Some(path) = file.take() {
            let found = read(&path).and_then(|text| some(parse(&text, '\n'), &path, "a secret"));
            let found = found.map_err(|problem| (format!("{key}_file"), problem))?;
            *secret = found.into_iter().next();
        }
        Ok(())
    }
}

impl PublicKeyList<'_> {
    fn resolve(self) -> Result<(), (String, String)> {
        let Some(path) = self.file.take() else {
            return Ok(());
        };
        let found = read(&path)
            .and_then(|text| some(public_keys(&text), &path, "a public key"))
            .map_err(|problem| (format!("{}_file", self.key), problem))?;
        self.public_keys.extend(found);
        Ok(())
    }
}

/// The secret of one variable, whatever its characters.
pub(super) fn from_variable(name: &str, env: Env<'_>) -> Result<Secret, String> {
    let text = env(name).and_then(|text| text.into_string().ok());
    let text = text.unwrap_or_default();
    match text.trim() {
        "" => Err(format!("{name:?}: expected a variable that holds a secret")),
        text => Ok(Secret::new(text)),
    }
}

/// One secret of each variable.
fn from_variables(key: &str, names: &VariableNames, env: Env<'_>) -> Result<Vec<Secret>, String> {
    let is_list = matches!(names, VariableNames::Many(_));
    let secrets = names.list().iter().map(|name| {
        let text = env(name).and_then(|text| text.into_string().ok());
        let text = text.unwrap_or_default();
        let text = text.trim();
        let is_blank = |part: &str| part.trim().is_empty();
        if is_blank(text) || (!is_list && text.split(',').all(is_blank)) {
            return Err(format!("{name:?}: expected a variable that holds a secret"));
        }
        if !is_list && text.contains(',') {
            let key = key.rsplit('.').next().unwrap_or(key);
            return Err(format!(
                "{name:?}: the value has a comma, and a variable holds one secret: expected \
                 {key} = [{name:?}] if the comma is part of it, or a variable for each secret"
            ));
        }
        Ok(Secret::new(text))
    });
    secrets.collect()
}

fn read(path: &Path) -> Result<String, String> {
    let text = text_file::read(path);
    let text = text.map_err(|error| format!("{}: {error}", quoted(path)))?;
    // Some editors begin a file with a byte order mark, which is no part of the first secret.
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

fn some<T>(found: Vec<T>, path: &Path, expected: &str) -> Result<Vec<T>, String> {
    if found.is_empty() {
        return Err(format!(
            "{}: expected a file that holds {expected}",
            quoted(path)
        ));
    }
    Ok(found)
}

/// The keys of a file: blocks of PEM, or one key a line.
fn public_keys(text: &str) -> Vec<String> {
    const END: &str = "-----END ";
    if !text.contains("-----BEGIN ") {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        return lines.map(str::to_owned).collect();
    }
    let mut keys = Vec::new();
    let mut key = String::new();
    for line in text.lines() {
        key.push_str(line);
        key.push('\n');
        if line.starts_with(END) {
            keys.push(std::mem::take(&mut key));
        }
    }
    keys
}

/// Splits a text into secrets; blank parts are left out.
pub(super) fn parse(text: &str, separator: char) -> Vec<Secret> {
    text.split(separator)
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(Secret::new)
        .collect()
}
