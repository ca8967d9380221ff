//! The store as it is followed: accepted intents, and attempts.

use std::collections::{BTreeMap, BTreeSet};

use super::ids::{DestinationId, IntentRow};
use super::intents::StoredAttempt;
use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId, Surface};

/// Selects the entries of a tail.
#[derive(Clone, Debug, Default)]
pub(crate) struct TailQuery {
    pub destination: Option<String>,
    pub source: Option<String>,
    /// An event's type, or a relay's; one that ends in `*` stands for all that begin so.
    pub event_type: Option<String>,
    /// Only attempts that left their delivery in this state.
    pub status: Option<DeliveryState>,
    /// Begins with the intents accepted since then; none: with the next.
    pub since: Option<Timestamp>,
}

/// How far a tail has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct TailCursor {
    /// The last intent that was looked at; none before the first look.
    pub(in crate::store) last: Option<IntentRow>,
    /// Deliveries that may be attempted soon, each with the entries of its history that were
    /// looked at.
    pub(in crate::store) tracked: BTreeMap<(IntentRow, DestinationId), i64>,
    /// Of these, the last ones of lists that were cut off: once one is attempted, attempts may have
    /// been missed.
    pub(in crate::store) edges: BTreeSet<(IntentRow, DestinationId)>,
}

/// The entries since the look before, oldest first.
#[derive(Default)]
pub(crate) struct TailPage {
    pub entries: Vec<TailEntry>,
    /// Whether there are more at once.
    pub has_more: bool,
    /// Whether attempts may have been missed, since more were made than are looked at.
    pub has_gap: bool,
}

/// An entry of a tail.
pub(crate) struct TailEntry {
    /// When it happened.
    pub at: Timestamp,
    pub id: IntentId,
    pub surface: Surface,
    /// An event's source, a relay's event type.
    pub label: String,
    pub event_type: Option<String>,
    pub what: TailEvent,
}

/// The event of an entry.
pub(crate) enum TailEvent {
    /// An intent was accepted.
    Accepted {
        bytes: i64,
        /// The first few.
        destinations: Vec<String>,
    },
    /// An attempt ended, or an operator acted on the delivery.
    Attempt {
        destination: String,
        /// The delivery's state now.
        state: DeliveryState,
        entry: Box<StoredAttempt>,
    },
}
