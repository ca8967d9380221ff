//! Operations as operators see them: the jobs that were created together are one.

use std::time::Duration;

use super::bulk::{BulkAction, BulkFilter, BulkTally, NewBulk};
use super::ids::BulkId;
use crate::clock::Timestamp;

/// The longest time between a request and the operation, while its deliveries are counted.
const COUNTED_WITHIN: Duration = Duration::from_secs(10);

/// An operation that is stored. Its number is that of its first job.
#[derive(Clone, Debug)]
pub(crate) struct StoredOperation {
    pub id: BulkId,
    pub action: BulkAction,
    pub filter: BulkFilter,
    pub target: Option<String>,
    /// Jobs that it consists of: one for each destination that had matching deliveries.
    pub jobs: i64,
    /// How many deliveries there were at its creation; none if nobody counted all of them.
    pub total: Option<i64>,
    pub tally: BulkTally,
    /// Deliveries that were in flight at the end, and were left.
    pub in_flight: i64,
    pub actor: Option<String>,
    pub created_at: Timestamp,
    /// Set once all jobs have ended.
    pub ended_at: Option<Timestamp>,
    pub is_cancelled: bool,
    /// The first of its jobs; none in a list.
    pub parts: Vec<OperationPart>,
}

/// A job of an operation.
#[derive(Clone, Debug)]
pub(crate) struct OperationPart {
    pub id: BulkId,
    pub destination: Option<String>,
    pub total: Option<i64>,
    pub tally: BulkTally,
    pub in_flight: i64,
    pub ended_at: Option<Timestamp>,
}

impl StoredOperation {
    /// Whether it sends events wherever today's routes want them.
    pub fn is_by_routes(&self) -> bool {
        self.action == BulkAction::Route
    }

    /// Whether a request of this moment asks for this operation.
    pub fn is_asked_for_by(&self, new: &NewBulk, now: Timestamp) -> bool {
        let (one, other) = (&self.filter, &new.filter);
        let age = now.since(self.created_at);
        // The time of a request ends what it selects.
        let has_no_end = self.created_at.since(one.until) <= COUNTED_WITHIN;
        let is_same_until =
            is_same_time((one.until, other.until), age) || (has_no_end && other.until >= one.until);
        self.action == new.action
            && self.target == new.target
            && one.states == other.states
            && one.ids == other.ids
            && one.source == other.source
            && one.event_type == other.event_type
            && one.reason == other.reason
            && self.is_of_destination(new)
            && is_same_time((one.since, other.since), age)
            && is_same_until
    }

    /// Whether a request may name the destination that was asked for. A destination that had no
    /// deliveries is not remembered, nor whether the only one that had any was named.
    fn is_of_destination(&self, new: &NewBulk) -> bool {
        match (&self.filter.destination, &new.filter.destination) {
            (None, Some(_)) => self.jobs == 1 && self.total == Some(0),
            (Some(_), None) => !new.action.is_of_events() && new.filter.ids.is_empty(),
            (one, other) => one == other,
        }
    }
}

/// Whether a request means the same time as an earlier one. An age stands for a time that is later
/// by the age of the operation.
fn is_same_time((earlier, later): (Timestamp, Timestamp), age: Duration) -> bool {
    let is_as_old = later.since(earlier).abs_diff(age) <= COUNTED_WITHIN;
    earlier == later || (later > earlier && is_as_old)
}

/// The result of creating an operation.
#[derive(Debug)]
pub(crate) enum OperationCreation {
    New(StoredOperation),
    /// The request's nonce names this one, which the request asks for.
    Before(StoredOperation),
    /// The nonce names one that the request doesn't ask for.
    Conflict,
}

/// Selects a page of operations, the latest first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OperationsQuery {
    /// None: from the latest on.
    pub after: Option<BulkId>,
    pub limit: u32,
}

/// A page of operations, the latest first.
#[derive(Debug)]
pub(crate) struct OperationsPage {
    pub found: Vec<StoredOperation>,
    /// Where the next page begins; none if this is the last one.
    pub next: Option<BulkId>,
}
