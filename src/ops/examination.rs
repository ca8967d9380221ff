//! The facts about a destination that can be found without sending it an event.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::model::{FailureKind, TargetUrl};
use crate::ops::notices::Validity;

/// The subject of an examination.
#[derive(Clone, Debug)]
pub(crate) enum Examined {
    /// A destination of the configuration.
    Named(String),
    /// The URL of a client: it is reached under the rules of ad hoc URLs.
    AdHoc(TargetUrl),
}

/// The facts, as far as the examination came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Examination {
    /// The addresses of the host, or of the proxy that it is reached through.
    pub addresses: Option<String>,
    /// The time to connect, TLS included; none: there was no connection.
    pub connected: Option<Duration>,
    /// The time for which the certificate is valid; none without TLS.
    pub certificate: Option<Validity>,
    /// The answer to HEAD; none if there was none.
    pub answer: Option<ExaminedAnswer>,
    /// Why the examination ended early.
    pub failure: Option<(FailureKind, String)>,
}

/// An answer, and the time of both sides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExaminedAnswer {
    /// The status.
    pub status: u16,
    /// The time by the destination's clock, if its answer has a `Date`.
    pub date: Option<Timestamp>,
    /// The time by this machine's clock.
    pub at: Timestamp,
}
