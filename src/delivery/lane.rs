//! Lanes: what takes turns, and what decides a destination's lane.

use crate::delivery::admission::Reputation;
use crate::store::{DestinationId, Origin, OwnerId};

/// Each lane gets one worker in turn, as long as it has work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::delivery) enum Lane {
    /// A destination of relay.toml.
    Named(DestinationId, Reputation),
    /// The origins of one API key that have the same reputation: a key with ten thousand origins
    /// gets no more turns than one with a single origin, and its slow ones don't stand before the
    /// others.
    Adhoc(Option<OwnerId>, Reputation),
}

/// Kinds of lanes: the parts of the pool are for some of them.
pub(in crate::delivery) const KINDS: usize = 2 * REPUTATIONS.len();

const REPUTATIONS: [Reputation; 3] = [Reputation::Fresh, Reputation::Proven, Reputation::Suspect];

impl Lane {
    pub fn of(origin: &Origin, reputation: Reputation) -> Self {
        if origin.is_named {
            Self::Named(origin.id, reputation)
        } else {
            Self::Adhoc(origin.owner, reputation)
        }
    }

    pub fn is_named(self) -> bool {
        matches!(self, Self::Named(..))
    }

    /// Its kind, below [`KINDS`].
    pub fn kind(self) -> usize {
        match self {
            Self::Named(_, reputation) => reputation as usize,
            Self::Adhoc(_, reputation) => REPUTATIONS.len() + reputation as usize,
        }
    }

    /// Whether a kind is of named destinations, and its reputation.
    pub fn of_kind(kind: usize) -> (bool, Reputation) {
        let count = REPUTATIONS.len();
        (kind < count, REPUTATIONS[kind % count])
    }
}
