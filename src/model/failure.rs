/// What kind of failure it was: what a person looks for in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// An answer, with a status that isn't 2xx.
    Status,
    /// No answer in time.
    Timeout,
    /// Nobody listens there.
    Refused,
    /// The connection ended before the answer did.
    Reset,
    /// The name has no address.
    Dns,
    /// No trust, or no agreement on how to encrypt.
    Tls,
    /// An answer that isn't HTTP, or breaks off.
    Protocol,
    /// An answer whose status line and headers are larger, or more, than are read.
    ResponseHeadersTooLarge,
    /// The address policy forbids it.
    ForbiddenAddress,
    /// Ours, or this machine's: it says nothing about the destination.
    Internal,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Status,
        Self::Timeout,
        Self::Refused,
        Self::Reset,
        Self::Dns,
        Self::Tls,
        Self::Protocol,
        Self::ResponseHeadersTooLarge,
        Self::ForbiddenAddress,
        Self::Internal,
    ];

    /// The one of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// The class of error as anybody may see it: it holds nothing of the destination's address or
    /// answer but the status.
    pub fn class(self, status_code: Option<u16>) -> String {
        match (self, status_code) {
            (Self::Status, Some(code)) => format!("answered {code}"),
            (Self::Refused, _) => "connection refused".to_owned(),
            (Self::Reset, _) => "connection reset".to_owned(),
            _ => self.name().to_owned(),
        }
    }

    /// Its name in the history.
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
            Self::Internal => "internal",
        }
    }
}
