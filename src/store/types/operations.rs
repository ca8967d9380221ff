//! Operations as operators see them: the jobs that were created together are one.

use super::bulk::{BulkAction, BulkFilter, BulkTally, NewBulk};
use super::ids::BulkId;
use crate::clock::Timestamp;

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

    /// Whether a request asks for this operation. The times don't count: an age stands for another
    /// time with each request. Nor does a destination of several, which isn't remembered.
    pub fn is_asked_for_by(&self, new: &NewBulk) -> bool {
        let (one, other) = (&self.filter, &new.filter);
        let is_same_destination = other.destination.is_none()
            || one.destination.is_none()
            || one.destination == other.destination;
        self.action == new.action
            && self.target == new.target
            && one.states == other.states
            && one.ids == other.ids
            && one.source == other.source
            && one.event_type == other.event_type
            && one.reason == other.reason
            && is_same_destination
    }
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
