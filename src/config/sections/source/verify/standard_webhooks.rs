//! `[sources.NAME.verify.standard_webhooks]`: an id, a timestamp and signatures in headers that
//! begin with `webhook-`, or with `svix-`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::config::rules::{Checked, bad_public_key, resolved, signing_secrets};
use crate::config::secrets::{PublicKeyList, Reference, Secret, VariableNames};
use crate::config::sections::source::verify::common::{
    TOLERANCE, check_tolerance, has_secrets, secret_list,
};
use crate::config::sections::source::verify::context::SourceContext;
use crate::config::units;
use crate::model::PublicKey;

/// The scheme of the Standard Webhooks specification.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct StandardWebhooks {
    /// `whsec_…` secrets, of `v1` signatures; a signature by any of them verifies, so that they
    /// can be rotated.
    pub secrets: Vec<Secret>,
    /// Environment variables that hold one secret each.
    pub secrets_env: Option<VariableNames>,
    /// A file that holds more secrets, one a line.
    pub secrets_file: Option<PathBuf>,
    /// `whpk_…` keys, of `v1a` signatures.
    pub public_keys: Vec<String>,
    /// A file that holds more public keys.
    pub public_keys_file: Option<PathBuf>,
    /// The largest difference between the signature's time and relay's. Default: 5 min.
    #[serde(deserialize_with = "units::duration")]
    #[cfg_attr(test, schemars(with = "units::DurationText"))]
    pub tolerance: Duration,
}

impl Default for StandardWebhooks {
    fn default() -> Self {
        Self {
            secrets: Vec::new(),
            secrets_env: None,
            secrets_file: None,
            public_keys: Vec::new(),
            public_keys_file: None,
            tolerance: TOLERANCE,
        }
    }
}

has_secrets!(StandardWebhooks, secrets);

impl StandardWebhooks {
    pub(super) fn references(&mut self, key: &str) -> Vec<Reference<'_>> {
        let (variables, file) = (&mut self.secrets_env, &mut self.secrets_file);
        vec![
            secret_list(key, &mut self.secrets, variables, file),
            Reference::PublicKeys(PublicKeyList {
                key: format!("{key}.public_keys"),
                public_keys: &mut self.public_keys,
                file: &mut self.public_keys_file,
            }),
        ]
    }

    pub(super) fn check(&self, key: &str, source: &SourceContext<'_>) -> Checked {
        let (secrets_key, secrets) = self.checked_secrets(key, source)?;
        resolved(
            &format!("{key}.public_keys"),
            false,
            self.public_keys_file.is_some(),
        )?;
        let (keys_key, public_keys) = source.public_keys(key, &self.public_keys)?;
        for (at, text) in public_keys.iter().enumerate() {
            if PublicKey::parse_standard(text).is_none() {
                return bad_public_key(&keys_key, at, text, "whpk_ and the base64 of 32 bytes");
            }
        }
        if public_keys.is_empty() {
            source.hmac_secrets(key, &self.secrets)?;
        }
        signing_secrets(&secrets_key, secrets)?;
        check_tolerance(key, self.tolerance)
    }
}
