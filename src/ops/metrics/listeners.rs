//! The metrics of a listener with TLS.

use metrics::{Key, Label, Recorder as _};

use super::tls::{GAUGE, HandshakeCounters};
use super::{METADATA, Metrics};
use crate::clock::Timestamp;

impl Metrics {
    /// The counters of a listener's handshakes, at zero.
    pub(crate) fn handshake_counters(&self, listener: &'static str) -> HandshakeCounters {
        let register = |key: &Key| self.recorder.register_counter(key, &METADATA);
        HandshakeCounters::new(listener, register)
    }

    /// A listener presents a certificate until this time.
    pub(crate) fn certificate_expires(&self, listener: &'static str, at: Timestamp) {
        let labels = vec![Label::new("listener", listener)];
        let gauge = self
            .recorder
            .register_gauge(&Key::from_parts(GAUGE.0, labels), &METADATA);
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 seconds")]
        gauge.set(at.as_seconds() as f64);
    }
}
