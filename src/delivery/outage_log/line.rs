//! The log lines, each with one fact.

use log::Level;

/// A log line about a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// An outage has begun.
    Failing {
        failures: u64,
        /// The attempts that include the failures, unless they are in a row.
        attempts: Option<u64>,
        /// Outages since the last that was logged, this one included, unless it is the only one.
        outages: Option<u64>,
        last_error: String,
        /// The time until the breaker admits an attempt.
        probe_in_seconds: Option<u64>,
    },
    /// An outage continues.
    StillFailing {
        seconds: Option<u64>,
        failures: u64,
        dead_letters: u64,
        last_error: String,
        probe_in_seconds: Option<u64>,
    },
    /// An outage has ended.
    Recovered {
        /// Since its first failure; none if that was before this process.
        seconds: Option<u64>,
        failures: u64,
        dead_letters: u64,
    },
    /// A failure outside of an outage, the first for a while.
    Failure {
        /// Whether relay itself failed.
        is_internal: bool,
        event_id: String,
        attempt: u32,
        last_error: String,
    },
    /// Failures outside of an outage.
    Failures {
        failures: u64,
        attempts: u64,
        seconds: u64,
        last_error: String,
    },
    /// A dead letter, the first for a while.
    DeadLetter {
        event_id: String,
        attempt: u32,
        last_error: String,
    },
    /// Dead letters.
    DeadLetters {
        dead_letters: u64,
        seconds: u64,
        last_error: String,
    },
    /// The destination answered that it is gone.
    Paused { reason: String },
    /// The lines about ad hoc origins beyond their limit.
    Withheld {
        lines: u64,
        failing: u64,
        recovered: u64,
        failures: u64,
        dead_letters: u64,
        seconds: u64,
    },
}

impl Line {
    /// Whether the line is about several destinations.
    pub fn is_of_many(&self) -> bool {
        matches!(self, Self::Withheld { .. })
    }

    pub fn log(&self, destination: Option<&str>) {
        match self {
            Self::Failing { .. } | Self::StillFailing { .. } | Self::Recovered { .. } => {
                self.log_outage(destination);
            }
            Self::Paused { reason } => log::warn!(
                destination, reason = reason.as_str();
                "destination paused until relay resume"
            ),
            Self::Withheld {
                lines,
                failing,
                recovered,
                failures,
                dead_letters,
                seconds,
            } => log::warn!(
                lines, failing, recovered, failures, dead_letters, seconds;
                "lines about ad hoc origins withheld"
            ),
            _ => self.log_failures(destination),
        }
    }

    fn log_outage(&self, destination: Option<&str>) {
        match self {
            Self::Failing {
                failures,
                attempts,
                outages,
                last_error,
                probe_in_seconds,
            } => log::warn!(
                destination, failures, attempts = *attempts, outages = *outages,
                last_error = last_error.as_str(), probe_in_seconds = *probe_in_seconds;
                "destination failing"
            ),
            Self::StillFailing {
                seconds,
                failures,
                dead_letters,
                last_error,
                probe_in_seconds,
            } => log::warn!(
                destination, seconds = *seconds, failures, dead_letters,
                last_error = last_error.as_str(), probe_in_seconds = *probe_in_seconds;
                "destination still failing"
            ),
            Self::Recovered {
                seconds,
                failures,
                dead_letters,
            } => log::info!(
                destination, seconds = *seconds, failures, dead_letters;
                "destination recovered"
            ),
            _ => {}
        }
    }

    fn log_failures(&self, destination: Option<&str>) {
        match self {
            // The attempt is repeated, so no action is needed unless relay itself failed.
            Self::Failure {
                is_internal,
                event_id,
                attempt,
                last_error,
            } => log::log!(
                if *is_internal { Level::Error } else { Level::Info },
                destination, event_id = known(event_id), attempt, last_error = last_error.as_str();
                "attempt failed"
            ),
            Self::Failures {
                failures,
                attempts,
                seconds,
                last_error,
            } => log::info!(
                destination, failures, attempts, seconds, last_error = last_error.as_str();
                "attempts failed"
            ),
            Self::DeadLetter {
                event_id,
                attempt,
                last_error,
            } => log::warn!(
                destination, event_id = known(event_id), attempt, last_error = last_error.as_str();
                "delivery dead-lettered"
            ),
            Self::DeadLetters {
                dead_letters,
                seconds,
                last_error,
            } => log::warn!(
                destination, dead_letters, seconds, last_error = last_error.as_str();
                "deliveries dead-lettered"
            ),
            _ => {}
        }
    }
}

/// The id, unless the body was never loaded.
fn known(event_id: &str) -> Option<&str> {
    (!event_id.is_empty()).then_some(event_id)
}
