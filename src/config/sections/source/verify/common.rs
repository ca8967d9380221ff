//! Shared by the schemes.

use std::time::Duration;

use crate::config::rules::{Checked, bad, is_header_name, quoted, shown};

/// The default tolerance: that of the Standard Webhooks specification's reference libraries.
pub(super) const TOLERANCE: Duration = Duration::from_secs(5 * 60);
/// The longest tolerance. Some providers repeat a request for three days under its first time.
const MAX_TOLERANCE: Duration = Duration::from_secs(7 * 86_400);

pub(super) fn check_tolerance(key: &str, tolerance: Duration) -> Checked {
    if tolerance.is_zero() || tolerance > MAX_TOLERANCE {
        return bad(&format!("{key}.tolerance"), shown(tolerance), "1ms to 7d");
    }
    Ok(())
}

pub(super) fn check_header_name(key: &str, name: &str) -> Checked {
    if is_header_name(name) {
        Ok(())
    } else {
        bad(key, quoted(name), "the name of an HTTP header")
    }
}
