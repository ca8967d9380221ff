//! The metrics of TLS at the listeners: handshakes, and the ends of certificates.

use metrics::{Counter, Key, Label};

/// The help of the counter and of the gauge.
pub(super) const COUNTER: (&str, &str) = (
    "relay_tls_handshakes_total",
    "TLS handshakes of clients that ended, by listener and result.",
);
pub(super) const GAUGE: (&str, &str) = (
    "relay_certificate_expiry_timestamp_seconds",
    "When the certificate that a listener presents expires.",
);

/// The end of a client's TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandshakeResult {
    /// The connection goes on.
    Ok,
    /// An ACME authority has checked that relay has the name.
    Challenge,
    /// There is no certificate yet.
    NoCertificate,
    /// The client spoke plain HTTP.
    PlainHttp,
    /// The client took longer than `server.header_timeout`.
    TimedOut,
    /// The connection ended.
    Cut,
    /// The connection made room for another one.
    Evicted,
    /// One side refused the other: no common version, another protocol, a certificate that the
    /// client doesn't trust.
    Failed,
}

impl HandshakeResult {
    const ALL: [Self; 8] = [
        Self::Ok,
        Self::Challenge,
        Self::NoCertificate,
        Self::PlainHttp,
        Self::TimedOut,
        Self::Cut,
        Self::Evicted,
        Self::Failed,
    ];

    /// The name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Challenge => "challenge",
            Self::NoCertificate => "no_certificate",
            Self::PlainHttp => "plain_http",
            Self::TimedOut => "timed_out",
            Self::Cut => "cut",
            Self::Evicted => "evicted",
            Self::Failed => "failed",
        }
    }
}

/// The counters of one listener, one for each result.
pub(crate) struct HandshakeCounters([Counter; 8]);

impl HandshakeCounters {
    /// The counters of a listener, at zero.
    pub(super) fn new(listener: &'static str, register: impl Fn(&Key) -> Counter) -> Self {
        Self(HandshakeResult::ALL.map(|result| {
            let labels = vec![
                Label::new("listener", listener),
                Label::new("result", result.name()),
            ];
            register(&Key::from_parts(COUNTER.0, labels))
        }))
    }

    /// A handshake has ended.
    pub fn count(&self, result: HandshakeResult) {
        self.0[result as usize].increment(1);
    }
}
