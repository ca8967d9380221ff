//! The nodes: the processes that serve one database.

use std::time::Duration;

use crate::clock::Timestamp;

/// A node, as the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeState {
    /// The low bits of the ids that it gives, 0 to 31.
    pub slot: u8,
    pub name: String,
    /// The version of relay that it runs; none if a command can't know it.
    pub version: Option<String>,
    /// Its last heartbeat, by the database's clock.
    pub seen_at: Timestamp,
    /// The time left of its lease, by the database's clock: none left, and others may take its
    /// deliveries over. None for the server of a file, which nobody takes over.
    pub lease_left: Option<Duration>,
    /// Buckets that it delivers for, of all nodes' [`BUCKETS`].
    pub buckets: u16,
    /// It gives its buckets up, and gets none.
    pub is_leaving: bool,
    /// It is this process.
    pub is_own: bool,
}

/// Buckets of all nodes together.
pub(crate) const BUCKETS: u16 = 256;

impl NodeState {
    /// The one server of a file, seen by itself or by a command.
    pub fn only(name: String, is_own: bool, now: Timestamp) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self {
            slot: 0,
            name,
            version: is_own.then_some(version),
            seen_at: now,
            lease_left: None,
            buckets: BUCKETS,
            is_leaving: false,
            is_own,
        }
    }

    /// Its state in a word.
    pub fn word(&self) -> &'static str {
        match self.lease_left {
            Some(Duration::ZERO) => "silent",
            _ if self.is_leaving => "leaving",
            _ => "alive",
        }
    }
}

/// The share that this process has, and how long it may deliver on without another heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnLease {
    pub buckets: usize,
    pub left: Duration,
}
