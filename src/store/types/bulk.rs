//! Bulk operations. They are stored, so that they survive a restart, and made in small steps, so
//! that they yield to live traffic and can be cancelled.

use std::sync::Arc;
use std::time::Duration;

use super::ids::{BulkId, DestinationId};
use super::messages::OutboundMessage;
use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId, OrderKey, Surface};

/// An operator's act on a delivery, or on an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub(crate) enum BulkAction {
    /// Sends a finished delivery once more with a fresh budget of attempts.
    Replay = 0,
    /// Gives up a delivery for good: it keeps its row, and loses its body and the answers.
    Discard = 1,
    /// Sends an event to another destination, unless it has a delivery there.
    SendTo = 2,
    /// Creates the deliveries that today's routes want and that an event lacks.
    Route = 3,
    /// Makes a waiting delivery due now, with the attempts that it has left.
    Retry = 4,
    /// Moves a waiting delivery to another destination, with its history.
    Reroute = 5,
    /// Deletes all that an event says; its row stays.
    Erase = 6,
}

impl BulkAction {
    /// All actions, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Replay,
        Self::Discard,
        Self::SendTo,
        Self::Route,
        Self::Retry,
        Self::Reroute,
        Self::Erase,
    ];

    /// The command's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replay | Self::SendTo | Self::Route => "replay",
            Self::Discard => "discard",
            Self::Retry => "retry",
            Self::Reroute => "reroute",
            Self::Erase => "erase",
        }
    }

    /// Whether it makes something due, and so waits while a destination has much to do.
    pub const fn is_paced(self) -> bool {
        !matches!(self, Self::Discard | Self::Erase)
    }

    /// Whether it works on deliveries that wait, and so may meet some that are in flight.
    pub fn is_of_waiting(self, states: StateSet) -> bool {
        !self.is_of_events() && states.is_within(StateSet::WAITING)
    }

    /// Whether it works on events, rather than on deliveries that are there.
    pub const fn is_of_events(self) -> bool {
        matches!(self, Self::SendTo | Self::Route | Self::Erase)
    }
}

/// A set of delivery states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StateSet(pub(in crate::store) i64);

impl StateSet {
    /// Waits for an attempt.
    pub const WAITING: Self = Self::of(DeliveryState::Queued).and(DeliveryState::Retrying);
    pub const DEAD_LETTERED: Self = Self::of(DeliveryState::DeadLettered);
    pub const DELIVERED: Self = Self::of(DeliveryState::Delivered);
    /// Ended, one way or the other.
    pub const FINISHED: Self = Self::DELIVERED.and(DeliveryState::DeadLettered);
    pub const ANY: Self = Self::FINISHED
        .and(DeliveryState::Queued)
        .and(DeliveryState::Retrying)
        .and(DeliveryState::Processing);

    pub const fn of(state: DeliveryState) -> Self {
        Self(1 << state.number())
    }

    #[must_use]
    pub const fn and(self, state: DeliveryState) -> Self {
        Self(self.0 | Self::of(state).0)
    }

    pub const fn holds(self, state: DeliveryState) -> bool {
        self.0 & Self::of(state).0 != 0
    }

    /// Whether it holds no state that `other` doesn't hold.
    pub const fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }
}

/// The time that `since` and `until` of a filter compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FilteredTime {
    /// When a delivery was given up: of dead letters.
    GivenUp,
    /// When the event was accepted: of all others.
    Accepted,
}

/// Selects the deliveries, or the events, of a bulk operation.
#[derive(Clone, Debug)]
pub(crate) struct BulkFilter {
    /// The states of the deliveries. Of events: those with a delivery in one of them.
    pub states: StateSet,
    /// None but these, if there are any. Sorted.
    pub ids: Vec<IntentId>,
    /// None: all destinations.
    pub destination: Option<String>,
    pub source: Option<String>,
    /// An event's type; one that ends in `*` stands for all that begin so.
    pub event_type: Option<String>,
    /// A part of the last error.
    pub reason: Option<String>,
    /// At this time or later: see [`FilteredTime`].
    pub since: Timestamp,
    /// At this time or before.
    pub until: Timestamp,
}

impl BulkFilter {
    /// Deliveries in these states.
    pub const fn of(states: StateSet) -> Self {
        Self {
            states,
            ids: Vec::new(),
            destination: None,
            source: None,
            event_type: None,
            reason: None,
            since: Timestamp::from_millis(0),
            until: Timestamp::from_millis(i64::MAX),
        }
    }

