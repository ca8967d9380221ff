//! Backups: what one says of itself, and how a restore compares it with the database that it
//! replaces.

use std::path::PathBuf;
use std::sync::Arc;

use super::bulk::BulkOperation;
use crate::clock::Timestamp;
use crate::model::DeliveryState;

/// The table of contents of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// The version of the relay that made it.
    pub relay_version: String,
    pub schema_version: i64,
    /// Tells the copies of one database from those of another one.
    pub database_id: String,
    /// The moment of the copy, by relay's clock.
    pub taken_at: Timestamp,
    /// The newest event or relay; none if there is none.
    pub newest: Option<NewestEvent>,
    /// Deliveries by state.
    pub counts: [(DeliveryState, i64); DeliveryState::ALL.len()],
}

/// The newest event or relay of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewestEvent {
    /// As the API names it.
    pub id: String,
    pub accepted_at: Timestamp,
}

/// A backup that was found to be whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VerifiedBackup {
    pub path: PathBuf,
    pub bytes: u64,
    /// The SHA-256 of the file, with its own place as zeros.
    pub sha256: [u8; 32],
    pub manifest: Manifest,
}

/// How far a backup or its verification has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BackupProgress {
    /// Pages copied, of all.
    Copied { pages: u64, of: u64 },
    /// The copy is complete, and is being verified.
    Verifying,
}

/// Why nothing is sent: a backup was restored, and nobody has said yet that it may go on.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Hold {
    /// Since when, in milliseconds by relay's clock.
    pub since: i64,
    /// The backup, as it was named.
    pub restored_from: String,
    /// The moment of the backup, in milliseconds.
    pub taken_at: i64,
    /// The database that was replaced, kept aside.
    pub aside: Option<PathBuf>,
}

impl Hold {
    pub fn since(&self) -> Timestamp {
        Timestamp::from_millis(self.since)
    }

    /// One line for the log, `relay stats` and others.
    pub fn describe(&self) -> String {
        format!(
            "held since {}: a backup of {} was restored, and nothing is sent until relay resume --all",
            self.since(),
            Timestamp::from_millis(self.taken_at)
        )
    }
}

/// The pending deliveries of a destination in a restored backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PendingOf {
    pub destination: String,
    pub pending: i64,
    /// Of these, delivered according to the file that was kept aside.
    pub delivered: i64,
    /// Of these, not in that file: retention has deleted their events, for example.
    pub absent: i64,
}

/// The backup's pending deliveries beside the database that was replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    pub pending: Vec<PendingOf>,
    /// Events of the file aside that are newer than the backup; none if nobody knows.
    pub newer: Option<i64>,
    /// Why the file aside tells nothing.
    pub problem: Option<String>,
    /// Pending deliveries that were marked as delivered.
    pub settled: i64,
    /// Erasures that were made again.
    pub erased: i64,
}

/// A restore that is done.
#[derive(Clone, Debug)]
pub(crate) struct Restored {
    pub backup: VerifiedBackup,
    /// The database that was replaced; none if there was none.
    pub aside: Option<PathBuf>,
    pub comparison: Comparison,
    /// Bulk operations that were under way in the backup, as they stood: they are cancelled.
    pub cancelled: Vec<BulkOperation>,
}

/// Asks whether a long work is to be given up; clones share it.
#[derive(Clone)]
pub(crate) struct StopCheck(Arc<dyn Fn() -> bool + Send + Sync>);

impl StopCheck {
    pub fn new(is_set: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_set))
    }

    /// For a command, which is ended by a signal.
    pub fn never() -> Self {
        Self::new(|| false)
    }

    pub fn is_set(&self) -> bool {
        (self.0)()
    }
}
