//! Counts the deliveries, or the events, that a bulk operation selects.

use rusqlite::Connection;

use crate::store::error::StoreError;
use crate::store::sqlite::queries::selection::Selection;
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

impl Selection {
    /// How many there are to act on, and how many to skip, as far as the budget goes.
    pub fn count(
        &self,
        sql: &Connection,
        budget: &mut CountBudget,
    ) -> Result<SelectionCount, StoreError> {
        let mut count = SelectionCount {
            is_exact: !budget.is_spent(),
            ..SelectionCount::default()
        };
        if budget.is_spent() {
            return Ok(count);
        }
        let mut statement = sql.prepare_cached(&self.select())?;
        let mut rows = self.query(&mut statement, self.start(), -1)?;
        while let Some(row) = rows.next()? {
            // One row more tells whether there are any.
            if budget.is_spent() {
                count.is_exact = false;
                break;
            }
            let (is_skipped, is_matching): (bool, bool) = (row.get(9)?, row.get(10)?);
            budget.looks -= 1;
            budget.matches -= i64::from(is_matching);
            count.found += i64::from(is_matching && !is_skipped);
            count.skipped += i64::from(is_matching && is_skipped);
        }
        Ok(count)
    }
}
