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
    /// The address policy forbids it.
    ForbiddenAddress,
    /// Ours, or this machine's: it says nothing about the destination.
    Internal,
}

impl Failure {
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
            Self::ForbiddenAddress => "forbidden_address",
            Self::Internal => "internal",
        }
    }
}
