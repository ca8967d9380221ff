//! The configuration that a server runs, as commands see it, and what a reload replaces.

use crate::clock::Timestamp;

/// The last attempt of a server to take a configuration over: its start, or a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigAttempt {
    /// When it began to read the file.
    pub began_at: Timestamp,
    /// Whether it only tells what a reload would do.
    pub is_dry_run: bool,
    /// Reloads of this process that took effect.
    pub generation: u64,
    /// Of the file that runs.
    pub fingerprint: String,
    /// The changes in words, or why it was refused.
    pub report: Result<String, String>,
    /// The server's process, as it knows itself.
    pub process: u32,
    pub on_hangup: OnHangup,
}

/// The effect of SIGHUP on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnHangup {
    /// It reloads the configuration.
    Reloads,
    /// It ignores the signal, as under `nohup`.
    Ignored,
    /// The signal is for the program that embeds the relay.
    NotOurs,
}

/// The last attempt, and the number of all attempts on this database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigState {
    pub attempts: u64,
    pub last: ConfigAttempt,
}

/// Named destinations whose policy a reload has replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReplacedDestinations {
    /// Their URL leads to another server: hold, breaker and proof are forgotten.
    pub moved: Vec<String>,
    /// Another setting changed: an open breaker lets a probe go at once.
    pub changed: Vec<String>,
}

impl ReplacedDestinations {
    pub fn is_empty(&self) -> bool {
        self.moved.is_empty() && self.changed.is_empty()
    }
}

/// The deliveries of a destination that a reload touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Affected {
    pub name: String,
    /// Deliveries that wait or are under way, counted up to [`Affected::MAX_COUNTED`].
    pub pending: i64,
    pub is_paused: bool,
}

impl Affected {
    /// Pending deliveries that are counted one by one: some 2 ms in an index.
    pub const MAX_COUNTED: i64 = 10_000;
}
