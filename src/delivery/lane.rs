//! Lanes: the places in the round robin, and what decides a destination's lane.

/// A place in the round robin. Each lane gets one worker in turn, as long as it has work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::delivery) enum Lane {
    /// A destination of relay.toml.
    Named(i64),
    /// The proven origins of one API key: a key with ten thousand origins gets no more turns than
    /// one with a single origin.
    Proven(Option<i64>),
    /// The other origins of that API key.
    Unproven(Option<i64>),
}

impl Lane {
    pub fn is_named(self) -> bool {
        matches!(self, Self::Named(_))
    }
}

/// The facts that decide a destination's lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::delivery) struct Origin {
    pub id: i64,
    /// Whether it is one of relay.toml's, rather than the origin of an ad hoc URL.
    pub is_named: bool,
    /// The API key whose relays go there; unknown for origins of schema version 3 and before.
    pub owner: Option<i64>,
    /// Whether its last completed attempt got an answer.
    pub is_proven: bool,
}

impl Origin {
    pub fn lane(&self) -> Lane {
        match (self.is_named, self.is_proven) {
            (true, _) => Lane::Named(self.id),
            (false, true) => Lane::Proven(self.owner),
            (false, false) => Lane::Unproven(self.owner),
        }
    }
}
