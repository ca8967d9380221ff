//! Secrets, and the references to variables and files that hold them.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
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

/// A section's secrets, with its references to more.
pub(super) struct SecretList<'a> {
    /// The key of the secrets; the references' keys end in `_env` and `_file`.
    pub key: String,
    pub secrets: &'a mut Vec<Secret>,
    pub variable: &'a mut Option<String>,
    pub file: &'a mut Option<PathBuf>,
}

impl SecretList<'_> {
    /// Adds the secrets of the variable and of the file, and removes the references. An error is a
    /// reference's key and the problem.
    pub fn resolve(self, env: Env<'_>) -> Result<(), (String, String)> {
        let Self {
            key,
            secrets,
            variable,
            file,
        } = self;
        if let Some(name) = variable.take() {
            let found =
                from_variable(&name, env).map_err(|problem| (format!("{key}_env"), problem))?;
            secrets.extend(found);
        }
        if let Some(path) = file.take() {
            let found = from_file(&path).map_err(|problem| (format!("{key}_file"), problem))?;
            secrets.extend(found);
        }
        Ok(())
    }
}

fn from_variable(name: &str, env: Env<'_>) -> Result<Vec<Secret>, String> {
    env(name)
        .and_then(|text| text.into_string().ok())
        .map(|text| parse(&text, ','))
        .filter(|found| !found.is_empty())
        .ok_or_else(|| format!("{name:?}: expected a variable that holds a secret"))
}

fn from_file(path: &Path) -> Result<Vec<Secret>, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("\"{shown}\": {error}"))?;
    let found = parse(&text, '\n');
    if found.is_empty() {
        return Err(format!("\"{shown}\": expected a file that holds a secret"));
    }
    Ok(found)
}

/// Splits a text into secrets; blank parts are left out.
pub(super) fn parse(text: &str, separator: char) -> Vec<Secret> {
    text.split(separator)
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(Secret::new)
        .collect()
}
