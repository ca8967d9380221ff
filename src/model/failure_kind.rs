//! The kinds of failure that a history and the metrics tell apart.

/// Why an attempt failed. Each kind calls for a different remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The destination answered with a status that isn't 2xx.
    Status,
    /// No answer arrived in time.
    Timeout,
    /// The connection was refused.
    Refused,
    /// The connection ended before the answer did.
    Reset,
    /// The name has no address.
    Dns,
    /// The certificate isn't trusted, or the two sides share no cipher.
    Tls,
    /// The answer isn't HTTP, or it breaks off.
    Protocol,
    /// The status line and headers of the answer exceed the limits on size or number.
    ResponseHeadersTooLarge,
    /// The address policy forbids the address.
    ForbiddenAddress,
    /// The proxy on the way failed or refused: the destination was not asked.
    Proxy,
    /// The payload's bytes are not those that were accepted: nothing was sent.
    PayloadDamaged,
    /// The payload was erased: there is nothing to send.
    PayloadErased,
    /// The fault is the relay's or this machine's: it says nothing about the destination.
    Internal,
}

impl FailureKind {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::Status,
        Self::Timeout,
        Self::Refused,
        Self::Reset,
        Self::Dns,
        Self::Tls,
        Self::Protocol,
        Self::ResponseHeadersTooLarge,
        Self::ForbiddenAddress,
        Self::Proxy,
        Self::PayloadDamaged,
        Self::PayloadErased,
        Self::Internal,
    ];

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The class of error that callers without an API key may see: apart from the status it
    /// reveals nothing of the destination's address or answer.
    pub fn class(self, status_code: Option<u16>) -> String {
        match (self, status_code) {
            (Self::Status, Some(code)) => format!("answered {code}"),
            (Self::Refused, _) => "connection refused".to_owned(),
            (Self::Reset, _) => "connection reset".to_owned(),
            // The way out of the network is the operator's own affair.
            (Self::Proxy, _) => Self::Internal.name().to_owned(),
            _ => self.name().to_owned(),
        }
    }

    /// Whether the event itself can't be sent, to whatever destination. Then no later one of its
    /// order waits for it.
    pub const fn is_of_payload(self) -> bool {
        matches!(self, Self::PayloadDamaged | Self::PayloadErased)
    }

    /// The name in the history.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::ResponseHeadersTooLarge => "response_headers_too_large",
            Self::ForbiddenAddress => "forbidden_address",
            Self::Proxy => "proxy",
            Self::PayloadDamaged => "payload_damaged",
            Self::PayloadErased => "payload_erased",
            Self::Internal => "internal",
        }
    }
}