    /// All dead letters.
    pub const fn dead_letters() -> Self {
        Self::of(StateSet::DEAD_LETTERED)
    }

    /// Everything that waits for an attempt.
    #[cfg(test)]
    pub const fn waiting() -> Self {
        Self::of(StateSet::WAITING)
    }

    /// All events, whatever became of their deliveries, and also those that have none.
    #[cfg(test)]
    pub const fn events() -> Self {
        Self::of(StateSet::ANY)
    }

    /// Excludes deliveries that are given up at `now` or later: a letter that the operation itself
    /// replays, and that fails again, is not matched a second time.
    pub fn before(mut self, now: Timestamp) -> Self {
        self.until = self.until.min(now.minus(Duration::from_millis(1)));
        self
    }

    /// Whether it asks for events by a delivery of theirs.
    pub fn is_of_deliveries(&self) -> bool {
        self.states != StateSet::ANY || self.destination.is_some() || self.reason.is_some()
    }

    /// The time that `since` and `until` compare.
    pub fn time(&self, action: BulkAction) -> FilteredTime {
        if !action.is_of_events() && self.states == StateSet::DEAD_LETTERED {
            FilteredTime::GivenUp
        } else {
            FilteredTime::Accepted
        }
    }
}

/// A bulk operation to create.
#[derive(Clone, Debug)]
pub(crate) struct NewBulk {
    pub action: BulkAction,
    /// The destination of [`BulkAction::SendTo`] and [`BulkAction::Reroute`].
    pub target: Option<String>,
    pub filter: BulkFilter,
    /// The person who asked for it; none: somebody at the command line.
    pub actor: Option<String>,
    /// Of two operations with the same nonce the second one is not created.
    pub nonce: Option<String>,
}

impl NewBulk {
    fn new(action: BulkAction, target: Option<String>, filter: BulkFilter) -> Self {
        Self {
            action,
            target,
            filter,
            actor: None,
            nonce: None,
        }
    }

    /// Sends finished deliveries once more.
    pub fn replay(filter: BulkFilter) -> Self {
        Self::new(BulkAction::Replay, None, filter)
    }

    /// Gives up dead letters, or waiting deliveries.
    pub fn discard(filter: BulkFilter) -> Self {
        Self::new(BulkAction::Discard, None, filter)
    }

    /// Sends events to a configured destination.
    pub fn send_to(target: String, filter: BulkFilter) -> Self {
        Self::new(BulkAction::SendTo, Some(target), filter)
    }

    /// Sends events wherever today's routes want them.
    pub fn route(filter: BulkFilter) -> Self {
        Self::new(BulkAction::Route, None, filter)
    }

    /// Makes waiting deliveries due.
    pub fn retry(filter: BulkFilter) -> Self {
        Self::new(BulkAction::Retry, None, filter)
    }

    /// Moves the waiting deliveries of a destination to another one, which is configured.
    pub fn reroute(from: String, to: String, filter: BulkFilter) -> Self {
        let filter = BulkFilter {
            destination: Some(from),
            ..filter
        };
        Self::new(BulkAction::Reroute, Some(to), filter)
    }

    /// Events that are only found.
    pub fn export(filter: BulkFilter) -> Self {
        Self::new(BulkAction::SendTo, None, filter)
    }

    /// Erases events.
    pub fn erase(filter: BulkFilter) -> Self {
        Self::new(BulkAction::Erase, None, filter)
    }

    /// An operation of the same kind on all dead letters, for tests.
    #[cfg(test)]
    pub fn of(action: BulkAction) -> Self {
        Self::new(action, None, BulkFilter::dead_letters())
    }
}

/// One of the operations that a [`NewBulk`] makes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BulkPart {
    /// None: all destinations.
    pub(in crate::store) destination: Option<DestinationId>,
    /// None if the deliveries were not counted.
    pub(in crate::store) total: Option<i64>,
    /// Whether nothing was selected: the operation is recorded, and has ended.
    pub(in crate::store) is_empty: bool,
}

/// How many deliveries of a destination a filter matches.
#[derive(Clone, Debug)]
pub(crate) struct BulkCount {
    pub(in crate::store) id: DestinationId,
    pub destination: String,
    pub count: i64,
}

