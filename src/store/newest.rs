//! The page of a list: the newest deliveries among those that searches find, whatever engine makes
//! the searches.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::types::{DeliveryCursor, DestinationId, IntentRow, ListQuery};
use crate::clock::Timestamp;

/// The fewest rows that a bounded search may read: each page comes further than the one before.
pub const MIN_ROWS_A_SEARCH: usize = 64;

/// The intents of a wanted time.
#[derive(Clone, Copy, Debug)]
pub struct IntentRange {
    pub first: IntentRow,
    pub last: IntentRow,
}

impl IntentRange {
    /// The intents that a list may show: those of its time, up to the end of the page before.
    pub fn of(query: &ListQuery) -> Self {
        let until = query.until.map(|until| {
            let after = Timestamp::from_millis(until.as_millis().saturating_add(1));
            IntentRow(IntentRow::first_at(after).0.saturating_sub(1))
        });
        let after = query.after.map(|cursor| cursor.intent);
        let last = until.into_iter().chain(after).min();
        Self {
            first: query.since.map_or(IntentRow(0), IntentRow::first_at),
            last: last.unwrap_or(IntentRow(i64::MAX)),
        }
    }
}

/// The newest deliveries found so far: by intent, and those of one intent by destination.
pub struct Newest {
    pub range: IntentRange,
    limit: usize,
    /// Rows that one search may read, if there is a bound.
    pub max_rows: usize,
    after: Option<DeliveryCursor>,
    /// The last one is shown first.
    keys: BTreeSet<(IntentRow, Reverse<DestinationId>)>,
    /// The newest intent that was perhaps not looked at, if the bound ended a search.
    unsearched: Option<IntentRow>,
}

impl Newest {
    /// None found yet, of a query that `searches` find.
    pub fn new(query: &ListQuery, searches: usize) -> Self {
        Self {
            range: IntentRange::of(query),
            limit: usize::try_from(query.limit).unwrap_or(usize::MAX),
            max_rows: query.max_rows.map_or(usize::MAX, |rows| {
                (rows / searches.max(1)).max(MIN_ROWS_A_SEARCH)
            }),
            after: query.after,
            keys: BTreeSet::new(),
            unsearched: None,
        }
    }

    /// Adds a delivery that is wanted.
    pub fn add(&mut self, intent: IntentRow, destination: DestinationId) {
        if let Some(after) = self.after
            && after.intent == intent
            && destination <= after.destination
        {
            return;
        }
        self.keys.insert((intent, Reverse(destination)));
        if self.keys.len() > self.limit {
            self.keys.pop_first();
        }
    }

    /// Whether as many as were wanted are found.
    pub fn is_full(&self) -> bool {
        self.keys.len() == self.limit
    }

    /// Whether an intent is too old to be among them.
    pub fn is_too_old(&self, intent: IntentRow) -> bool {
        self.is_full() && self.keys.first().is_some_and(|(last, _)| intent < *last)
    }

    /// Notes that the bound ended a search at this intent.
    pub fn cut(&mut self, newest_left: IntentRow) {
        self.unsearched = self.unsearched.max(Some(newest_left));
    }

    /// Whether the bound ended a search.
    pub const fn is_cut(&self) -> bool {
        self.unsearched.is_some()
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The deliveries, the newest first.
    pub fn keys(&self) -> impl Iterator<Item = (IntentRow, DestinationId)> {
        let keys = self.keys.iter().rev();
        keys.map(|(intent, Reverse(destination))| (*intent, *destination))
    }

    /// Removes the deliveries that others, which were not looked at, may stand before, and the one
    /// beyond the page. Returns where the next page begins, and how far the search came if the
    /// bound ended it.
    pub fn end(&mut self) -> (Option<DeliveryCursor>, Option<Timestamp>) {
        if let Some(unsearched) = self.unsearched {
            self.keys.retain(|(intent, _)| *intent > unsearched);
        }
        let has_more = self.is_full() && self.keys.pop_first().is_some();
        let last = self.keys.first().filter(|_| has_more);
        match (last, self.unsearched) {
            (Some((intent, Reverse(destination))), _) => {
                let next = DeliveryCursor {
                    intent: *intent,
                    destination: *destination,
                };
                (Some(next), None)
            }
            (None, Some(intent)) => {
                let next = DeliveryCursor {
                    intent,
                    destination: DestinationId::default(),
                };
                (Some(next), Some(intent.accepted_at()))
            }
            (None, None) => (None, None),
        }
    }
}

/// The newest intent that may be among those due at `due` or before: a delivery becomes due when it
/// is accepted, or later, so every delivery that became due earlier was accepted before then.
pub fn newest_due_by(due: i64) -> IntentRow {
    let after = Timestamp::from_millis(due.saturating_add(1));
    IntentRow(IntentRow::first_at(after).0 - 1)
}
