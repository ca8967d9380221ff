//! `[sources.NAME.verify.basic]`: a user and a password in `Authorization`.

use std::path::PathBuf;

use serde::Deserialize;

use crate::config::rules::{Checked, bad, quoted};
use crate::config::secrets::{Reference, Secret, VariableNames};
use crate::config::sections::source::verify::common::{has_secrets, secret_list};
use crate::config::sections::source::verify::context::SourceContext;

/// The user, whose passwords the secrets are.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct BasicScheme {
    /// The user's name.
    pub user: String,
    /// The passwords; any of them verifies, so that they can be rotated.
    pub secrets: Vec<Secret>,
    /// Environment variables that hold one password each.
    pub secrets_env: Option<VariableNames>,
    /// A file that holds more passwords, one a line.
    pub secrets_file: Option<PathBuf>,
}

has_secrets!(BasicScheme, some_secrets);

impl BasicScheme {
    pub(super) fn references(&mut self, key: &str) -> Vec<Reference<'_>> {
        let (variables, file) = (&mut self.secrets_env, &mut self.secrets_file);
        vec![secret_list(key, &mut self.secrets, variables, file)]
    }

    pub(super) fn check(&self, key: &str, source: &SourceContext<'_>) -> Checked {
        self.checked_secrets(key, source)?;
        // A colon would end the name (RFC 7617, 2).
        if self.user.is_empty() || self.user.contains(':') {
            let expected = "a user's name without a colon";
            return bad(&format!("{key}.user"), quoted(&self.user), expected);
        }
        Ok(())
    }
}
