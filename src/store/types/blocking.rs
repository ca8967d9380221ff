//! Dead letters that block the deliveries behind them in their order.

use super::ids::{DestinationId, IntentRow};
use crate::clock::Timestamp;

/// Dead letters that block, of one destination.
#[derive(Debug)]
pub(crate) struct BlockingLetters {
    pub(in crate::store) destination: DestinationId,
    pub(in crate::store) intents: Vec<IntentRow>,
}

impl BlockingLetters {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.intents.is_empty()
    }
}

/// A part of a pass over the dead letters of a destination.
#[derive(Debug)]
pub(crate) struct BlockingPart {
    pub letters: BlockingLetters,
    /// Where the pass continues; none if it is over.
    pub next: Option<DeadLetterCursor>,
}

/// How far a pass over the dead letters of a destination has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeadLetterCursor {
    pub(in crate::store) at: Timestamp,
    pub(in crate::store) intent: IntentRow,
}

impl DeadLetterCursor {
    /// The beginning of a pass.
    pub const START: Self = Self {
        at: Timestamp::from_millis(0),
        intent: IntentRow(0),
    };
}
