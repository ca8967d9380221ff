//! The deliveries, or the events, that a bulk operation selects: found on a reader a page at a
//! time, so that the writer only changes them.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::model::{DeliveryState, OrderKey};
use crate::store::types::{BulkAction, DestinationId, IntentRow, NewBulk, StateSet};

/// Rows that a page looks at: some 10 ms of a reader's time, and no less than a thousand pages for
/// ten million rows.
pub const LOOKS: usize = if cfg!(test) { 1_000 } else { 10_000 };

/// A selection, in the numbers of the database.
#[derive(Clone, Debug)]
pub struct Selection {
    pub action: BulkAction,
    pub states: StateSet,
    /// The only intents that are meant, if not all are.
    pub ids: Option<Vec<IntentRow>>,
    pub destination: Option<DestinationId>,
    /// The destination of [`BulkAction::SendTo`] and [`BulkAction::Reroute`], once it is stored.
    pub target: Option<DestinationId>,
    pub source: Option<String>,
    pub event_type: Option<String>,
    pub reason: Option<String>,
    pub since: Timestamp,
    pub until: Timestamp,
    /// When the operation began: what was changed since then isn't selected, so that a delivery
    /// which fails anew never belongs to the operation again.
    pub begun_at: Timestamp,
}

/// How the selected ones are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// In the index `dead`, in the order in which they were given up.
    Dead,
    /// In the index `due`, in the order in which they are due.
    Waiting,
    /// All deliveries, or those of some intents, in the order of acceptance.
    Deliveries,
    /// All intents, or some, in the order of acceptance.
    Intents,
}

/// How far a selection has been read: the last row, by the columns of its order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// When it was given up, or is due; 0 for the orders of acceptance.
    pub at: i64,
    pub intent: i64,
    /// Its state among those that are due at the same time; its destination in the order of all
    /// deliveries.
    pub more: i64,
}

/// A selected delivery or, without a destination, an event.
#[derive(Clone, Debug)]
pub struct Selected {
    pub intent: IntentRow,
    pub destination: Option<DestinationId>,
    pub state: DeliveryState,
    pub updated_at: Timestamp,
    /// Entries of its history, and bytes of its intent.
    pub history: u32,
    pub bytes: u32,
    /// The line to whose end a replay takes it; none of a dead letter that blocks its line.
    pub line: Option<OrderKey>,
    /// Whether there is nothing to do: it is due already, or the target has the event.
    pub is_skipped: bool,
    /// Where the next page begins if this is the last one taken.
    pub cursor: Cursor,
}

impl Selected {
    /// An event with this many bytes.
    pub fn event(intent: IntentRow, bytes: u32) -> Self {
        Self {
            intent,
            destination: None,
            state: DeliveryState::Queued,
            updated_at: Timestamp::from_millis(0),
            history: 0,
            bytes,
            line: None,
            is_skipped: false,
            cursor: Cursor::default(),
        }
    }
}

/// Rows in the order of a selection: those that match.
pub struct Page {
    pub selected: Vec<Selected>,
    /// Rows that were looked at.
    pub looked: usize,
    /// After all of them.
    pub end: Cursor,
    /// Whether these are all.
    pub is_last: bool,
}

/// The selection of an operation on one destination, or on all.
pub fn selection_of(
    new: &NewBulk,
    destination: Option<DestinationId>,
    target: Option<DestinationId>,
    begun_at: Timestamp,
) -> Selection {
    let filter = &new.filter;
    let ids = filter.ids.iter().map(|id| IntentRow::of(*id)).collect();
    Selection {
        action: new.action,
        states: filter.states,
        ids: (!filter.ids.is_empty()).then_some(ids),
        destination,
        target,
        source: filter.source.clone(),
        event_type: filter.event_type.clone(),
        reason: filter.reason.clone(),
        since: filter.since,
        until: filter.until,
        begun_at,
    }
}

impl Selection {
    /// How the selected ones are found.
    pub fn access(&self) -> Access {
        if self.action.is_of_events() {
            Access::Intents
        } else if self.ids.is_some() || self.destination.is_none() {
            Access::Deliveries
        } else if self.states == StateSet::DEAD_LETTERED {
            Access::Dead
        } else if self.states.is_within(StateSet::WAITING) {
            Access::Waiting
        } else {
            Access::Deliveries
        }
    }

    /// Whether it may meet deliveries that are in flight, and come back to wait.
    pub fn is_of_waiting(&self) -> bool {
        self.action.is_of_waiting(self.states)
    }

    /// Whether it asks for events by a delivery of theirs: see `BulkFilter::is_of_deliveries`.
    pub fn is_of_deliveries(&self) -> bool {
        self.states != StateSet::ANY || self.destination.is_some() || self.reason.is_some()
    }

    /// Whether what it makes goes to one destination only.
    pub fn is_of_one(&self) -> bool {
        let has_one = self.target.is_some() || self.destination.is_some();
        has_one && self.action != BulkAction::Route
    }

    /// Whether sizes of payloads are read.
    pub fn reads_bytes(&self) -> bool {
        self.action == BulkAction::Discard
    }

    /// Where its first page begins.
    pub fn start(&self) -> Cursor {
        let (at, intent) = match self.access() {
            Access::Dead => (self.since.as_millis(), 0),
            Access::Waiting => (i64::MIN, 0),
            Access::Deliveries | Access::Intents => (0, self.first_intent().0 - 1),
        };
        Cursor {
            at,
            intent,
            more: i64::MAX,
        }
    }

    /// The last time at which a dead letter may have been given up.
    pub fn last_time(&self) -> Timestamp {
        let before = self.begun_at.minus(Duration::from_millis(1));
        self.until.min(before)
    }

    /// The first row that may have been accepted since the filter's time.
    pub fn first_intent(&self) -> IntentRow {
        IntentRow::first_at(self.since)
    }

    /// The last row that may have been accepted before the operation began.
    pub fn last_intent(&self) -> i64 {
        IntentRow::first_at(self.last_time().plus(Duration::from_millis(1))).0 - 1
    }
}
