use crate::model::DeliveryState;
use crate::store::StateSet;

/// An operator's operation, by the name of its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OperationKind {
    Replay,
    Retry,
    Discard,
    Reroute,
    Erase,
}

impl OperationKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::Replay,
        Self::Retry,
        Self::Discard,
        Self::Reroute,
        Self::Erase,
    ];

    /// The command's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Retry => "retry",
            Self::Discard => "discard",
            Self::Reroute => "reroute",
            Self::Erase => "erase",
        }
    }

    /// The kind of this name. The error says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        let names = Self::ALL.map(Self::name).join(", ");
        found.ok_or_else(|| format!("expected one of {names}"))
    }

    /// The states of deliveries that it can work on, and what works on the others.
    pub fn states(self) -> (StateSet, &'static str) {
        match self {
            Self::Replay => (
                StateSet::FINISHED,
                "a waiting delivery is made due by a retry",
            ),
            Self::Retry => (
                StateSet::WAITING,
                "what has ended is sent once more by a replay",
            ),
            Self::Discard => (
                StateSet::WAITING.and(DeliveryState::DeadLettered),
                "an attempt under way can't be taken back, nor what was delivered",
            ),
            Self::Erase => (StateSet::ANY, ""),
            Self::Reroute => (
                StateSet::WAITING,
                "what has ended is sent elsewhere by a replay to a destination",
            ),
        }
    }
}
