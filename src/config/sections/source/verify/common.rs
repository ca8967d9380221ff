//! Rules that all schemes share.

use std::time::Duration;

use crate::config::rules::{Checked, bad};
use crate::config::secrets::Secret;

/// The default tolerance: that of the Standard Webhooks specification's reference libraries.
pub(super) const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// A scheme without a secret would verify nothing, and look as if it did.
pub(super) fn check_some_secret(key: &str, secrets: &[Secret]) -> Checked {
    if secrets.is_empty() {
        return bad(key, "[]", "at least one secret");
    }
    Ok(())
}
