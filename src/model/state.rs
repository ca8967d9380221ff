//! The states of a delivery, and the one table of transitions between them.

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of a delivery (one intent to one destination).
///
/// ```text
///              claim                    deliver
///   queued ───────────────► processing ─────────► delivered
///     ▲ ▲     ┌───────────────▲  │ │ │
///     │ │     │ claim            │ │ │ dead-letter
///     │ │  retrying ◄────────────┘ │ └────────────► dead_lettered
///     │ │            retry         │                 │      ▲
///     │ └──────────────────────────┘                 │      │ dead-letter
///     │           release                            │   (queued, retrying: an
///     └──────────────────────────────────────────────┘    operator, or interrupted
///              replay (delivered, too)                    too often)
/// ```
///
/// - **queued**: waits for its first attempt, or again after an interruption or a replay.
/// - **processing**: claimed by the running executor. The claim counts the attempt, so that an
///   attempt that kills the process is counted, too.
/// - **retrying**: an attempt failed; the next one has its time.
/// - **delivered**: the destination answered 2xx. No attempt changes it; only a replay queues it
///   again.
/// - **`dead_lettered`**: given up, with a reason; only a replay queues it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(i64)]
pub enum DeliveryState {
    /// Waits for an attempt.
    Queued = 0,
    /// An attempt is in flight.
    Processing = 1,
    /// Waits for the time of its next attempt.
    Retrying = 2,
    /// The destination answered 2xx.
    Delivered = 3,
    /// Given up.
    DeadLettered = 4,
}

/// An event that moves a delivery from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// The executor claims it for an attempt.
    Claim,
    /// The destination answered 2xx.
    Deliver,
    /// The attempt failed, and another one is scheduled.
    Retry,
    /// It is given up.
    DeadLetter,
    /// A stop or a crash interrupted the attempt. Nothing is known to have failed.
    Release,
    /// An operator sends a dead letter, or what was delivered, once more.
    Replay,
}

impl Transition {
    /// All transitions.
    pub const ALL: [Self; 6] = [
        Self::Claim,
        Self::Deliver,
        Self::Retry,
        Self::DeadLetter,
        Self::Release,
        Self::Replay,
    ];

    /// The state that this transition leads to from `state`; none if it is impossible there.
    ///
    /// This function owns the table. Every UPDATE guards the states that it starts from.
    pub const fn apply(self, state: DeliveryState) -> Option<DeliveryState> {
        use DeliveryState::{DeadLettered, Delivered, Processing, Queued, Retrying};
        match (state, self) {
            (Queued | Retrying, Self::Claim) => Some(Processing),
            (Processing, Self::Deliver) => Some(Delivered),
            (Processing, Self::Retry) => Some(Retrying),
            (Processing | Queued | Retrying, Self::DeadLetter) => Some(DeadLettered),
            (Processing, Self::Release) | (DeadLettered | Delivered, Self::Replay) => Some(Queued),
            _ => None,
        }
    }
}

impl DeliveryState {
    /// All states, in the order of their numbers in the database.
    pub const ALL: [Self; 5] = [
        Self::Queued,
        Self::Processing,
        Self::Retrying,
        Self::Delivered,
        Self::DeadLettered,
    ];

    /// The state with this number in the database.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|&state| state.number() == number)
    }

    /// The number in the database.
    pub const fn number(self) -> i64 {
        self as i64
    }

    /// The name on the event API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Processing => "processing",
            Self::Retrying => "retrying",
            Self::Delivered => "delivered",
            Self::DeadLettered => "dead_lettered",
        }
    }

    /// The state of this name. The error says what is expected, which may be `others`, too.
    pub fn parse(text: &str, others: &[&str]) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|state| state.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name);
            format!("expected one of {}", [&names, others].concat().join(", "))
        })
    }

    /// The name on the relay API, which has three states.
    pub const fn relay_name(self) -> &'static str {
        match self {
            Self::Queued | Self::Processing | Self::Retrying => "queued",
            Self::Delivered => "delivered",
            Self::DeadLettered => "failed",
        }
    }

    /// Whether only an operator's command changes it.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::DeadLettered)
    }

    /// The rank in the summary over several destinations: the lowest one is shown. The least
    /// finished state comes first, and `dead_lettered` only once no delivery is pending.
    pub const fn summary_rank(self) -> u8 {
        match self {
            Self::Queued => 0,
            Self::Processing => 1,
            Self::Retrying => 2,
            Self::DeadLettered => 3,
            Self::Delivered => 4,
        }
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
