//! Lanes: the places in the round robin, and what decides a destination's lane.

use crate::store::{DestinationId, Origin, OwnerId};

/// A place in the round robin. Each lane gets one worker in turn, as long as it has work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::delivery) enum Lane {
    /// A destination of relay.toml.
    Named(DestinationId),
    /// The proven origins of one API key: a key with ten thousand origins gets no more turns than
    /// one with a single origin.
    Proven(Option<OwnerId>),
    /// The other origins of that API key.
    Unproven(Option<OwnerId>),
}

impl Lane {
    pub fn is_named(self) -> bool {
        matches!(self, Self::Named(_))
    }
}

impl Origin {
    pub(in crate::delivery) fn lane(&self) -> Lane {
        match (self.is_named, self.is_proven) {
            (true, _) => Lane::Named(self.id),
            (false, true) => Lane::Proven(self.owner),
            (false, false) => Lane::Unproven(self.owner),
        }
    }
}
