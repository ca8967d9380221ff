//! The metrics of the configuration that runs.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use metrics::Gauge;

use crate::clock::Timestamp;

/// The identity of the configuration, and the result of the last reload.
pub(crate) struct ConfigMetrics {
    /// Fingerprint and generation. Rendered here, since a recorder never drops a series: each
    /// reload would leave one more.
    identity: Mutex<Option<(String, u64)>>,
    is_successful: Gauge,
    succeeded_at: Gauge,
}

/// The help of the gauges.
pub(super) const GAUGES: [(&str, &str); 2] = [
    (
        "relay_config_last_reload_successful",
        "1 if the last reload took effect, or if there was none; 0 if it was refused.",
    ),
    (
        "relay_config_last_reload_success_timestamp_seconds",
        "When the configuration that runs was taken over.",
    ),
];

impl ConfigMetrics {
    pub(super) fn new(gauge: impl Fn(&'static str) -> Gauge) -> Self {
        Self {
            identity: Mutex::default(),
            is_successful: gauge("relay_config_last_reload_successful"),
            succeeded_at: gauge("relay_config_last_reload_success_timestamp_seconds"),
        }
    }

    /// Appends the identity to the rendered metrics.
    pub(super) fn render(&self, text: &mut String) {
        let identity = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((fingerprint, generation)) = &*identity {
            write!(
                text,
                "# HELP relay_config_info 1, with the fingerprint of the configuration that runs, \
                 and the number of reloads that took effect.\n\
                 # TYPE relay_config_info gauge\n\
                 relay_config_info{{fingerprint=\"{fingerprint}\",generation=\"{generation}\"}} 1\n\n"
            )
            .expect("a text takes more text");
        }
    }

    /// Another configuration runs, from this time by the system's clock on.
    pub fn runs(&self, fingerprint: &str, generation: u64, at: Timestamp) {
        let identity = &self.identity;
        let now = Some((fingerprint.to_owned(), generation));
        *identity.lock().unwrap_or_else(PoisonError::into_inner) = now;
        self.is_successful.set(1.0);
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 milliseconds")]
        self.succeeded_at.set(at.as_millis() as f64 / 1000.0);
    }

    /// A reload was refused.
    pub fn refused(&self) {
        self.is_successful.set(0.0);
    }
}
