//! `[sources.NAME.verify.standard_webhooks]`: the headers `webhook-id`, `webhook-timestamp` and
//! `webhook-signature`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::config::rules::{Checked, resolved, signing_secrets, timeout};
use crate::config::secrets::{Secret, SecretList};
use crate::config::sections::source::verify::common::{TOLERANCE, check_some_secret};
use crate::config::units;

/// The scheme of the Standard Webhooks specification.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StandardWebhooks {
    /// `whsec_…` secrets; a signature by any of them verifies, so that they can be rotated.
    pub secrets: Vec<Secret>,
    /// An environment variable that holds more secrets, comma-separated.
    pub secrets_env: Option<String>,
    /// A file that holds more secrets, one a line.
    pub secrets_file: Option<PathBuf>,
    /// The largest difference between the signature's time and relay's. Default: 5 min.
    #[serde(deserialize_with = "units::duration")]
    pub tolerance: Duration,
}

impl Default for StandardWebhooks {
    fn default() -> Self {
        Self {
            secrets: Vec::new(),
            secrets_env: None,
            secrets_file: None,
            tolerance: TOLERANCE,
        }
    }
}

impl StandardWebhooks {
    pub(super) fn secret_list(&mut self, key: &str) -> SecretList<'_> {
        SecretList {
            key: format!("{key}.secrets"),
            secrets: &mut self.secrets,
            variable: &mut self.secrets_env,
            file: &mut self.secrets_file,
        }
    }

    pub(super) fn check(&self, key: &str) -> Checked {
        let secrets = format!("{key}.secrets");
        resolved(
            &secrets,
            self.secrets_env.is_some(),
            self.secrets_file.is_some(),
        )?;
        check_some_secret(&secrets, &self.secrets)?;
        signing_secrets(&secrets, &self.secrets)?;
        timeout(&format!("{key}.tolerance"), self.tolerance)
    }
}
