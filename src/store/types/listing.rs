//! Lists and figures for operators: `relay list`, `relay stats`, the admin API and `/metrics`.

use std::fmt;

use super::ids::{DestinationId, IntentRow};
use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId, Surface};

/// Selects the deliveries of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListQuery {
    pub state: Option<DeliveryState>,
    /// Only those that wait behind others in their order.
    pub is_blocked: bool,
    pub destination: Option<String>,
    pub source: Option<String>,
    /// An event's type, or a relay's; `invoice.*` stands for all that begin so.
    pub event_type: Option<String>,
    /// Accepted at this time or later.
    pub since: Option<Timestamp>,
    /// Accepted at this time or before.
    pub until: Option<Timestamp>,
    /// Where the page begins; none: at the newest delivery.
    pub after: Option<DeliveryCursor>,
    pub limit: u32,
    /// Rows that a filter without an index may read; none: as many as it needs.
    pub max_rows: Option<usize>,
}

impl ListQuery {
    /// Whether every delivery matches.
    pub(in crate::store) fn is_of_all(&self) -> bool {
        let all = Self {
            limit: self.limit,
            max_rows: self.max_rows,
            ..Self::default()
        };
        *self == all
    }
}

/// A page of deliveries, the latest first.
#[derive(Debug)]
pub(crate) struct Listing {
    pub found: Vec<ListedDelivery>,
    /// Where the next page begins; none if this is the last one.
    pub next: Option<DeliveryCursor>,
    /// Set if [`ListQuery::max_rows`] ended the page: deliveries accepted before were not looked
    /// at.
    pub searched_to: Option<Timestamp>,
}

/// The number of deliveries that match.
#[allow(dead_code, reason = "a build without the console counts none")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeliveryCount {
    pub number: usize,
    /// Whether there are no more than were counted.
    pub is_exact: bool,
}

/// The place between two pages of deliveries: those of the intent after this destination, and those
/// of older intents, follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeliveryCursor {
    pub(in crate::store) intent: IntentRow,
    pub(in crate::store) destination: DestinationId,
}

/// The first characters of a cursor's text, which tell it from a token of another kind.
const PREFIX: &str = "d1-";
/// Hexadecimal digits of an intent's number: 60 bits.
const DIGITS: usize = 15;

impl DeliveryCursor {
    /// Reads a cursor's text; none if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let (intent, destination) = text.strip_prefix(PREFIX)?.split_once('-')?;
        let number = |digits: &str| {
            let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            let is_ours =
                !digits.is_empty() && digits.len() <= DIGITS && digits.bytes().all(is_hex);
            is_ours.then(|| i64::from_str_radix(digits, 16).ok())?
        };
        (intent.len() == DIGITS).then_some(())?;
        Some(Self {
            intent: IntentRow(number(intent)?),
            destination: DestinationId(number(destination)?),
        })
    }
}

impl fmt::Display for DeliveryCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (intent, destination) = (self.intent.0, self.destination.0);
        write!(f, "{PREFIX}{intent:0DIGITS$x}-{destination:x}")
    }
}

/// A delivery in a list.
#[derive(Debug)]
pub(crate) struct ListedDelivery {
    pub id: IntentId,
    pub surface: Surface,
    pub label: String,
    pub destination: String,
    pub state: DeliveryState,
    pub attempts: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub next_attempt_at: Option<Timestamp>,
    pub last_error: Option<String>,
    /// When an operator gave it up for good.
    pub discarded_at: Option<Timestamp>,
}

/// Selects the unrouted events of a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnroutedQuery {
    pub source: Option<String>,
    pub event_type: Option<String>,
    /// Accepted at this time or later.
    pub since: Option<Timestamp>,
    /// Accepted at this time or before.
    pub until: Option<Timestamp>,
    /// Where the page begins; none: at the newest event.
    pub after: Option<DeliveryCursor>,
    pub limit: u32,
    /// Events that are read at most; none: as many as it needs.
    pub max_rows: Option<usize>,
}

