//! `[sources.NAME.verify.basic]`: a user and a password in `Authorization`.

use std::path::PathBuf;

use serde::Deserialize;

use crate::config::rules::{Checked, bad, quoted, resolved};
use crate::config::secrets::{Reference, Secret, SecretList, VariableNames};
use crate::config::sections::source::verify::context::{SourceContext, check_secret_texts};

/// The user, whose passwords the secrets are.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
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

impl BasicScheme {
    pub(super) fn references(&mut self, key: &str) -> Vec<Reference<'_>> {
        vec![Reference::Secrets(SecretList {
            key: format!("{key}.secrets"),
            secrets: &mut self.secrets,
            variables: &mut self.secrets_env,
            file: &mut self.secrets_file,
        })]
    }

    pub(super) fn check(&self, key: &str, source: &SourceContext<'_>) -> Checked {
        resolved(
            &format!("{key}.secrets"),
            self.secrets_env.is_some(),
            self.secrets_file.is_some(),
        )?;
        let (secrets_key, secrets) = source.some_secrets(key, &self.secrets)?;
        check_secret_texts(&secrets_key, secrets)?;
        // A colon would end the name (RFC 7617, 2).
        if self.user.is_empty() || self.user.contains(':') {
            let expected = "a user's name without a colon";
            return bad(&format!("{key}.user"), quoted(&self.user), expected);
        }
        Ok(())
    }
}
