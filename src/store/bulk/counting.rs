//! The reads that a count of selected deliveries may make.

use crate::store::types::Counting;

/// Deliveries that a client's request counts: more take a while, and the number says enough.
pub const MAX_COUNTED: i64 = 10_000;
/// Rows that such a count looks at: some 0.2 s, if a filter without an index matches few of them.
const MAX_COUNT_LOOKS: i64 = if cfg!(test) { 20_000 } else { 100_000 };

/// The deliveries that a selection matches.
#[derive(Clone, Copy, Debug, Default)]
pub struct SelectionCount {
    pub found: i64,
    pub skipped: i64,
    /// Whether there are no more than these.
    pub is_exact: bool,
}

/// The reads that are left for a count.
#[derive(Clone, Copy, Debug)]
pub struct CountBudget {
    pub matches: i64,
    pub looks: i64,
}

impl CountBudget {
    pub const fn of(counting: Counting) -> Self {
        match counting {
            Counting::Indexed => Self {
                matches: i64::MAX,
                looks: i64::MAX,
            },
            Counting::Bounded => Self {
                matches: MAX_COUNTED,
                looks: MAX_COUNT_LOOKS,
            },
        }
    }

    pub const fn is_spent(&self) -> bool {
        self.matches <= 0 || self.looks <= 0
    }
}