/// A page of unrouted events, the latest first.
#[derive(Debug)]
pub(crate) struct UnroutedPage {
    pub found: Vec<UnroutedEvent>,
    /// Where the next page begins; none if this is the last one.
    pub next: Option<DeliveryCursor>,
    /// Set if [`UnroutedQuery::max_rows`] ended the page: events accepted before were not looked
    /// at.
    pub searched_to: Option<Timestamp>,
}

/// An event that no route wanted, in a list.
#[derive(Debug)]
pub(crate) struct UnroutedEvent {
    pub id: IntentId,
    pub source: String,
    pub event_type: Option<String>,
    pub created_at: Timestamp,
}

/// A destination's deliveries in numbers, and what keeps them back.
#[derive(Debug)]
pub(crate) struct DestinationStats {
    pub destination: String,
    pub waiting: i64,
    pub processing: i64,
    pub dead_lettered: i64,
    /// Dead letters that were discarded; they are not among the others.
    pub discarded: i64,
    pub oldest_due: Option<Timestamp>,
    pub paused: Option<String>,
    pub held_until: Option<Timestamp>,
    pub probe_at: Option<Timestamp>,
}

impl DestinationStats {
    /// Why nothing is sent to it at `now`; none if deliveries may go.
    pub fn keep_reason(&self, is_deliverable: bool, now: Timestamp) -> Option<KeepReason> {
        let obstacles = Obstacles {
            is_paused: self.paused.is_some(),
            held_until: self.held_until,
            probe_at: self.probe_at,
        };
        obstacles.reason(is_deliverable, now)
    }
}

/// Why the deliveries of a destination are kept back. If several reasons hold, the first is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeepReason {
    /// It is no longer configured: there is no URL to send to.
    UnknownDestination,
    /// An operator, or a 410, has paused it.
    Paused,
    /// It asked to be left alone until then (`Retry-After`).
    Held(Timestamp),
    /// Its circuit breaker is open: nothing but a probe is sent, the next one then.
    BreakerOpen(Timestamp),
}

impl KeepReason {
    /// The reasons' names in the metrics, in the order in which they are tested.
    pub(in crate::store) const NAMES: [&str; 4] =
        ["unknown_destination", "paused", "held", "breaker_open"];

    /// Its name in the metrics and in the admin API.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// Its index in [`Self::NAMES`].
    pub(in crate::store) const fn index(self) -> usize {
        match self {
            Self::UnknownDestination => 0,
            Self::Paused => 1,
            Self::Held(_) => 2,
            Self::BreakerOpen(_) => 3,
        }
    }
}

/// Stored facts about a destination that may keep its deliveries back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Obstacles {
    pub is_paused: bool,
    pub held_until: Option<Timestamp>,
    pub probe_at: Option<Timestamp>,
}

impl Obstacles {
    /// Why nothing is sent at `now`; none if deliveries may go.
    pub fn reason(self, is_deliverable: bool, now: Timestamp) -> Option<KeepReason> {
        if !is_deliverable {
            return Some(KeepReason::UnknownDestination);
        }
        if self.is_paused {
            return Some(KeepReason::Paused);
        }
        let held_until = self.held_until.filter(|&until| until > now);
        held_until
            .map(KeepReason::Held)
            .or_else(|| self.probe_at.map(KeepReason::BreakerOpen))
    }
}

/// The waiting deliveries of all destinations, in numbers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Backlog {
    /// When the oldest delivery that nothing keeps back was due.
    pub oldest_due: Option<Timestamp>,
    /// Deliveries kept back, due or not, by the reason's name; none until they are counted.
    pub kept: Option<[(&'static str, i64); KeepReason::NAMES.len()]>,
}

/// The states that are counted. Delivered ones are not: only retention would ever reduce the
/// number, and counting them at a start would read all rows.
pub(crate) const COUNTED_STATES: [DeliveryState; 4] = [
    DeliveryState::Queued,
    DeliveryState::Processing,
    DeliveryState::Retrying,
    DeliveryState::DeadLettered,
];