/// The acts of an operation that nobody has begun.
#[derive(Debug, Default)]
pub(crate) struct BulkPreview {
    /// By destination; for [`BulkAction::SendTo`] and [`BulkAction::Route`] by the new one.
    pub counts: Vec<(String, i64)>,
    /// Events that the destination has already, or deliveries that are due already.
    pub skipped: i64,
    /// Deliveries in flight, which are left.
    pub in_flight: i64,
    /// Whether there are no more than were counted.
    pub is_exact: bool,
    /// The first few.
    pub first: Vec<PreviewedDelivery>,
}

impl BulkPreview {
    /// Deliveries of all destinations that are counted.
    pub fn total(&self) -> i64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }
}

/// The reads that a count of selected deliveries may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counting {
    /// All of those in an index: a command's own time is spent.
    Indexed,
    /// Up to 10 000 matches, and a bounded number of rows: a client waits for it, and others for
    /// the connection.
    Bounded,
}

/// One of the deliveries that an operation would act on, or create.
#[derive(Debug)]
pub(crate) struct PreviewedDelivery {
    pub id: IntentId,
    pub surface: Surface,
    pub destination: String,
    /// None of a delivery that would be created.
    pub state: Option<DeliveryState>,
    pub created_at: Timestamp,
}

/// Deliveries by what an operation has made of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BulkTally {
    /// Replayed, discarded, created, retried or moved.
    pub done: i64,
    /// The event has a delivery at the target already, or the delivery is due already.
    pub skipped: i64,
    /// The event's payload was deleted: it can't be sent.
    pub payload_gone: i64,
    /// An attempt of it is under way, which is waited for.
    pub in_flight: i64,
}

impl std::ops::AddAssign for BulkTally {
    fn add_assign(&mut self, other: Self) {
        self.done += other.done;
        self.skipped += other.skipped;
        self.payload_gone += other.payload_gone;
        self.in_flight += other.in_flight;
    }
}

/// The result of an operation on one relay or event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OfIntent {
    pub tally: BulkTally,
    /// Deliveries in flight, which are left.
    pub in_flight: usize,
}

/// A bulk operation as it is shown.
#[derive(Clone, Debug)]
pub(crate) struct BulkOperation {
    pub id: BulkId,
    pub action: BulkAction,
    /// None: all destinations.
    pub destination: Option<String>,
    pub target: Option<String>,
    /// How many deliveries there were at its creation; none if nobody counted them.
    pub total: Option<i64>,
    pub tally: BulkTally,
    /// Deliveries that were in flight at the end, and were left; of one under way those that it
    /// waits for.
    pub in_flight: i64,
    /// Whether everything is erased, and the files have yet to give up the bytes.
    pub is_emptying: bool,
    pub actor: Option<String>,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub is_cancelled: bool,
}

/// The configuration, as far as an operation that creates deliveries asks it.
pub(crate) trait Routing: Sync {
    /// The destinations that today's routes want for an event.
    fn route(&self, event: &OutboundMessage) -> Arc<[String]>;

    /// Whether deliveries to a destination can be attempted: one that left the configuration has
    /// none.
    fn is_deliverable(&self, destination: &str) -> bool;

    /// Whether the deliveries of a destination are ordered.
    fn has_order(&self, destination: &str) -> bool;

    /// The line in which an event stands at a destination; none if it has no order there.
    fn order_key(&self, destination: &str, event: &OutboundMessage) -> Option<OrderKey>;
}

/// A configuration for operations that create no delivery.
pub(crate) struct NoRouting;

impl Routing for NoRouting {
    fn route(&self, _event: &OutboundMessage) -> Arc<[String]> {
        Arc::from([])
    }

    fn is_deliverable(&self, _destination: &str) -> bool {
        true
    }

    fn has_order(&self, _destination: &str) -> bool {
        false
    }

    fn order_key(&self, _destination: &str, _event: &OutboundMessage) -> Option<OrderKey> {
        None
    }
}

/// Advances the bulk operations under way by one step: the first one that may continue, then the
/// next.
#[derive(Clone, Copy)]
pub(crate) struct AdvanceBulk<'a> {
    /// Whether operations wait while many deliveries wait for a destination, and for deliveries in
    /// flight: true whenever somebody delivers.
    pub is_paced: bool,
    /// Only operations after this one are considered; none at first.
    pub after: Option<BulkId>,
    pub routing: &'a dyn Routing,
}

/// The result of an [`AdvanceBulk`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BulkAdvance {
    /// Deliveries replayed, discarded, created, retried or moved.
    pub done: usize,
    /// Whether any operation has come further.
    pub has_advanced: bool,
    /// The operation to continue after, if all considered ones have to wait and there are more.
    pub after: Option<BulkId>,
}
