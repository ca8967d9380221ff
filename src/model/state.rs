use std::fmt;

/// Where a delivery (one intent to one destination) stands.
///
/// ```text
///              claim                    deliver
///   queued ───────────────► processing ─────────► delivered
///     ▲ ▲     ┌───────────────▲  │ │ │
///     │ │     │ claim            │ │ │ dead-letter
///     │ │  retrying ◄────────────┘ │ └────────────► dead_lettered
///     │ │            retry         │                 │      ▲
///     │ └──────────────────────────┘                 │      │ dead-letter
///     │          hand back                           │   (queued, retrying: an
///     └──────────────────────────────────────────────┘    operator, or interrupted
///                     replay                              too often)
/// ```
///
/// - **queued**: waits for its first attempt, or again after an interruption or a replay.
/// - **processing**: claimed by the running executor. The attempt is counted when it is claimed, so
///   one that kills the process is counted too.
/// - **retrying**: an attempt failed; the next has its time.
/// - **delivered**: the destination answered 2xx. Final.
/// - **`dead_lettered`**: given up, with a reason; only a replay brings it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum DeliveryState {
    /// Waits for its turn.
    Queued = 0,
    /// An attempt is under way.
    Processing = 1,
    /// Waits for its next attempt.
    Retrying = 2,
    /// Arrived.
    Delivered = 3,
    /// Given up.
    DeadLettered = 4,
}

/// What can happen to a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The executor takes it up.
    Claim,
    /// The destination took it.
    Deliver,
    /// The attempt failed and another is scheduled.
    Retry,
    /// It is given up.
    DeadLetter,
    /// The attempt was interrupted: stop or crash. Nothing is known to have failed.
    HandBack,
    /// An operator sends a dead letter once more.
    Replay,
}

impl Step {
    /// All steps.
    pub const ALL: [Self; 6] = [
        Self::Claim,
        Self::Deliver,
        Self::Retry,
        Self::DeadLetter,
        Self::HandBack,
        Self::Replay,
    ];
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

    /// The state that `step` leads to from here, or none if it can't happen here.
    /// This function owns the table; every UPDATE guards the states it starts from.
    pub const fn after(self, step: Step) -> Option<Self> {
        match (self, step) {
            (Self::Queued | Self::Retrying, Step::Claim) => Some(Self::Processing),
            (Self::Processing, Step::Deliver) => Some(Self::Delivered),
            (Self::Processing, Step::Retry) => Some(Self::Retrying),
            (Self::Processing | Self::Queued | Self::Retrying, Step::DeadLetter) => {
                Some(Self::DeadLettered)
            }
            (Self::Processing, Step::HandBack) | (Self::DeadLettered, Step::Replay) => {
                Some(Self::Queued)
            }
            _ => None,
        }
    }

    /// From its number in the database.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|&state| state.number() == number)
    }

    /// Its number in the database.
    pub const fn number(self) -> i64 {
        self as i64
    }

    /// Its name on the event API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Processing => "processing",
            Self::Retrying => "retrying",
            Self::Delivered => "delivered",
            Self::DeadLettered => "dead_lettered",
        }
    }

    /// Its name on the relay API, which knows three states.
    pub const fn relay_name(self) -> &'static str {
        match self {
            Self::Queued | Self::Processing | Self::Retrying => "queued",
            Self::Delivered => "delivered",
            Self::DeadLettered => "failed",
        }
    }

    /// Whether nothing more happens by itself.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::DeadLettered)
    }

    /// How far from finished, for the summary over several destinations: the least finished
    /// state counts, and `dead_lettered` only once none is pending.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_walk_keeps_the_promises(steps in prop::collection::vec(prop::sample::select(&Step::ALL), 0..60)) {
            let mut state = DeliveryState::Queued;
            for step in steps {
                let before = state;
                let Some(next) = state.after(step) else { continue };
                state = next;
                prop_assert_ne!(before, DeliveryState::Delivered, "delivered is final");
                if before == DeliveryState::DeadLettered {
                    prop_assert_eq!(step, Step::Replay, "only a replay brings a dead letter back");
                }
                if state == DeliveryState::Delivered {
                    prop_assert_eq!(before, DeliveryState::Processing, "delivered only by an attempt");
                }
            }
        }
    }

    #[test]
    fn from_every_pending_state_delivered_can_be_reached() {
        for start in [DeliveryState::Queued, DeliveryState::Retrying] {
            let claimed = start.after(Step::Claim).expect("pending can be claimed");
            assert_eq!(claimed.after(Step::Deliver), Some(DeliveryState::Delivered));
        }
    }

    #[test]
    fn numbers_survive_the_trip() {
        for (number, state) in (0..).zip(DeliveryState::ALL) {
            assert_eq!(state.number(), number);
            assert_eq!(DeliveryState::from_number(number), Some(state));
        }
        assert_eq!(DeliveryState::from_number(5), None);
    }
}
