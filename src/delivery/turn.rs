//! Turns: who comes next among those that want a worker.

/// A place in a queue. The lowest comes first.
///
/// A destination that gets a worker has its next turn in a later round: in the next one, or further
/// on if its attempts take long. So a queue is a round robin among equals, and slow destinations
/// let others go first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::delivery) struct Turn {
    pub round: u64,
    /// The order within a round: no two turns of a queue have the same place.
    pub place: u64,
}

impl Turn {
    pub fn later(self, rounds: u64) -> Self {
        Self {
            round: self.round + rounds,
            ..self
        }
    }
}
