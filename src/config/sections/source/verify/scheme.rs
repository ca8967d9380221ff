//! The choice of a scheme.

use serde::Deserialize;

use crate::config::rules::Checked;
use crate::config::secrets::SecretList;
use crate::config::sections::source::verify::hmac::HmacScheme;
use crate::config::sections::source::verify::standard_webhooks::StandardWebhooks;

/// The scheme by which a source's events are verified.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Verify {
    /// The Standard Webhooks specification.
    StandardWebhooks(StandardWebhooks),
    /// Any other HMAC of the body.
    Hmac(HmacScheme),
}

impl Verify {
    pub(in crate::config) fn secret_list(&mut self, key: &str) -> SecretList<'_> {
        match self {
            Self::StandardWebhooks(scheme) => {
                scheme.secret_list(&format!("{key}.{}", Self::STANDARD))
            }
            Self::Hmac(scheme) => scheme.secret_list(&format!("{key}.{}", Self::HMAC)),
        }
    }

    pub(in crate::config) fn check(&self, key: &str) -> Checked {
        match self {
            Self::StandardWebhooks(scheme) => scheme.check(&format!("{key}.{}", Self::STANDARD)),
            Self::Hmac(scheme) => scheme.check(&format!("{key}.{}", Self::HMAC)),
        }
    }

    const STANDARD: &str = "standard_webhooks";
    const HMAC: &str = "hmac";
}
