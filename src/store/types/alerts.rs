//! Alerts: their states, their events, and what the store knows that they are about.

use super::accept::Accept;
use super::ids::DestinationId;
use crate::clock::Timestamp;
use crate::model::IntentId;

/// The state of a subject that alerts are about, as it was told last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AlertState {
    /// The type of alert.
    pub kind: String,
    /// The subject, such as a destination; empty if there is one subject only.
    pub subject: String,
    pub state: String,
    pub since: Timestamp,
}

/// A change of a state, from the one that was known before.
pub(crate) struct AlertChange {
    pub state: AlertState,
    /// Since when the subject was in the state before; none if nothing was told of it. Where
    /// several processes write states, nothing is changed if it is another one by now.
    #[allow(dead_code, reason = "only processes that share PostgreSQL compare it")]
    pub before: Option<Timestamp>,
}

/// Changes of states, with the events that tell of them: in one transaction, so that a change is
/// told once. Bounded by the caller: [`Self::MAX_STATES`].
pub(crate) struct RaiseAlerts {
    pub changes: Vec<AlertChange>,
    pub events: Vec<Accept>,
}

impl RaiseAlerts {
    /// States in one transaction at most: with 20 events of a row and a delivery each, some 3 ms of
    /// the writer's time.
    pub const MAX_STATES: usize = 250;
}

/// The facts about a destination that alerts are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DestinationFacts {
    /// Since when it is paused, and why.
    pub paused: Option<(Timestamp, String)>,
    /// Whether its circuit breaker is open.
    pub is_breaker_open: bool,
    /// Deliveries that wait for it; none until they are counted.
    pub waiting: Option<i64>,
    /// Dead letters that keep later deliveries of their ordering keys waiting; none until they are
    /// counted.
    pub blocking: Option<i64>,
}

/// Destinations to which something was given up since the last call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NewlyDead {
    pub destinations: Vec<DestinationId>,
    /// Whether there were more: then all destinations have to be searched.
    pub has_more: bool,
}

/// A query for dead letters of these destinations in a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeadLetterQuery<'a> {
    pub destinations: &'a [DestinationId],
    /// A destination that is left out, and so are events of the source of alerts.
    pub except: &'a str,
    pub from: Timestamp,
    /// Exclusive.
    pub until: Timestamp,
}

/// Dead letters of some time in numbers, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeadLetterDigest {
    pub count: u64,
    /// Whether more than [`Self::MAX_COUNTED`] were found, and no more were counted.
    pub is_cut_short: bool,
    /// Destinations and their counts, the most first.
    pub destinations: Vec<(String, u64)>,
    /// Classes of the last errors and their counts, the most first.
    pub reasons: Vec<(String, u64)>,
    /// The first ones, at most [`Self::MAX_IDS`].
    pub first: Vec<DeadLetterId>,
}

impl DeadLetterDigest {
    /// Dead letters that are looked at: each takes three look-ups, 10 µs, in a reader of
    /// maintenance.
    pub const MAX_COUNTED: u64 = 10_000;
    /// Dead letters that are named.
    pub const MAX_IDS: usize = 10;
}

/// A dead letter's event or relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeadLetterId {
    pub id: IntentId,
    pub is_event: bool,
}
