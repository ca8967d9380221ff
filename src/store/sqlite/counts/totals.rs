//! The counts in memory.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use super::changes::{ByState, CountChanges, DEAD, index};
use crate::model::DeliveryState;
use crate::store::types::{COUNTED_STATES, DestinationId};

/// Destinations whose dead letters are counted apart: some 200 KB. A relay has fewer; only ad hoc
/// origins may be more.
const MAX_DEAD_DESTINATIONS: usize = if cfg!(test) { 16 } else { 4_096 };

/// The counts after the last commit.
#[derive(Debug, Default)]
pub struct Counts(Mutex<Known>);

#[derive(Debug, Default)]
pub(super) struct Known {
    /// Whether they include the deliveries stored at the start. Before that they are differences.
    is_complete: bool,
    total: ByState,
    /// Without the dead letters. Bounded by the destinations with deliveries waiting or in flight:
    /// a destination without any is removed.
    pub(super) by_destination: HashMap<DestinationId, ByState>,
    dead: DeadCounts,
    /// Dead letters that block others. A destination stays at zero, so that its gauge does; bounded
    /// by the destinations that relay.toml names, now or formerly.
    blocking: HashMap<DestinationId, i64>,
}

/// The dead letters of each destination, unless too many destinations have some.
#[derive(Debug, Default)]
struct DeadCounts {
    by_destination: HashMap<DestinationId, i64>,
    /// Whether there were too many: nothing is known then until the next start.
    is_given_up: bool,
}

impl DeadCounts {
    fn add(&mut self, destination: DestinationId, change: i64) {
        if change == 0 || self.is_given_up {
            return;
        }
        let count = self.by_destination.entry(destination).or_default();
        *count += change;
        if *count == 0 {
            self.by_destination.remove(&destination);
        }
        if self.by_destination.len() > MAX_DEAD_DESTINATIONS {
            self.by_destination = HashMap::new();
            self.is_given_up = true;
        }
    }

    fn of(&self, destination: DestinationId) -> Option<i64> {
        let count = self.by_destination.get(&destination);
        (!self.is_given_up).then(|| count.copied().unwrap_or(0))
    }
}

impl Counts {
    /// Deliveries by state; none until the stored ones are counted.
    pub fn totals(&self) -> Option<[(DeliveryState, i64); COUNTED_STATES.len()]> {
        let known = self.known();
        let total = |at: usize| (COUNTED_STATES[at], known.total[at]);
        known.is_complete.then(|| std::array::from_fn(total))
    }

    pub fn is_complete(&self) -> bool {
        self.known().is_complete
    }

    /// Deliveries waiting for a destination; none until the stored ones are counted.
    pub fn waiting(&self, destination: DestinationId) -> Option<i64> {
        self.of(destination, |[queued, _, retrying, _]| queued + retrying)
    }

    /// Deliveries to a destination that are under way; none until the stored ones are counted.
    pub fn processing(&self, destination: DestinationId) -> Option<i64> {
        self.of(destination, |[_, processing, ..]| *processing)
    }

    /// Dead letters of a destination; none until the stored ones are counted, and if too many
    /// destinations have some.
    pub fn dead_lettered(&self, destination: DestinationId) -> Option<i64> {
        let known = self.known();
        let dead = known.is_complete.then(|| known.dead.of(destination));
        dead.flatten()
    }

    /// Deliveries in a state, to one destination or to all; none if they are not counted.
    pub fn in_state(&self, state: DeliveryState, of: Option<DestinationId>) -> Option<i64> {
        let place = index(state)?;
        match of {
            None => self.totals().map(|totals| totals[place].1),
            Some(destination) if place == DEAD => self.dead_lettered(destination),
            Some(destination) => self.of(destination, |counts| counts[place]),
        }
    }

    fn of(&self, destination: DestinationId, count: impl Fn(&ByState) -> i64) -> Option<i64> {
        let known = self.known();
        known.is_complete.then(|| {
            let counts = known.by_destination.get(&destination);
            counts.map_or(0, count)
        })
    }

    /// The destinations that have, or had, dead letters that block the deliveries behind them, each
    /// with their number; none until the stored ones are counted.
    pub fn blocking(&self) -> Option<Vec<(DestinationId, i64)>> {
        let known = self.known();
        let blocking = known.blocking.iter().map(|(id, count)| (*id, *count));
        known.is_complete.then(|| blocking.collect())
    }

    /// Adds the changes of a durable transaction.
    pub fn add(&self, changes: &CountChanges) {
        if !changes.is_empty() {
            self.known().add(changes);
        }
    }

    /// From now on the counts are differences to the stored deliveries.
    pub(super) fn restart(&self) {
        *self.known() = Known::default();
    }

    /// Adds the deliveries that were stored when [`Self::restart`] was called.
    pub fn complete(&self, stored: &CountChanges) {
        let mut known = self.known();
        known.add(stored);
        known.is_complete = true;
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.0
            .lock()
            .expect("nobody panics while holding this lock")
    }
}

impl Known {
    fn add(&mut self, changes: &CountChanges) {
        for (&destination, change) in &changes.blocking {
            *self.blocking.entry(destination).or_default() += change;
        }
        for (&destination, changes) in &changes.by_state {
            for (total, change) in self.total.iter_mut().zip(changes) {
                *total += change;
            }
            self.dead.add(destination, changes[DEAD]);
            let counts = self.by_destination.entry(destination).or_default();
            for (count, change) in counts.iter_mut().zip(&changes[..DEAD]) {
                *count += change;
            }
            if *counts == ByState::default() {
                self.by_destination.remove(&destination);
            }
        }
    }
}
