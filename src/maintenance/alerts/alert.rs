//! An alert: its type, its subject, and what it says.

use serde_json::{Map, Value};

use crate::clock::Timestamp;

/// The types of alerts, the most urgent first: when there are too many at a time, these are told
/// one by one and the rest in a summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum AlertKind {
    DiskLow,
    BackupFailed,
    ClockJumped,
    ConfigReloadFailed,
    CertificateExpiring,
    BacklogOld,
    DeadLettered,
    DestinationBlocked,
    DestinationPaused,
    DestinationFailing,
    DestinationRecovered,
    Summarised,
}

impl AlertKind {
    /// The type of its event.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DiskLow => "disk.low",
            Self::BackupFailed => "backup.failed",
            Self::ClockJumped => "clock.jumped",
            Self::ConfigReloadFailed => "config.reload_failed",
            Self::CertificateExpiring => "certificate.expiring",
            Self::BacklogOld => "backlog.old",
            Self::DeadLettered => "delivery.dead_lettered",
            Self::DestinationBlocked => "destination.blocked",
            Self::DestinationPaused => "destination.paused",
            Self::DestinationFailing => "destination.failing",
            Self::DestinationRecovered => "destination.recovered",
            Self::Summarised => "alerts.summarised",
        }
    }

    /// Whether it tells of the end of a trouble.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::DestinationRecovered)
    }
}

/// An alert. It holds names, counts, ids and classes of errors: no answer and no body.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Alert {
    pub kind: AlertKind,
    /// The destination, the certificate or the node; empty if it is the relay as a whole.
    pub subject: String,
    /// One sentence for people.
    pub summary: String,
    /// The same for programs.
    pub data: Map<String, Value>,
    pub at: Timestamp,
}

/// A change of a state, and the alert that tells of it, if one does.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    /// The alert that the state belongs to: `destination.recovered` is the end of the state of
    /// `destination.failing`.
    pub kind: AlertKind,
    pub subject: String,
    pub state: &'static str,
    pub since: Timestamp,
    pub alert: Option<Alert>,
}
