//! How a destination is tested.

use std::sync::Arc;
use std::time::Duration;

use crate::model::failure_kind::FailureKind;
use crate::model::level::Level;

/// The result of a test: of one direct attempt, which leaves no trace in the store.
#[derive(Clone, Debug)]
pub struct PingReport {
    /// The message's id, which the receiver sees too.
    pub id: String,
    /// Whether a delivery would have counted as delivered.
    pub is_delivered: bool,
    /// The answer's status, if there was an answer.
    pub status_code: Option<u16>,
    /// Why it failed; none if it didn't.
    pub failure: Option<FailureKind>,
    /// The same in words.
    pub error: Option<String>,
    /// The first bytes of the answer.
    pub response: Option<Vec<u8>>,
    /// The addresses of the destination's name; none if a connection was used again.
    pub address: Option<String>,
    /// The duration of the name's look-up.
    pub resolve: Option<Duration>,
    /// The duration of connecting, TLS included.
    pub connect: Option<Duration>,
    /// The time until the answer's headers were there.
    pub first_byte: Option<Duration>,
    /// The duration of the whole.
    pub took: Duration,
}

/// The reason why no test can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingError {
    /// No destination of this name is configured. An ad hoc origin has no URL of its own.
    NotConfigured,
    /// At this level nobody is contacted.
    ContactsNobody(Level),
}

/// Tests the destination of this name. Blocks for up to the destination's timeout.
pub type SendPing = Arc<dyn Fn(&str) -> Result<PingReport, PingError> + Send + Sync>;
