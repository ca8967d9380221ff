//! Destinations, as the dispatcher reads them.

use std::collections::HashSet;
use std::time::Duration;

use super::ids::{DestinationId, OwnerId};
use crate::clock::Timestamp;

/// The facts that decide in which lane a destination is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub id: DestinationId,
    /// Whether it is a named destination, rather than the origin of an ad hoc URL.
    pub is_named: bool,
    /// The API key whose relays go there; unknown for origins of schema version 3 and before.
    pub owner: Option<OwnerId>,
    /// Whether it is known to answer.
    pub is_proven: bool,
}

/// The waiting deliveries of a destination, and what keeps them back.
#[derive(Debug)]
pub(crate) struct DestinationBacklog {
    pub name: String,
    /// When the first of its deliveries is due; none if none waits.
    pub next_attempt_at: Option<Timestamp>,
    /// Deliveries that are due, counted up to a limit.
    pub ready: usize,
    pub is_paused: bool,
    pub held_until: Option<Timestamp>,
    /// When its circuit breaker, which is open, lets a probe go, and after which wait.
    pub probe: Option<(Timestamp, Duration)>,
}

/// The reasons why a destination's deliveries are kept back, as gauges show them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DestinationStatus {
    pub is_paused: bool,
    pub held_until: Option<Timestamp>,
    pub is_breaker_open: bool,
}

impl DestinationStatus {
    /// Nothing keeps the deliveries back.
    pub const ACTIVE: Self = Self {
        is_paused: false,
        held_until: None,
        is_breaker_open: false,
    };
}

/// The dispatcher's look for destinations with waiting deliveries: those that became due, and the
/// next part of a scan over all. Read in one snapshot.
pub(crate) struct DueScan<'a> {
    /// Destinations that became due, whose [`Origin`] is not known yet.
    pub newcomers: &'a HashSet<DestinationId>,
    /// Where the scan continues; none if no scan is under way.
    pub cursor: Option<ScanCursor>,
    /// Destinations of this part of the scan.
    pub at_most: usize,
    /// Destinations whose status is wanted, by name.
    pub names: &'a [String],
}

/// The result of a [`DueScan`].
pub(crate) struct DueScanned {
    /// The newcomers that exist.
    pub newcomers: Vec<Origin>,
    pub part: ScanPart,
    /// The status of each name; none of a destination that nothing was ever sent to.
    pub statuses: Vec<Option<DestinationStatus>>,
}

/// A part of a scan.
#[derive(Default)]
pub(crate) struct ScanPart {
    /// Destinations with waiting deliveries, each with the time at which its first one is due. One
    /// whose circuit breaker was left open is due at once, since the configuration may have removed
    /// the breaker.
    pub waiting: Vec<(Origin, Timestamp)>,
    /// Where the scan continues; none if it is over.
    pub next: Option<ScanCursor>,
}

/// How far a scan has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScanCursor(pub(in crate::store) i64);

impl ScanCursor {
    /// The beginning of a scan.
    pub const START: Self = Self(0);
}

/// Selects destinations for operators.
#[derive(Clone, Debug, Default)]
pub(crate) struct DestinationsQuery {
    /// The configured ones, which are shown whether or not anything was ever sent to them.
    pub configured: Vec<String>,
    /// Only the one of this name.
    pub name: Option<String>,
    /// How many to pass over.
    pub offset: usize,
    pub limit: usize,
}

/// A page of destinations: those that deliveries are kept back from come first.
#[derive(Debug)]
pub(crate) struct DestinationsPage {
    pub found: Vec<DestinationOverview>,
    /// All that are shown, on whatever page.
    pub total: usize,
}

/// A destination as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DestinationOverview {
    pub name: String,
    /// Deliveries that wait, and those under way; none until they are counted, soon after a start.
    pub waiting: Option<i64>,
    pub processing: Option<i64>,
    /// Dead letters, counted up to [`DestinationOverview::MAX_COUNT`] and one more.
    pub dead_lettered: i64,
    pub oldest_due: Option<Timestamp>,
    /// Since when it is paused, and why.
    pub paused: Option<Pause>,
    pub held_until: Option<Timestamp>,
    /// When its circuit breaker, which is open, lets a probe go.
    pub probe_at: Option<Timestamp>,
}

impl DestinationOverview {
    /// Rows are counted up to this number: a page costs the same however many there are.
    pub const MAX_COUNT: i64 = 10_000;

    /// A destination that nothing was ever sent to.
    pub fn never_used(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            waiting: Some(0),
            processing: Some(0),
            dead_lettered: 0,
            oldest_due: None,
            paused: None,
            held_until: None,
            probe_at: None,
        }
    }
}

/// Characters of a pause's reason: a sentence, which is shown with each delivery that waits.
const MAX_REASON: usize = 500;

/// A pause of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    pub at: Timestamp,
    pub reason: String,
}

impl Pause {
    /// The problem of a reason; none if it is one.
    pub fn problem_of(reason: &str) -> Option<String> {
        let is_good = (1..=MAX_REASON).contains(&reason.chars().count());
        (!is_good).then(|| format!("expected 1 to {MAX_REASON} characters"))
    }
}

/// The result of resuming a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resumed {
    /// Its deliveries go again.
    Now,
    /// Nothing kept its deliveries back.
    Already,
    /// It was paused anew since the pause that the operator saw.
    PausedSince(Pause),
}
