//! Bulk operations on dead letters. They are stored, so that they survive a restart, and made in
//! small steps, so that they yield to live traffic and can be cancelled.

use std::time::Duration;

use super::ids::{BulkId, DestinationId};
use crate::clock::Timestamp;

/// The fate of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub(crate) enum DeadLetterAction {
    /// Sends it once more with a fresh budget of attempts; the history records that.
    Replay = 0,
    /// Deletes it; with the last of its deliveries the intent is deleted too.
    Discard = 1,
}

impl DeadLetterAction {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Discard => "discard",
        }
    }
}

/// Selects dead letters.
#[derive(Clone, Debug)]
pub(crate) struct DeadLetterFilter {
    /// None: all destinations.
    pub destination: Option<String>,
    pub source: Option<String>,
    /// A part of the last error.
    pub reason: Option<String>,
    /// Given up at this time or later.
    pub since: Timestamp,
    /// Given up at this time or before.
    pub until: Timestamp,
}

impl DeadLetterFilter {
    /// Excludes deliveries that are given up at `now` or later: a letter that the operation itself
    /// replays, and that fails again, is not matched a second time.
    pub fn before(mut self, now: Timestamp) -> Self {
        self.until = self.until.min(now.minus(Duration::from_millis(1)));
        self
    }
}

/// How many dead letters of a destination a filter matches.
#[derive(Clone, Debug)]
pub(crate) struct DeadLetterCount {
    pub(in crate::store) id: DestinationId,
    pub destination: String,
    pub count: i64,
}

/// A bulk operation as it is shown.
#[derive(Clone, Debug)]
pub(crate) struct BulkOperation {
    pub id: BulkId,
    pub action: DeadLetterAction,
    pub destination: String,
    pub total: i64,
    pub done: i64,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub is_cancelled: bool,
}

/// Advances the bulk operations under way by one step: the first one that may continue, then the
/// next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdvanceBulk {
    /// Whether replays wait while many deliveries wait for their destination: true whenever
    /// somebody delivers.
    pub is_paced: bool,
    /// Only operations after this one are considered; none at first.
    pub after: Option<BulkId>,
}

/// The result of an [`AdvanceBulk`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BulkAdvance {
    /// Dead letters replayed or discarded.
    pub done: usize,
    /// The operation to continue after, if all considered ones have to wait and there are more.
    pub after: Option<BulkId>,
}
